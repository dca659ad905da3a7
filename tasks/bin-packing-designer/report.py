"""Print what classical heuristics and bounds have on the unseen instances of epoch 0 and of the validation."""

from __future__ import annotations

import random

from evaluate import TRAINING, UNSEEN
from packing import CAPACITY, CLASSES, best_fit_decreasing, bound, first_fit_decreasing, instance


def next_fit(items: list[int], capacity: int) -> list[list[int]]:
    bins: list[list[int]] = [[]]
    for item in items:
        if sum(bins[-1]) + item > capacity:
            bins.append([])
        bins[-1].append(item)
    return bins


def main() -> None:
    heuristics = {"next fit": next_fit, "FFD": first_fit_decreasing, "BFD": best_fit_decreasing}
    for stage, salt in (("main", "0"), ("validation", "validation")):
        rng = random.Random(f"{salt} of the designers")
        for name in CLASSES:
            for _ in range(TRAINING):
                instance(rng, name)
        drawn = [instance(rng, name) for name in CLASSES for _ in range(UNSEEN[stage])]
        volume = sum(-(-sum(items) // CAPACITY) for items in drawn)
        least = sum(bound(items, CAPACITY) for items in drawn)
        found = {name: sum(len(pack(items, CAPACITY)) for items in drawn) for name, pack in heuristics.items()}
        told = "".join(f", {name} {bins} ({100 * (bins / least - 1):.2f} %)" for name, bins in found.items())
        print(f"{stage}: {len(drawn)} instances, L1 {volume}, L2 {least}{told}")


if __name__ == "__main__":
    main()
