"""Offline bin packing: instances, lower bounds, the classical heuristics, and what a valid packing is."""

from __future__ import annotations

import random
from collections import Counter

CAPACITY = 150
CLASSES = {"uniform_60": 60, "uniform_120": 120, "uniform_250": 250, "cut_60": 60, "cut_120": 120}
"""Name → about how many items. `uniform`: sizes as in OR-Library's binpack1-4. `cut`: full bins in three parts."""


def instance(rng: random.Random, name: str) -> list[int]:
    kind, _, items = name.partition("_")
    if kind == "uniform":
        return [rng.randint(20, 100) for _ in range(int(items))]
    found: list[int] = []
    while len(found) < int(items):
        left = CAPACITY
        first = rng.randint(57, 75)
        second = rng.randint(38, min(70, left - first - 20))
        found += [first, second, left - first - second]
    rng.shuffle(found)
    return found


def bound(items: list[int], capacity: int) -> int:
    """L2 of Martello and Toth (1990): for each threshold, large items need bins of their own, small ones the rest."""
    best = -(-sum(items) // capacity)
    for least in {item for item in items if 2 * item <= capacity} | {0}:
        large = [item for item in items if item > capacity - least]
        middle = [item for item in items if 2 * item > capacity and item <= capacity - least]
        small = sum(item for item in items if least <= item and 2 * item <= capacity)
        free = len(middle) * capacity - sum(middle)
        best = max(best, len(large) + len(middle) + max(0, -(-(small - free) // capacity)))
    return best


def first_fit_decreasing(items: list[int], capacity: int) -> list[list[int]]:
    bins: list[list[int]] = []
    for item in sorted(items, reverse=True):
        for one in bins:
            if sum(one) + item <= capacity:
                one.append(item)
                break
        else:
            bins.append([item])
    return bins


def best_fit_decreasing(items: list[int], capacity: int) -> list[list[int]]:
    bins: list[list[int]] = []
    for item in sorted(items, reverse=True):
        fitting = [one for one in bins if sum(one) + item <= capacity]
        if fitting:
            max(fitting, key=sum).append(item)
        else:
            bins.append([item])
    return bins


def wrong(bins: object, items: list[int], capacity: int) -> str:
    """Why this is no packing of `items`, or nothing."""
    if not isinstance(bins, list | tuple) or not all(isinstance(one, list | tuple) for one in bins):
        return f"pack returned {type(bins).__name__}, not a list of lists of sizes"
    held = [item for one in bins for item in one]
    if not all(type(item) is int for item in held):
        return "a bin holds something that is no integer"
    if Counter(held) != Counter(items):
        return f"the bins hold {len(held)} items, which are not the {len(items)} that were given"
    full = max(map(sum, bins), default=0)
    return f"a bin holds {full}, more than the capacity {capacity}" if full > capacity else ""
