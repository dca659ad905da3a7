"""Which of the selected commits are shown, and what becomes of the rest: counted at their nearest shown ancestor."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from evogit.phylogeny.history import History, Mask
from evogit.phylogeny.picture import Link, Node, Picture
from evogit.phylogeny.selecting import ancestors_of

NEWEST = 25
"""So many commits of plain history are shown at least."""
MOST_LINKS = 4
"""A merge among the folded commits leads to several shown ancestors; that many are followed."""


def draw(history: History, selected: Mask, shown: Mask, *, run: str = "", task: str = "") -> Picture:
    """The picture of `shown` (within `selected`), with links across what is left out.

    Every selected commit is shown, or counted in the `folded` of exactly one shown node, or in `elsewhere`.
    """
    shown = shown & selected
    places = np.flatnonzero(shown).tolist()
    position = dict(zip(places, range(len(places)), strict=True))
    folded, elsewhere = _counts(history, selected, shown, position)
    ways = _Ways(history, position)
    generations = history.generations
    nodes = []
    for at, i in enumerate(places):
        nodes.append(_node(history, i, ways.up(i), folded[at], int(generations[i])))
    total = int(selected.sum())
    return Picture(tuple(nodes), total, len(history), elsewhere, history.direction, run, task)


def _counts(history: History, selected: Mask, shown: Mask, position: dict[int, int]) -> tuple[list[int], int]:
    """How many selected, not shown commits stand below each shown one along first parents; and how many below none."""
    if bool((selected == shown).all()):
        return [0] * len(position), 0
    first, visible, wanted = history.first_parents.tolist(), shown.tolist(), selected.tolist()
    nearest = [-1] * len(history)
    counts, elsewhere = [0] * len(position), 0
    for i in range(len(history)):
        if visible[i]:
            nearest[i] = position[i]
            continue
        found = nearest[i] = nearest[first[i]] if first[i] >= 0 else -1
        if not wanted[i]:
            continue
        if found >= 0:
            counts[found] += 1
        else:
            elsewhere += 1
    return counts, elsewhere


class _Ways:
    """Ways from a commit up to its nearest shown ancestors; what folded commits lead to is remembered."""

    def __init__(self, history: History, position: dict[int, int]) -> None:
        self._history = history
        self._position = position
        self._known: dict[int, tuple[Link, ...]] = {}

    def up(self, i: int) -> tuple[Link, ...]:
        found: dict[int, Link] = {}
        for parent in self._history.parents(i):
            for link in self._from(parent):
                found.setdefault(link.parent, link)
        return tuple(found.values())

    def _from(self, start: int) -> tuple[Link, ...]:
        """Links to `start` if it is shown, else to what it leads to. A gap may be too long for recursion."""
        position, known, parents = self._position, self._known, self._history.parents
        stack = [start]
        while stack:
            i = stack[-1]
            if i in position:
                known[i] = (Link(position[i]),)
            waiting = [parent for parent in parents(i) if parent not in known] if i not in known else []
            if waiting:
                stack += waiting
                continue
            stack.pop()
            if i not in known:
                known[i] = _joined(known[parent] for parent in parents(i))
        return known[start]


def _joined(ways: Iterable[tuple[Link, ...]]) -> tuple[Link, ...]:
    found: dict[int, Link] = {}
    for links in ways:
        for link in links:
            found.setdefault(link.parent, Link(link.parent, link.hidden + 1))
    return tuple(found.values())[:MOST_LINKS]


def _node(history: History, i: int, links: tuple[Link, ...], folded: int, generation: int) -> Node:
    facts = history.facts(i)
    parents = history.parents(i)
    change = None
    if parents and facts.score is not None:
        before = history.facts(parents[0]).score_on(facts.scale)
        change = None if before is None else facts.score - before
    names = [*history.names.get(i, ())]
    names += [facts.agent] if history.base is not None and i in history.living and facts.agent else []
    names += [history.promoted[i]] if i in history.promoted else []
    return Node(
        oid=history.oid(i), links=links, parents=tuple(map(history.oid, parents)), folded=folded,
        marks=marks(history, i, facts.decision), names=tuple(names), agent=facts.agent, host=facts.host,
        definition=facts.definition, operator=facts.operator, model=facts.model, score=facts.score, change=change,
        metrics=facts.metrics, status=facts.status, decision=facts.decision, milliseconds=int(history.times[i]),
        seconds=facts.seconds, cost=facts.cost, tokens=facts.tokens, step=facts.step, epoch=facts.epoch,
        generation=generation, summary=facts.summary,
    )  # fmt: skip


def marks(history: History, i: int, decision: str) -> frozenset[str]:
    """Everything in `KINDS` that commit `i` is."""
    true = (
        ("best", i == history.best),
        ("promoted", i in history.promoted),
        ("pruned", i in history.pruned),
        ("living", i in history.living),
        ("start", i == history.base),
        ("accepted", decision == "accepted"),
        ("rejected", decision not in ("accepted", "") and i not in history.living),
    )
    return frozenset(name for name, holds in true if holds)


def everything(history: History) -> Mask:
    return np.ones(len(history), dtype=np.bool_)


def remarkable(history: History, selected: Mask) -> Mask:
    """What a person wants to see first: start, living, promoted, pruned, the best lineage, and where these lines meet.

    Lines meet at the nearest common first-parent ancestors, of which there are fewer than lines. Of plain history,
    which has no best lineage, it is the newest commits that are shown in full.
    """
    shown = np.zeros(len(history), dtype=np.bool_)
    shown[_tips(history)] = True
    for i in [history.best, *history.promoted]:
        if i is not None:
            shown[history.first_parent_path(i)] = True
    if history.base is None:
        shown[np.flatnonzero(selected)[-NEWEST:]] = True
    shown &= selected
    _show_meetings(history, selected, shown)
    return shown


def _tips(history: History) -> list[int]:
    named = {history.base, history.best} - {None}
    return sorted({*history.living, *history.promoted, *history.pruned, *(i for i in named if i is not None)})


def _show_meetings(history: History, selected: Mask, shown: Mask) -> None:
    """Add to `shown` where the first-parent lines of shown commits meet, and where such a line begins."""
    first = history.first_parents
    below: dict[int, int] = {}
    for tip in np.flatnonzero(shown).tolist()[::-1]:
        line, i = tip, int(first[tip])
        while i >= 0:
            held = below.get(i)
            if held is not None:
                if held != line and not shown[i] and selected[i]:
                    shown[i] = True
                break
            below[i] = line
            if shown[i]:
                break
            if int(first[i]) < 0 and selected[i]:
                shown[i] = True
            i = int(first[i])


def at_most(history: History, selected: Mask, limit: int) -> Mask:
    """The `limit` selected commits that matter most; the group that does not fit whole is sampled evenly.

    In this order: start, best, promoted, living and pruned; what branches and tags name; the best lineage; the
    promoted ones' lineages; where lines meet; the ancestors of all these; accepted candidates; the rest.
    """
    if int(selected.sum()) <= limit:
        return selected.copy()
    shown = np.zeros(len(history), dtype=np.bool_)
    for group in _groups(history, selected):
        fresh = np.flatnonzero(group & selected & ~shown)
        room = limit - int(shown.sum())
        if len(fresh) > room:
            # Evenly, both ends included: a fold must not hide a whole epoch.
            fresh = (
                fresh[np.unique(np.linspace(0, len(fresh) - 1, room).round().astype(np.int64))] if room else fresh[:0]
            )
            shown[fresh] = True
            break
        shown[fresh] = True
    return shown


def _groups(history: History, selected: Mask) -> Iterable[Mask]:
    def mask(places: Iterable[int]) -> Mask:
        found = np.zeros(len(history), dtype=np.bool_)
        found[list(places)] = True
        return found

    leading = [i for i in (history.base, history.best) if i is not None]
    yield mask([*leading, *history.promoted])
    yield mask([*history.living, *history.pruned])
    yield mask(history.names)
    yield mask(history.first_parent_path(history.best) if history.best is not None else [])
    yield mask(i for tip in history.promoted for i in history.first_parent_path(tip))
    yield remarkable(history, selected)
    yield ancestors_of(history, _tips(history))
    if history.base is not None:  # plain history has no decisions, and asking it for facts reads every commit
        accepted = (history.facts(i).decision == "accepted" for i in range(len(history)))
        yield np.fromiter(accepted, np.bool_, len(history))
    yield everything(history)
