"""What deserves a person's look: the new best, the most different, the fastest riser, lineages that are stuck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evogit.evolution.lineage import Record
from evogit.phylogeny.history import History
from evogit.phylogeny.measures import distinctiveness
from evogit.phylogeny.steps import exhausted, gain
from evogit.values import Oid

TRIES = 40  # children in vain after which a lineage counts as stuck
STUCK = 2  # stuck lineages that are shown
RISERS = 3  # and fast risers, the new best often among them
RECENT = 0.25  # of the candidates: how far back the fastest risers are looked for


@dataclass(frozen=True, slots=True)
class Item:
    """One version to look at. `why`: new best, most different, fast riser, stuck; `because` says it in words."""

    commit: Oid
    why: str
    because: str


def agenda(record: Record) -> list[Item]:
    """In order of urgency, each version once. Versions that a person has decided on are not asked about again."""
    history, standing = record.history, record.population.decisions.standing
    decided = {history.find(oid) for oid, said in standing.items() if said.fate or said.pinned}
    found: dict[int, Item] = {}
    for i, why, because in _worth_a_look(record):
        if i not in decided and i != history.base and i not in history.pruned:
            found.setdefault(i, Item(history.oid(i), why, because))
    return list(found.values())


def _worth_a_look(record: Record) -> Iterator[tuple[int, str, str]]:
    history = record.history
    if history.best is not None:
        yield history.best, "new best", "no version scores better"
    living = sorted(i for i in history.living if history.facts(i).score is not None)
    apart = distinctiveness(history, living) if len(living) > 2 else {}
    if apart:
        most = max(apart, key=lambda i: (apart[i], -i))
        yield (
            most,
            "most different",
            f"{apart[most]:.1f} commits of history are its own, more than any other's",
        )
    rises = sorted(((rise, -i) for i in living if (rise := _rise(history, i)) > 0), reverse=True)
    for rise, i in rises[:RISERS]:
        yield -i, "fast riser", f"its lineage gained {rise:.6g} over the last quarter of the candidates"
    for spent in exhausted(history, TRIES)[:STUCK]:
        yield spent.commit, "stuck", f"{spent.tried} children, and none was accepted"


def _rise(history: History, i: int) -> float:
    """How much the lineage gained lately, on one scale of scores."""
    since = (1 - RECENT) * len(history)
    now = history.facts(i)
    before = i
    for ancestor in history.first_parent_path(i):
        if history.facts(ancestor).score_on(now.scale) is not None:
            before = ancestor
        if ancestor < since:
            break
    old = history.facts(before).score_on(now.scale)
    return gain(history.direction, old, now.score) if old is not None and now.score is not None else 0.0
