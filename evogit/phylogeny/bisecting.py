"""The ancestor at which a metric rose or fell most: every step of a lineage was measured, so nothing need be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evogit.phylogeny.history import Facts, History

SCORE = "score"


@dataclass(frozen=True, slots=True)
class Change:
    """One step: the metric in the parent that had it most like the child, and in the child."""

    commit: int
    parent: int
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Bisection:
    """`changes` of the lineage, the largest first; `steps` on it, of which `unknown` could not be compared."""

    metric: str
    changes: tuple[Change, ...]
    steps: int
    unknown: int


def metrics_of(history: History, i: int) -> list[str]:
    """What was measured on the lineage of `i`, score first."""
    found: set[str] = set()
    for at in np.flatnonzero(history.ancestors(i)).tolist():
        found |= history.facts(at).metrics.keys()
    return [SCORE, *sorted(found)]


def bisect(history: History, i: int, metric: str = SCORE, *, first_parent: bool = False) -> Bisection:
    """Where `metric` changed on the way to commit `i`: over all its ancestors, or its first parents only.

    A merge is compared with the parent whose value is nearest to its own, so that what a merge merely took over counts
    where it arose. Steps between different scales are unknown: an epoch's scores do not compare with another's.
    """
    lineage = history.first_parent_path(i)[::-1] if first_parent else np.flatnonzero(history.ancestors(i)).tolist()
    changes = []
    steps = unknown = 0
    for at in lineage:
        parents = history.parents(at)[:1] if first_parent else history.parents(at)
        if not parents:
            continue
        steps += 1
        change = _nearest(history, at, parents, metric)
        if change is None:
            unknown += 1
        else:
            changes.append(change)
    ranked = sorted(changes, key=lambda change: (-abs(change.change), change.commit))
    return Bisection(metric, tuple(ranked), steps, unknown)


def _nearest(history: History, i: int, parents: Sequence[int], metric: str) -> Change | None:
    facts = history.facts(i)
    after = _value(facts, metric, facts.scale)
    if after is None:
        return None
    known = [
        Change(i, parent, before, after)
        for parent in parents
        if (before := _value(history.facts(parent), metric, facts.scale)) is not None
    ]
    return min(known, key=lambda change: abs(change.change), default=None)


def _value(facts: Facts, metric: str, scale: str) -> float | None:
    if metric == SCORE:
        return facts.score_on(scale)
    return facts.metrics.get(metric) if facts.scale == scale else None
