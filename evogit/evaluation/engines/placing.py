"""How many evaluations fit on which node of a cluster: decided from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

Resources = Mapping[str, float]
"""By the cluster's own names: CPU, GPU, memory (bytes), and whatever its owner named."""

CEILING = 256  # evaluations of one worker process at most: it hands out their results one after another


def fits(has: Resources, need: Resources) -> int:
    """How many evaluations that need `need` each run on a node that has `has`."""
    counts = [math.floor(has.get(name, 0.0) / amount + 1e-9) for name, amount in need.items() if amount > 0]
    return min([CEILING, *counts])


def placed(nodes: Mapping[str, Resources], need: Resources, taken: Mapping[str, int], limit: int = 0) -> dict[str, int]:
    """Node → slots to open there: on nodes where none are `taken`, `limit` in all with those (0: as many as fit).

    Under a limit they are dealt out one by one, so that every node takes its share.
    """
    room = {node: fits(has, need) for node, has in sorted(nodes.items()) if node not in taken}
    if not limit:
        return {node: count for node, count in room.items() if count}
    left, dealt = limit - sum(taken.values()), dict.fromkeys(room, 0)
    while left > 0 and (open_ := [node for node, count in room.items() if dealt[node] < count]):
        for node in open_[:left]:
            dealt[node] += 1
            left -= 1
    return {node: count for node, count in dealt.items() if count}


def reserved(need: Resources, slots: int) -> dict[str, float]:
    """What a worker of so many slots asks of its node. Clusters have no 1.5 of anything: above one, whole numbers."""
    amounts = {name: amount * slots for name, amount in need.items() if amount > 0}
    return {name: amount if amount <= 1 else float(math.ceil(amount - 1e-9)) for name, amount in amounts.items()}
