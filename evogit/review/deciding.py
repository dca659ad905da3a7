"""Decide: promote, prune, restore, pin, guide, and the goal's next stage, each one entry in the reviewer's journal.

Nothing here moves an agent: running processes heed the entry within seconds, others when they start.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from evogit.errors import RefMoved, UsageError
from evogit.evolution.decisions import Guidance
from evogit.evolution.population import Population
from evogit.evolution.session import Session, living_refs
from evogit.evolution.tags import read_tags
from evogit.store import refs
from evogit.store.journal import Clock, Entry
from evogit.values import Oid


@dataclass(frozen=True, slots=True)
class Wish:
    """A decision on a commit before it is made. `verb`: promote, prune, restore or pin."""

    verb: str
    commit: Oid
    author: str
    reason: str = ""
    name: str = ""
    exclusive: bool = False

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = {"decision": self.verb, "author": self.author, "reason": self.reason}
        if self.verb == "promote":
            found |= {"name": self.name or self.commit[:10]} | ({"exclusive": True} if self.exclusive else {})
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision means. `moving`: living agents that have to leave their places. `entry`: None if not made."""

    wish: Wish
    moving: tuple[str, ...]
    branch: str | None
    entry: Oid | None

    @property
    def document(self) -> dict[str, Any]:
        """The outcome as JSON."""
        document = self.wish.data | {"commit": self.wish.commit, "moving": list(self.moving), "entry": self.entry}
        return document | ({"branch": self.branch} if self.branch else {}) | {"dry_run": self.entry is None}


def decide(session: Session, wish: Wish, *, dry_run: bool = False) -> Outcome:
    """Make a decision durable, or with `dry_run` only say what it would mean.

    Raises:
        UsageError: the commit is no candidate of the run, is where it began, or the promoted branch's name is taken.
    """
    population, objects, run = session.population, session.objects, session.plan.run
    list(read_tags(session, set()))  # what was said before counts before
    _check(population, run, wish)
    branch = refs.promoted(run, refs.check_name("name", wish.data["name"])) if wish.verb == "promote" else None
    if branch is not None and objects.ref(branch) not in (None, wish.commit):
        raise UsageError(
            f"{refs.branch_of(branch)} is another version already. Choose another name: "
            f"evogit promote {wish.commit[:10]} --name NAME"
        )
    moving = leaving(session, wish)
    shown = refs.branch_of(branch) if branch else None
    if dry_run:
        return Outcome(wish, moving, shown, None)
    entry = _write(session, wish)
    if wish.verb in ("prune", "restore"):
        for ref, oid in objects.refs(refs.promoted(run, "")).items():
            if oid == wish.commit:
                objects.delete(ref)
    if branch is not None and objects.ref(branch) is None:
        try:
            objects.move(branch, None, wish.commit)
        except RefMoved:
            shown = None  # somebody else has just set it up
    return Outcome(wish, moving, shown, entry.oid)


def _check(population: Population, run: str, wish: Wish) -> None:
    if wish.commit not in population.phylogeny:
        raise UsageError(
            f"{wish.commit[:10]} is no candidate of run {run!r}. To bring it in: evogit adopt {wish.commit[:10]}"
        )
    said = population.decisions.of(wish.commit)
    if wish.verb == "restore" and not (said.fate or said.pinned or wish.commit in population.fate.extinct):
        raise UsageError(f"nothing was decided on {wish.commit[:10]}; evogit status shows what was")
    if wish.verb == "prune" and wish.commit == population.base:
        raise UsageError(
            f"{wish.commit[:10]} is where run {run!r} began: everything would be extinct. "
            "To begin elsewhere: evogit run --run NAME --base REV"
        )


def _write(session: Session, wish: Wish) -> Entry:
    word = "exclusively promote" if wish.exclusive else wish.verb
    subject = f"{word} {wish.commit[:10]} by {wish.author}: {wish.reason}".rstrip(": ")
    data = wish.data | {"host": session.host}
    if wish.verb == "restore" and wish.commit in session.population.fate.extinct:
        data["revives"] = True
    entry = session.journal.append("decided", subject, data, candidate=wish.commit)
    session.population.apply(entry)
    session.journal.publish()
    return entry


