"""What people decided: a fold over the journal's entries ``decided`` and ``goal``, in whatever order they come.

The last decision on a commit wins by the journal's clock; all stay on record. Versions that are pruned take their
descendants with them, but for those that a person decided on themselves. The last exclusive promotion that stands
leaves in the population only what descends from it, or what people put there since.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import Clock, Entry
from evogit.values import Oid

Order = tuple[Clock, str, int]

ON_COMMITS = frozenset({"promote", "prune", "restore", "pin", "adopt"})
"""Decisions that change what becomes of a commit."""


@dataclass(frozen=True, slots=True, order=True)
class Decision:
    """One decision on a commit. `tag` is the Git tag that said it, if one did; `name` a promotion's or adoption's."""

    order: Order
    verb: str
    commit: Oid
    author: str = ""
    reason: str = ""
    name: str = ""
    exclusive: bool = False
    tag: str = ""
    revives: bool = False
    """A restoration of what was extinct: it comes back. Else it only takes back what was said of the commit."""
    object: Oid = ""
    """What the tag's ref points at."""
    entry: Oid = ""


@dataclass(frozen=True, slots=True)
class Guidance:
    """What a person said. `on`: a commit whose descendants it is for; `agent`: a definition or an agent. Empty: all."""

    text: str
    entry: Oid
    on: Oid = ""
    agent: str = ""
    author: str = ""
    order: Order = (Clock(0), "", 0)


@dataclass(frozen=True, slots=True)
class GoalStage:
    """A stage of the goal, as a person wrote it. `entry` is the journal's entry."""

    text: str
    entry: Oid
    author: str
    order: Order


@dataclass(frozen=True, slots=True)
class Standing:
    """What the decisions on one commit come to. `fate` is promote, prune, restore, adopt or empty."""

    fate: str = ""
    pinned: bool = False
    name: str = ""
    exclusive: bool = False
    last: Decision | None = None

    @property
    def kept(self) -> bool:
        """Whether a person wants this version in the population."""
        return self.pinned or self.fate in ("promote", "restore", "adopt")


NOTHING = Standing()


@dataclass(slots=True)
class Decisions:
    """Everything people said of a run. `made` is in the journal's order."""

    made: list[Decision] = field(default_factory=list)
    stages: list[GoalStage] = field(default_factory=list)
    standing: dict[Oid, Standing] = field(default_factory=dict)
    branches: set[tuple[str, Oid]] = field(default_factory=set)
    """Branches that were looked at for adoption, with where they stood."""
    _guidance: dict[Oid, Guidance] = field(default_factory=dict)
    _withdrawn: set[Oid] = field(default_factory=set)
    _tags: dict[tuple[str, Oid], Decision] = field(default_factory=dict)

    def apply(self, entry: Entry) -> Oid | None:
        """Take in one entry; the commit whose standing it may have changed, if any."""
        data = entry.data
        author = str(data.get("author", ""))
        if entry.kind == "goal":
            stage = GoalStage(str(data.get("text", "")), entry.oid, author, entry.order)
            bisect.insort(self.stages, stage, key=lambda s: s.order)
            return None
        verb = str(data.get("decision", ""))
        if verb == "guide":
            words = str(data.get("text", "")), entry.oid, str(data.get("on", "")), str(data.get("agent", ""))
            self._guidance[entry.oid] = Guidance(*words, author, entry.order)
        elif verb == "withdraw":
            self._withdrawn.add(str(data.get("entry", "")))
        elif verb in ON_COMMITS and entry.candidate is not None:
            if verb == "adopt" and data.get("branch"):
                self.branches.add((str(data["branch"]), entry.candidate))
            if verb == "adopt" and data.get("status", "ok") != "ok":
                return None  # looked at, and it failed its evaluation
            return self._on_commit(
                Decision(
                    entry.order,
                    verb,
                    entry.candidate,
                    author,
                    str(data.get("reason", "")),
                    str(data.get("name", "")),
                    bool(data.get("exclusive")),
                    str(data.get("tag", "")),
                    bool(data.get("revives")),
                    str(data.get("object", "")),
                    entry.oid,
                )
            )
        return None

    def _on_commit(self, decision: Decision) -> Oid:
        """Several hosts may have read one tag: the first reading counts, so that it overrides nothing later."""
        if decision.tag:
            key = (decision.tag, decision.object)
            first = self._tags.get(key)
            if first is not None and first.order <= decision.order:
                return decision.commit
            if first is not None:
                self.made.remove(first)
            self._tags[key] = decision
        bisect.insort(self.made, decision)
        self.standing[decision.commit] = standing_of(d for d in self.made if d.commit == decision.commit)
        return decision.commit

    def of(self, commit: Oid) -> Standing:
        return self.standing.get(commit, NOTHING)

    def read(self, tag: str, target: Oid) -> bool:
        """Whether this tag, as it points now, is in a journal already."""
        return (tag, target) in self._tags

    @property
    def guidance(self) -> list[Guidance]:
        """What holds, the oldest first."""
        said = [guidance for oid, guidance in self._guidance.items() if oid not in self._withdrawn]
        return sorted(said, key=lambda guidance: guidance.order)

    @property
    def withdrawn(self) -> list[Guidance]:
        """What a person said and took back."""
        return [guidance for oid, guidance in self._guidance.items() if oid in self._withdrawn]

    @property
    def stage(self) -> GoalStage | None:
        """The stage of the goal that holds now."""
        return self.stages[-1] if self.stages else None

    @property
    def exclusive(self) -> Decision | None:
        """The promotion that the whole population continues from, if one stands."""
        for decision in reversed(self.made):
            if decision.exclusive and self.of(decision.commit).exclusive:
                return decision
        return None


