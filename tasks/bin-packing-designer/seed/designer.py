"""Get a bin-packing solver from a language model: ask, take the code out of the reply, try it, keep the best."""

import re
import signal

from asking import ask

QUESTION = "Write a Python function pack(items, capacity) that packs items into bins."
NEXT_FIT = """
def pack(items, capacity):
    bins = [[]]
    for item in items:
        if sum(bins[-1]) + item > capacity:
            bins.append([])
        bins[-1].append(item)
    return bins
"""


def design(instances, capacity, requests):
    best, fewest = NEXT_FIT, tried(NEXT_FIT, instances, capacity)
    for _ in range(requests // 2):
        try:
            reply = ask([{"role": "user", "content": QUESTION}], max_tokens=700)
        except RuntimeError:
            break
        source = code(reply)
        bins = tried(source, instances, capacity)
        if bins is not None and bins < fewest:
            best, fewest = source, bins
    return best


def code(reply):
    """What stands in the reply's first fence, or all of it."""
    found = re.search(r"```(?:python)?\n(.*?)```", reply, re.DOTALL)
    return found.group(1) if found else reply


def late(number, frame):
    raise TimeoutError("too slow")


def tried(source, instances, capacity):
    """Bins used in all, or None if the solver does not work."""
    signal.signal(signal.SIGALRM, late)
    used = 0
    for items in instances:
        signal.alarm(3)
        try:
            space = {}
            exec(source, space)
            bins = space["pack"](list(items), capacity)
            if sorted(x for one in bins for x in one) != sorted(items) or max(map(sum, bins)) > capacity:
                return None
            used += len(bins)
        except Exception:
            return None
        finally:
            signal.alarm(0)
    return used