def leaving(session: Session, wish: Wish) -> tuple[str, ...]:
    """Living agents, as ``host/agent``, that would have to leave their places."""
    population = session.population
    alive = population.fate.alive
    now = {name: oid for name, oid in living_refs(session.objects, session.plan.run).items() if alive(oid)}
    decisions, fate = copy.deepcopy(population.decisions), copy.deepcopy(population.fate)
    clock = Clock(max(session.journal.now(), population.clock.milliseconds + 1))
    decisions.apply(Entry("", session.journal.writer, 1 << 60, clock, "decided", wish.data, wish.commit))
    fate.reconsider(wish.commit, decisions, population.phylogeny)
    return tuple(f"{host}/{agent}" for (host, agent), oid in sorted(now.items()) if not fate.alive(oid))


def where_it_parted(session: Session, commit: Oid, other: Oid | None) -> Oid:
    """The first version of `commit`'s lineage after its merge base with `other` (default: the best that is not of it).

    Raises:
        UsageError: the lineage has no version of its own.
    """
    population = session.population
    graph = population.phylogeny
    if other is None:
        rest = [oid for oid in living_refs(session.objects, session.plan.run).values() if oid in graph]
        strangers = [oid for oid in rest if not graph.is_ancestor(commit, oid) and population.fate.alive(oid)]
        other = min(strangers, key=lambda oid: (graph.distance(commit, oid), oid), default=population.base)
    assert other is not None
    path = graph.first_parent_path(commit)
    own = [oid for oid in path if not graph.is_ancestor(oid, other) and oid != population.base]
    if not own:
        raise UsageError(f"{commit[:10]} is an ancestor of {other[:10]}: its lineage has no version of its own")
    return own[-1]


# Words


def guide(session: Session, text: str, *, author: str, on: Oid = "", agent: str = "", reason: str = "") -> Entry:
    """Tell the agents something from now on: all, those of one name or definition, or who descends from `on`."""
    if not text.strip():
        raise UsageError('nothing to say. Type: evogit guide "TEXT"')
    data = {"decision": "guide", "text": text.strip(), "author": author, "host": session.host}
    data |= {key: value for key, value in (("on", on), ("agent", agent), ("reason", reason)) if value}
    return _say(session, "decided", f"guide by {author}: {text.strip()}", data)


def withdraw(session: Session, which: str, *, author: str, reason: str = "") -> Guidance:
    """Take guidance back; `which` is the beginning of its id. Raises `UsageError` if that names none, or several."""
    taken = guidance_called(session, which)
    data = {"decision": "withdraw", "entry": taken.entry, "author": author, "host": session.host}
    data |= {"reason": reason} if reason else {}
    _say(session, "decided", f"withdraw by {author}: {taken.text}", data)
    return taken


def guidance_called(session: Session, which: str) -> Guidance:
    """The guidance that holds whose id begins with `which`. Raises `UsageError` if that names none, or several."""
    found = [g for g in session.population.decisions.guidance if g.entry.startswith(which)] if which else []
    if len(found) != 1:
        problem = "names several" if found else "is no guidance that holds"
        raise UsageError(f"{which!r} {problem}. Type: evogit guide --list")
    return found[0]


def set_goal(session: Session, text: str, *, author: str, reason: str = "") -> Entry:
    """Open the next stage of the goal. Raises `UsageError` if it says nothing new."""
    check_goal(session, text)
    number = len(session.population.decisions.stages) + 1
    data = {"text": text.strip(), "author": author, "host": session.host} | ({"reason": reason} if reason else {})
    return _say(session, "goal", f"stage {number} by {author}: {text.strip()}", data)


def check_goal(session: Session, text: str) -> None:
    """Raises `UsageError` if `text` is no new stage of the goal."""
    stage = session.population.decisions.stage
    if not text.strip():
        raise UsageError("an empty goal leads nowhere; nothing was changed")
    if stage is not None and stage.text == text.strip():
        raise UsageError("the goal is as it was; nothing was changed")


def _say(session: Session, kind: str, subject: str, data: dict[str, Any]) -> Entry:
    entry = session.journal.append(kind, subject, data)
    session.population.apply(entry)
    session.journal.publish()
    return entry
