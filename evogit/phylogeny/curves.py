"""How a run went over time: the best score so far, what each operator had accepted, what it cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evogit.phylogeny.history import History, Mask
from evogit.values import better

WINDOWS = (6, 40)
"""At least and at most so many; between them, one for each 60 candidates."""
MOST_POINTS = 2_000


@dataclass(frozen=True, slots=True)
class Curves:
    """Moments are milliseconds since 1970.

    `best`: (moment, score) at each improvement and at the end, begun anew, after a pair with None, where scores stop
    being comparable: in a new epoch or under another evaluator. `scores`: (moment, score) of accepted candidates,
    thinned evenly to 2,000. `windows`: the end of each window; `tried` and `accepted`: operator → count in each window.
    `cost`, `tokens`, `seconds`: the sums up to each window's end.
    """

    best: tuple[tuple[int, float | None], ...] = ()
    scores: tuple[tuple[int, float], ...] = ()
    windows: tuple[int, ...] = ()
    tried: dict[str, tuple[int, ...]] | None = None
    accepted: dict[str, tuple[int, ...]] | None = None
    cost: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()


def curves(history: History, selected: Mask) -> Curves:
    """What the selected candidates say; nothing for plain history, where nothing was tried."""
    if history.base is None:
        return Curves()
    every = [(int(history.times[i]), history.facts(i)) for i in np.flatnonzero(selected).tolist()]
    found = sorted(((when, facts) for when, facts in every if facts.decision), key=lambda pair: pair[0])
    if not found:
        return Curves()
    first, last = found[0][0], found[-1][0]
    fine = min(max(len(found) // 60, WINDOWS[0]), WINDOWS[1])
    width = -(-(last - first + 1) // fine)
    count = (last - first) // width + 1
    tried: dict[str, list[int]] = {}
    accepted: dict[str, list[int]] = {}
    cost, tokens, seconds = [0.0] * count, [0] * count, [0.0] * count
    bests: dict[str, list[tuple[int, float | None]]] = {}
    ends: dict[str, int] = {}
    scores: list[tuple[int, float]] = []
    for when, facts in found:
        window = (when - first) // width
        tried.setdefault(facts.operator, [0] * count)[window] += 1
        good = facts.decision == "accepted"
        accepted.setdefault(facts.operator, [0] * count)[window] += good
        cost[window] += facts.cost
        tokens[window] += facts.tokens
        seconds[window] += facts.seconds
        ends[facts.scale] = when
        if not good or facts.score is None:
            continue
        scores.append((when, facts.score))
        steps = bests.setdefault(facts.scale, [])
        held = steps[-1][1] if steps else None
        if held is None or better(history.direction, facts.score, held):
            steps.append((when, facts.score))
    best = [
        pair for scale, steps in bests.items() for pair in (*steps, (ends[scale], steps[-1][1]), (ends[scale], None))
    ]
    thin = np.unique(np.linspace(0, len(scores) - 1, min(len(scores), MOST_POINTS)).round().astype(np.int64)).tolist()
    return Curves(
        tuple(best[:-1]),
        tuple(scores[i] for i in thin),
        tuple(min(first + width * (window + 1), last) for window in range(count)),
        {name: tuple(counts) for name, counts in sorted(tried.items())},
        {name: tuple(counts) for name, counts in sorted(accepted.items())},
        tuple(np.cumsum(cost).round(9).tolist()),
        tuple(np.cumsum(tokens).tolist()),
        tuple(np.cumsum(seconds).round(6).tolist()),
    )
