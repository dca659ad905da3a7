"""Where each node of a picture stands: x along an axis, y in a lane; linear in the nodes, no crossing minimisation.

Graphviz's layered layout needs 38 s for 5,000 nodes. Here every node continues the lane of its first parent or opens
one beside it, as metro maps of Git histories do; attempts that led nowhere hang below the line that made them.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

NONE = -1
TWIG_DEPTH = 0.38
"""How far below its lane an attempt that led nowhere hangs, in lanes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One entry a node: `x` as given, `lane` (0 is the topmost; twigs have fractions), and how it hangs together.

    `heir` is the child that continues the node's lane, or -1. `hung` marks twigs that hang from the line between their
    parent and its heir, so that a short tick draws their edge.
    """

    x: tuple[float, ...]
    lane: tuple[float, ...]
    heir: tuple[int, ...]
    hung: tuple[bool, ...]
    lanes: int


def lay_out(
    parent: Sequence[int], x: Sequence[float], twig: Sequence[bool], favourite: Sequence[bool] | None = None
) -> Layout:
    """Lanes for nodes in topological order.

    `parent` is each node's first parent, or -1; `x` never falls from parent to child; `twig` marks leaves that get no
    lane of their own; `favourite` marks nodes whose line should stay straight (the best lineage).
    """
    count = len(parent)
    liked = favourite if favourite is not None else [False] * count
    heir, ends = _heirs(parent, x, twig, liked)
    lane = _lanes(parent, x, twig, heir, ends)
    hung = [False] * count
    for node in range(count):
        above = parent[node]
        if twig[node] and above != NONE:
            lane[node] = lane[above] + TWIG_DEPTH
            next_ = heir[above]
            hung[node] = next_ == NONE or x[node] <= x[next_]
        elif twig[node]:
            lane[node] += TWIG_DEPTH
    top = min((int(value) for value in lane), default=0)
    placed = tuple(value - top for value in lane)
    return Layout(tuple(x), placed, tuple(heir), tuple(hung), int(max(placed, default=-1)) + 1)


def _heirs(
    parent: Sequence[int], x: Sequence[float], twig: Sequence[bool], liked: Sequence[bool]
) -> tuple[list[int], list[float]]:
    """Who continues each node's lane: the favourite, else the child whose line reaches furthest; and how far."""
    count = len(parent)
    heir = [NONE] * count
    reach = list(x)
    ends = list(x)
    for node in range(count - 1, -1, -1):
        above = parent[node]
        if above == NONE:
            continue
        if twig[node]:
            ends[above] = max(ends[above], x[node])
            continue
        held = heir[above]
        if held == NONE or (liked[node], reach[node]) >= (liked[held], reach[held]):
            heir[above] = node
        reach[above] = max(reach[above], reach[node])
    return heir, ends


def _lanes(
    parent: Sequence[int], x: Sequence[float], twig: Sequence[bool], heir: Sequence[int], ends: Sequence[float]
) -> list[float]:
    """Pack lines into lanes, each as near its parent's as is free from its parent's x to its own end."""
    count = len(parent)
    heads = [node for node in range(count) if not twig[node] and (parent[node] == NONE or heir[parent[node]] != node)]
    heads.sort(key=lambda node: (x[parent[node]] if parent[node] != NONE else x[node], node))
    lane = [0.0] * count
    free: list[int] = []
    taken: list[tuple[float, int]] = []
    lowest, highest = 0, -1
    for head in heads:
        above = parent[head]
        start = x[above] if above != NONE else x[head]
        while taken and taken[0][0] < start:
            insort(free, heapq.heappop(taken)[1])
        wanted = int(lane[above]) if above != NONE else highest + 1
        chosen = _nearest(free, wanted, lowest - 1, highest + 1) if highest >= lowest else 0
        lowest, highest = min(lowest, chosen), max(highest, chosen)
        end, node = start, head
        while node != NONE:
            lane[node] = chosen
            end = max(end, ends[node] if heir[node] == NONE else x[node])
            node = heir[node]
        heapq.heappush(taken, (end, chosen))
    return lane


def _nearest(free: list[int], wanted: int, above: int, below: int) -> int:
    """The lane nearest to `wanted`, taken out of `free` if it is one of those; else a new one at an edge."""
    at = bisect_left(free, wanted)
    best = below if abs(below - wanted) <= abs(above - wanted) else above
    place = NONE
    for candidate in (at, at - 1):
        if 0 <= candidate < len(free) and abs(free[candidate] - wanted) < abs(best - wanted):
            best, place = free[candidate], candidate
    if place != NONE:
        free.pop(place)
    return best
