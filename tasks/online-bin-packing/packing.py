"""Pack many instances in lockstep: the state of an instance is how many open bins have each free space."""

from __future__ import annotations

import numpy as np

CAPACITY = {"weibull": 100, "or": 150}


def weibull(rng: np.random.Generator, count: int, items: int) -> np.ndarray:
    """Sizes (count, items) of the Weibull benchmark: scale 45, shape 3, capacity 100 (FunSearch, Nature 2023)."""
    return np.round(np.clip(45 * rng.weibull(3, (count, items)), 1, 100)).astype(np.int64)


def uniform(rng: np.random.Generator, count: int, items: int) -> np.ndarray:
    """Sizes (count, items) like OR-Library's binpack1-4: uniform integers 20 to 100, capacity 150."""
    return rng.integers(20, 101, (count, items))


def generate(domain: str, rng: np.random.Generator, lengths: dict[int, int]) -> list[np.ndarray]:
    """Instances of mixed lengths (items → how many), longest first, each an array of sizes."""
    make = {"weibull": weibull, "or": uniform}[domain]
    return [row for items in sorted(lengths, reverse=True) for row in make(rng, lengths[items], items)]


def lower_bound(instance: np.ndarray, capacity: int) -> int:
    """L1: the sum of the sizes over the capacity, rounded up."""
    return -(-int(instance.sum()) // capacity)


def pack(priority, instances: list[np.ndarray], capacity: int) -> np.ndarray:
    """Bins used per instance by the online heuristic `priority`.

    Instances must be sorted longest first: those that are finished leave the arrays from the end.

    Raises:
        ValueError: the scores have the wrong shape, or are no numbers where the item fits.
    """
    n, width = len(instances), capacity + 1
    lengths = np.array([len(instance) for instance in instances])
    if (np.diff(lengths) > 0).any():
        raise ValueError("instances must come longest first")
    sizes = np.zeros((n, int(lengths[0])), dtype=np.int64)
    for row, instance in enumerate(instances):
        sizes[row, : len(instance)] = instance
    # Padded on the left, so that the counts at residual - item are a plain gather.
    counts = np.zeros((n, width + capacity), dtype=np.int64)
    opened = np.zeros(n, dtype=np.int64)
    residual = np.arange(width)[None, :]
    rows = np.arange(n)
    flat = counts.reshape(-1)
    starts = rows * (width + capacity) + capacity
    alive = n
    for step in range(int(lengths[0])):
        while alive and lengths[alive - 1] <= step:
            alive -= 1
        item = sizes[:alive, step : step + 1]
        gap = residual - item
        at_residual = counts[:alive, capacity:]
        at_gap = flat[starts[:alive, None] + gap]
        feasible = (at_residual > 0) & (gap >= 0)
        feasible[:, capacity] = True
        scores = priority(item.copy(), residual.copy(), gap, at_residual.copy(), at_gap, capacity)
        chosen = _best(scores, feasible, gap.shape)
        before = starts[:alive] + chosen
        new = flat[before] == 0  # only an unopened bin can be chosen where nothing is open
        unopened = new & (chosen == capacity)
        if not (unopened | (flat[before] > 0)).all():
            raise ValueError("the packing chose a bin that is not there")
        flat[before] -= ~unopened
        after = starts[:alive] + chosen - item[:, 0]
        flat[after] += 1
        opened[:alive] += unopened
    _verify(counts[:, capacity:], opened, instances, capacity)
    return opened


def _best(scores: object, feasible: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The residual with the highest score in each row; the first, which has the smallest gap, among equals."""
    try:
        array = np.asarray(scores, dtype=np.float64)
        array = np.broadcast_to(array, shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"priority must return numbers that broadcast to {shape}: {error}") from None
    masked = np.where(feasible, array, -np.inf)
    if np.isnan(masked).any():
        raise ValueError("priority returned NaN where the item fits")
    chosen = masked.argmax(axis=1)
    lost = ~feasible[np.arange(len(chosen)), chosen]
    if lost.any():  # every feasible score was -inf: ties to the smallest gap
        chosen[lost] = feasible[lost].argmax(axis=1)
    return chosen


def _verify(counts: np.ndarray, opened: np.ndarray, instances: list[np.ndarray], capacity: int) -> None:
    """Every unit of volume is in a bin: what the bins hold is what the items were."""
    held = opened * capacity - (counts * np.arange(capacity + 1)[None, :]).sum(axis=1)
    if not (counts >= 0).all() or not (counts.sum(axis=1) == opened).all():
        raise ValueError("the packing lost count of its bins")
    if not (held == [int(instance.sum()) for instance in instances]).all():
        raise ValueError("the packing does not hold the items")


def excess(bins: np.ndarray, instances: list[np.ndarray], capacity: int) -> float:
    """Percent excess of the mean number of bins over the mean lower bound."""
    bound = np.mean([lower_bound(instance, capacity) for instance in instances])
    return float(100 * (bins.mean() - bound) / bound)


def first_fit(instance: np.ndarray, capacity: int) -> int:
    """Bins used by first fit, which needs the order of bins and is no `priority`."""
    free = np.full(len(instance), capacity)
    used = 0
    for item in instance:
        at = int(np.argmax(free >= item))
        free[at] -= item
        used = max(used, at + 1)
    return used
