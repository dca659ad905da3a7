"""Which commits somebody asks to see: those alive, one lineage, the accepted, the recent, a neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evogit.phylogeny.history import History, Mask


@dataclass(frozen=True, slots=True)
class Selection:
    """What to keep; all that is said must hold. Commits are numbers of the history, `since` milliseconds since 1970."""

    living: bool = False
    lineage: int | None = None
    accepted: bool = False
    since: int | None = None
    around: int | None = None
    reach: int = 3
    """How many generations `around` looks up and down."""


def select(history: History, selection: Selection) -> Mask:
    """(n,) which commits are selected.

    `living` keeps the living and their ancestors; `lineage` a commit and its ancestors; `accepted` drops what a journal
    calls rejected; `around` keeps relatives within `reach` steps.
    """
    kept = np.ones(len(history), dtype=np.bool_)
    if selection.living:
        kept &= ancestors_of(history, sorted(history.living))
    if selection.lineage is not None:
        kept &= history.ancestors(selection.lineage)
    if selection.accepted:
        kept &= np.fromiter((is_accepted(history, i) for i in range(len(history))), dtype=np.bool_, count=len(history))
    if selection.since is not None:
        kept &= history.times >= selection.since
    if selection.around is not None:
        kept &= _around(history, selection.around, selection.reach)
    return kept


def is_accepted(history: History, i: int) -> bool:
    """Whether nothing speaks against commit `i`: accepted, or of a history that has no journal."""
    return history.facts(i).decision in ("accepted", "") or i in history.living or i in history.promoted


def ancestors_of(history: History, heads: list[int]) -> Mask:
    """(n,) the ancestors of any of `heads`, themselves included, in one sweep."""
    seen = np.zeros(len(history), dtype=np.bool_)
    open_ones = list(heads)
    marked = bytearray(len(history))
    for head in heads:
        marked[head] = 1
    while open_ones:
        for parent in history.parents(open_ones.pop()):
            if not marked[parent]:
                marked[parent] = 1
                open_ones.append(parent)
    seen |= np.frombuffer(marked, dtype=np.bool_)
    return seen


def _around(history: History, center: int, reach: int) -> Mask:
    """Ancestors and descendants within `reach` steps, and the center's siblings."""
    kept = np.zeros(len(history), dtype=np.bool_)
    for neighbours in (history.parents, history.children):
        ring = {center}
        for _ in range(reach + 1):
            kept[list(ring)] = True
            ring = {other for one in ring for other in neighbours(one)}
    for parent in history.parents(center)[:1]:
        siblings = [child for child in history.children(parent) if history.parents(child)[:1] == [parent]]
        kept[siblings] = True
    return kept
