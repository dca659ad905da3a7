"""Make a candidate again from what its journal entry kept, and compare the trees. Nobody is asked anything.

Offline agents drew from a generator of their own, whose seed is on record; what a model replied is read once more by
the parser that read it then. Only what a coding program did, or a person, cannot be made again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evogit.catalog import Task, editable
from evogit.errors import StoreError, VariationError
from evogit.evolution import breeding
from evogit.evolution.session import task_of
from evogit.evolution.versions import Versions
from evogit.review import hunks
from evogit.store.journal import Entry
from evogit.store.objects import Objects
from evogit.values import Changes, Oid, Version
from evogit.variation import cross, model
from evogit.variation.making import OFFLINE
from evogit.variation.numbers import Numbers
from evogit.variation.request import Pool, Request

Outcome = Literal["identical", "different", "not replayable"]

BY_A_PROGRAM = "a coding program made it, and what it did is known by its result only"
BY_A_PERSON = "no agent made it"
TOO_OLD = "it was recorded by a version of EvoGit that did not keep the seed"


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of making one commit again. `made` is the tree that came out, if one did."""

    commit: Oid
    outcome: Outcome
    why: str
    tree: Oid
    made: Oid | None = None
    agent: str = ""
    operator: str = ""
    summary: str = ""

    def document(self) -> dict[str, Any]:
        return {
            "commit": self.commit,
            "outcome": self.outcome,
            "why": self.why,
            "tree": self.tree,
            "made": self.made,
            "agent": self.agent,
            "operator": self.operator,
            "summary": self.summary,
        }


class _Impossible(Exception):
    """Why there is nothing to make the candidate from."""


