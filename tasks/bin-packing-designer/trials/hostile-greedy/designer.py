"""Asks far more often than it may, whatever it is told."""

from asking import ask


def design(instances, capacity, requests):
    heard = 0
    for number in range(60):
        try:
            ask([{"role": "user", "content": f"Question {number}: say something."}], max_tokens=20)
            heard += 1
        except RuntimeError:
            pass
    if heard > requests:
        raise SystemExit(f"{heard} answers for {requests} requests")
    return "def pack(items, capacity):\n    return [[item] for item in items]\n"
