"""The size of a sorting network, verified on every input by the zero-one principle. Nothing of the candidate is run."""

from __future__ import annotations

from pathlib import Path

LONGEST = 4000  # lines; the bubble sort for 16 wires has 120

Comparator = tuple[int, int]


def evaluate(folder: Path, parameters: dict | None = None) -> dict:
    """Score and metrics; the feedback is the finished network."""
    wires = int((parameters or {}).get("wires", 10))
    if not 2 <= wires <= 16:
        raise ValueError(f"parameters.wires: from 2 to 16, not {wires}")
    own = read(folder / "network.txt", wires)
    bubble = [(at, at + 1) for last in range(wires - 1, 0, -1) for at in range(last)]
    network, used = prune(own + bubble, wires, len(own))
    layers = depth(network, wires)
    text = " ".join(f"{a}-{b}" for a, b in network)
    return {
        "score": len(network),
        "metrics": {"own": used, "completed": len(network) - used, "depth": layers},
        "feedback": f"{len(network)} comparators in {layers} layers, {used} of them from the file: {text}",
    }


def read(path: Path, wires: int) -> list[Comparator]:
    """The comparators of the file. Raises ValueError for anything that is none."""
    if path.stat().st_size > LONGEST * 8:
        raise ValueError(f"{path.name} is longer than {LONGEST} comparators")
    found = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isdigit() and len(word) <= 2 for word in words):
            raise ValueError(f"line {number}: two wires, as '3 7', not {line[:40]!r}")
        low, high = map(int, words)
        if not low < high < wires:
            raise ValueError(f"line {number}: 0 <= i < j < {wires}, not {low} {high}")
        found.append((low, high))
    if len(found) > LONGEST:
        raise ValueError(f"more than {LONGEST} comparators")
    return found


def prune(network: list[Comparator], wires: int, own: int) -> tuple[list[Comparator], int]:
    """The comparators that exchange something on some input, and how many of them are among the first `own`.

    All 2^wires inputs of zeros and ones at once: bit k of `values[w]` is what wire w carries for input k. A network
    that sorts those sorts everything (Knuth, TAOCP 3, theorem Z of 5.3.4).
    """
    values = [_inputs(w, wires) for w in range(wires)]
    kept, used = [], 0
    for at, (low, high) in enumerate(network):
        if values[low] & ~values[high]:
            values[low], values[high] = values[low] & values[high], values[low] | values[high]
            kept.append((low, high))
            used += at < own
    if any(values[w] & ~values[w + 1] for w in range(wires - 1)):
        raise ValueError("the network does not sort")
    return kept, used


def _inputs(wire: int, wires: int) -> int:
    """Bit k is bit `wire` of k, for k below 2^wires."""
    half = 1 << wire
    pattern, width = ((1 << half) - 1) << half, 2 * half
    while width < 1 << wires:
        pattern, width = pattern | pattern << width, 2 * width
    return pattern


def depth(network: list[Comparator], wires: int) -> int:
    """Layers of comparators that can work at once."""
    level = [0] * wires
    for low, high in network:
        level[low] = level[high] = max(level[low], level[high]) + 1
    return max(level)