class Replayer:
    """Replays candidates of one run. `entries` are all of its journals, in their order. Writes nothing durable."""

    def __init__(self, objects: Objects, entries: Iterable[Entry]) -> None:
        self._objects = objects
        self._births: dict[Oid, list[Entry]] = {}
        self._founded: list[Entry] = []
        self._tasks: dict[Oid, tuple[Task, Versions]] = {}
        self.base: Oid | None = None
        for entry in entries:
            if entry.kind == "founded":
                self._founded.append(entry)
                self.base = self.base or entry.candidate
            elif entry.kind == "evaluated" and entry.candidate and "operator" in entry.data:
                self._births.setdefault(entry.candidate, []).append(entry)

    def lineage(self, commit: Oid) -> list[Oid]:
        """`commit` and its ancestors back to where the run began, the oldest first; a person's are not gone beyond."""
        seen: dict[Oid, None] = {}
        waiting = [commit]
        while waiting:
            at = waiting.pop()
            if at in seen or at == self.base:
                continue
            seen[at] = None
            if at in self._births:
                waiting += self._births[at][0].data.get("parents", ())
        return sorted(seen, key=lambda oid: self._births[oid][0].order if oid in self._births else self._start())

    def _start(self) -> Any:
        return self._founded[0].order

    async def replay(self, commit: Oid) -> Replay:
        """Make `commit` again. Raises `StoreError` when an object that is needed is missing."""
        tree = self._objects.commit(commit).tree
        if commit not in self._births:
            why = "the run began with it" if commit == self.base else BY_A_PERSON
            return Replay(commit, "not replayable", why, tree)
        found: list[Replay] = []
        for entry in self._births[commit]:  # two steps within a second may have made the very same commit
            found.append(await self._again(commit, tree, entry))
            if found[-1].outcome == "identical":
                break
        return found[-1]

    async def _again(self, commit: Oid, tree: Oid, entry: Entry) -> Replay:
        data = entry.data
        who = (str(data["agent"]), str(data["operator"]), str(data.get("summary", "")))
        try:
            made = await self._tree(tree, entry)
        except _Impossible as error:
            return Replay(commit, "not replayable", str(error), tree, None, *who)
        except (VariationError, StoreError) as error:
            return Replay(commit, "different", f"it cannot be made again: {error}", tree, None, *who)
        if made == tree:
            return Replay(commit, "identical", "", tree, made, *who)
        paths = sorted(self._objects.diff(tree, made))
        shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        return Replay(commit, "different", f"another text of {shown}", tree, made, *who)

    async def _tree(self, tree: Oid, entry: Entry) -> Oid:
        data = entry.data
        recipe: Mapping[str, Any] = data.get("recipe", {})
        parents = [str(parent) for parent in data["parents"]]
        if data["operator"] == "minimize":
            kept = [int(number) for number in recipe["kept"]]
            return hunks.rebuilt(self._objects, parents[0], str(recipe["of"]), kept, recipe.get("texts", {}))
        task, versions = self._task(entry)
        receiver = self._version(versions, parents[0])
        if data["operator"] == "command":
            self._check_patch(versions, receiver.tree, tree, data)
        by = "repair" if data["operator"] == "repair" else recipe.get("by")
        if by is None:
            raise _Impossible(TOO_OLD)
        request = self._request(task, versions, receiver, data, recipe)
        changes = await self._changes(str(by), request, task, recipe, entry)
        return self._objects.edit(receiver.tree, changes)

    def _check_patch(self, versions: Versions, receiver: Oid, tree: Oid, data: Mapping[str, Any]) -> None:
        """What a program did cannot be made again, but the record must not contradict itself."""
        if "patch" in data and breeding.patch_id(versions, receiver, tree) != data["patch"]:
            raise VariationError("the tree is not what the recorded patch id says")
        raise _Impossible(BY_A_PROGRAM)

    def _request(
        self, task: Task, versions: Versions, receiver: Version, data: Mapping[str, Any], recipe: Mapping[str, Any]
    ) -> Request:
        rng = random.Random(f"{recipe.get('seed', 0)}:{data.get('step', 0)}:make")
        pool = Pool([self._version(versions, str(oid)) for oid in recipe.get("pool", ())])
        request = Request(receiver, str(data["operator"]), rng, task.vocabulary, pool=pool)
        other = data["parents"][1] if len(data["parents"]) > 1 else data.get("donor")
        if other is None:
            return request
        mate = self._version(versions, str(other))
        base, ours, theirs = breeding.between(self._objects, versions, receiver.tree, mate.tree, recipe.get("base"))
        return Request(receiver, request.operator, rng, task.vocabulary, mate, base, ours, theirs, pool)

    async def _changes(self, by: str, request: Request, task: Task, recipe: Mapping[str, Any], entry: Entry) -> Changes:
        if by in OFFLINE:
            kind = OFFLINE[by]
            variation = Numbers(steps=dict(recipe.get("steps", {}))) if kind is Numbers else kind()
            return (await variation.propose(request)).changes
        if by == "cross":
            merged = cross.meet(request)
            if not cross.undecided(merged):
                return cross.settled(merged, [])
            return cross.reader(request, merged)(self._reply(entry))
        if request.operator in ("merge", "transplant"):
            return model.crossed(request).changes
        if by not in ("mutate", "repair"):
            raise _Impossible(f"agents of kind {by!r} are not known here")
        return model.reader(request.operator, request.receiver.files, editable(task), recipe)(self._reply(entry))

    def _reply(self, entry: Entry) -> str:
        """What the model said last: that is what was used."""
        found = self._objects.listing(entry.evidence).get("reply.md")
        if found is None:
            raise _Impossible("the reply that it was made from is not on record")
        return self._objects.blob(found[1]).decode("utf-8", "replace")

    def _version(self, versions: Versions, commit: Oid) -> Version:
        return versions.version(commit, self._objects.commit(commit).tree, None)

    def _task(self, entry: Entry) -> tuple[Task, Versions]:
        """The task as it was when the entry was written."""
        known = [f for f in self._founded if f.data["digest"] == entry.data["digest"]]
        before = [f for f in known if f.order < entry.order] or known
        if not before:
            raise _Impossible("the task it was made for is not on record")
        evidence = before[-1].evidence
        if evidence not in self._tasks:
            task = task_of(self._objects, str(before[-1].data["task"]), evidence)
            self._tasks[evidence] = task, Versions(self._objects, editable(task))
        return self._tasks[evidence]


def counts(found: Sequence[Replay]) -> dict[str, int]:
    """How many of each outcome, all three named."""
    names: tuple[Outcome, ...] = ("identical", "different", "not replayable")
    return {name: sum(replay.outcome == name for replay in found) for name in names}