def standing_of(decisions: Iterable[Decision]) -> Standing:
    """What `decisions` on one commit, in their order, come to."""
    fate, pinned, name, exclusive = "", False, "", False
    last: Decision | None = None
    for decision in decisions:
        last = decision
        if decision.verb == "pin":
            pinned = True
            fate = "restore" if fate == "prune" else fate
            continue
        revived = decision.verb != "restore" or decision.revives or fate == "prune"
        fate, exclusive = decision.verb if revived else "", decision.exclusive
        name = decision.name if decision.verb == "promote" else ""
        if decision.verb in ("prune", "restore"):
            pinned = False
    return Standing(fate, pinned, name, exclusive, last)


@dataclass(slots=True)
class Fate:
    """Which commits of a phylogeny are out of the population by a person's word, kept up to date as both grow."""

    extinct: set[Oid] = field(default_factory=set)
    """Pruned, or descended from a pruned version."""
    changes: int = 0
    """Grows whenever anybody's fate changes."""
    _inside: set[Oid] = field(default_factory=set)
    """While an exclusive promotion stands: what descends from it or was put there since."""
    _exclusive: Decision | None = None

    def alive(self, commit: Oid) -> bool:
        """Whether the commit may be an individual or a parent."""
        return commit not in self.extinct and (self._exclusive is None or commit in self._inside)

    def admit(self, commit: Oid, parents: Iterable[Oid], decisions: Decisions) -> None:
        """A commit was added to the phylogeny."""
        own, parents = decisions.standing.get(commit, NOTHING), tuple(parents)
        if own.fate == "prune" or (not own.kept and any(p in self.extinct for p in parents)):
            self.extinct.add(commit)
            self.changes += 1
        if self._exclusive is not None and (
            _put_since(self._exclusive, own) or any(p in self._inside for p in parents)
        ):
            self._inside.add(commit)

    def reconsider(self, commit: Oid, decisions: Decisions, phylogeny: Phylogeny) -> bool:
        """The decisions on `commit` have changed; whether anybody lives or dies by that."""
        changed = False
        exclusive = decisions.exclusive
        if commit in phylogeny:
            for oid in phylogeny.descendants(commit):
                own = decisions.standing.get(oid, NOTHING)
                parents = phylogeny.parents(oid)
                out = own.fate == "prune" or (not own.kept and any(p in self.extinct for p in parents))
                if out != (oid in self.extinct):
                    changed = True
                    self.extinct ^= {oid}
        if exclusive is not None or self._exclusive is not None:
            self._exclusive, self._inside = exclusive, set()
            for oid in phylogeny if exclusive is not None else ():
                own = decisions.standing.get(oid, NOTHING)
                if _put_since(exclusive, own) or any(p in self._inside for p in phylogeny.parents(oid)):
                    self._inside.add(oid)
            changed = True
        self.changes += changed
        return changed


def _put_since(exclusive: Decision | None, own: Standing) -> bool:
    """Whether a person wants a version beside the exclusive one: pinned ever, or anything kept since."""
    if exclusive is None or own.last is None:
        return False
    return own.pinned or (own.kept and own.last.order >= exclusive.order)


def as_rows(decisions: Decisions) -> list[Mapping[str, object]]:
    """Every decision on a commit as JSON, the oldest first."""
    return [
        {
            "decision": d.verb,
            "commit": d.commit,
            "author": d.author,
            "reason": d.reason,
            "time": d.order[0].milliseconds / 1000,
            **({"name": d.name} if d.name else {}),
            **({"exclusive": True} if d.exclusive else {}),
            **({"tag": d.tag} if d.tag else {}),
        }
        for d in decisions.made
    ]
