"""Join the journals and the commits into a `History`: a run's candidates and all that is known of them."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evogit.errors import UsageError
from evogit.evolution.plain import from_commit, plain_history, subject
from evogit.evolution.population import Population
from evogit.evolution.session import living_refs, read_population, stream_journals
from evogit.phylogeny.history import Facts, History
from evogit.phylogeny.steps import Attempt
from evogit.store import refs
from evogit.store.commitgraph import read_commits
from evogit.store.journal import Entry
from evogit.store.objects import Objects
from evogit.values import NOTHING, Oid


@dataclass(frozen=True)
class Record:
    """All that is known of a run: the commits, and the steps that left none."""

    history: History
    attempts: tuple[Attempt, ...]
    population: Population


def read_history(objects: Objects, run: str | None = None, revs: Sequence[str] = ()) -> History:
    """The run's phylogeny, from the version it began from; without a run, the repository's own history.

    With `revs` only these commits and their ancestors. Facts of plain history are read when asked for.

    Raises:
        UsageError: no such run, or a revision that names no commit.
        StoreError: a commit cannot be read.
    """
    if run is None:
        return plain_history(objects, revs)
    history = read_run(objects, run).history
    if not revs:
        return history
    heads = []
    for rev in revs:
        oid = objects.resolve(rev)
        try:
            heads.append(history.index(oid or ""))
        except KeyError:
            raise UsageError(f"{rev}: no candidate of run {run!r}. Type: evogit log") from None
    return history.restrict(np.fromiter(map(bool, history.reached(heads)), dtype=np.bool_, count=len(history)))


def read_run(objects: Objects, run: str) -> Record:
    """Everything the journals and branches say of a run. Raises like `read_history`."""
    reading = _Reading()
    for entry in stream_journals(objects, run, {}):
        reading.take(entry)
    population = reading.population
    if not population.hosts:
        read_population(objects, run)  # says which runs there are
    living = {oid for oid in living_refs(objects, run).values() if population.fate.alive(oid)} | {*population.guests()}
    promoted = {oid: s.name for oid, s in population.decisions.standing.items() if s.fate == "promote"}
    prefix = refs.individuals(run) + "promoted/"
    promoted |= {oid: ref.removeprefix(prefix) for ref, oid in objects.refs(prefix).items()}
    reading.complete(objects, [*living, *promoted])
    return Record(reading.history(living, promoted), tuple(reading.skipped()), reading.population)


@dataclass
class _Row:
    parents: tuple[Oid, ...]
    milliseconds: int
    facts: Facts


@dataclass
class _Reading:
    """What the entries so far have said."""

    population: Population = field(default_factory=Population)
    rows: dict[Oid, _Row] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        self.population.apply(entry)
        data = entry.data
        for reason, counts in data.get("skipped", {}).items():
            for name, count in counts.items():
                definition, _, operator = name.partition("/")
                self.counts[(definition, operator, reason)] += int(count)
        if entry.kind == "attempted":
            tokens, cost, seconds, model = _calls(data)
            outcome = str(data.get("outcome", ""))
            named = str(data.get("definition", "")), str(data.get("operator", ""))
            self.attempts.append(Attempt(*named, model, outcome, 1, seconds, cost, tokens))
        elif entry.candidate is None:
            return
        elif entry.kind == "evaluated" and entry.candidate not in self.rows:
            self._evaluated(entry, entry.candidate)

    def _evaluated(self, entry: Entry, commit: Oid) -> None:
        if "decision" not in entry.data and commit != self.population.base:
            return  # a person's commit, measured: its parents are read with it
        parents = tuple(entry.data.get("parents", ()))
        self.rows[commit] = _Row(parents, entry.clock.milliseconds, self._facts(entry))

    def _facts(self, entry: Entry) -> Facts:
        data, share = entry.data, self._share
        tokens, cost, _, model = _calls(data)
        score = data.get("score")
        return Facts(
            agent=share(data.get("agent", "")),
            host=share(data.get("host", "")),
            definition=share(data.get("definition", "")),
            operator=share(data.get("operator", "")),
            model=share(data.get("model", model)),
            score=None if score is None else float(score),
            metrics={share(name): float(value) for name, value in data.get("metrics", {}).items()} or NOTHING,
            status=share(data["status"]),
            decision=share(data.get("decision", "")),
            milliseconds=entry.clock.milliseconds,
            seconds=float(data.get("seconds", 0.0)),
            cost=cost,
            tokens=tokens,
            step=int(data.get("step", -1)),
            epoch=int(data.get("epoch", 0)),
            summary=str(data.get("summary", "")),
            scale=share(_scale(str(data["digest"]), int(data.get("epoch", 0)))),
        )

    def _share(self, text: object) -> str:
        """One string for all equal ones."""
        word = str(text)
        return self.words.setdefault(word, word)

    def complete(self, objects: Objects, tips: Iterable[Oid]) -> None:
        """Read the commits that no entry gives parents for: the start, and what people put on branches."""
        named = {parent for row in self.rows.values() for parent in row.parents}
        base = self.population.base
        asked = sorted({oid for oid in (*named, *tips) if oid not in self.rows and oid != base})
        if base is not None:
            known, commit = self.rows.get(base), objects.commit(base)
            facts = replace(known.facts, summary=subject(commit)) if known else from_commit(commit)
            # A run's time begins as it is founded, however old the commit is.
            self.rows[base] = _Row((), self.population.first, facts)
        asked = [oid for oid in asked if objects.has(oid)]
        if not asked:
            return
        commits = read_commits(objects, asked, [base] if base else [])
        names = [bytes(oid).hex() for oid in commits.oids]
        offsets, targets = commits.offsets.tolist(), commits.targets.tolist()
        for i, oid in enumerate(names):
            if oid not in self.rows:
                parents = [names[p] for p in targets[offsets[i] : offsets[i + 1]]]
                # Git's seconds may lie before the parents' milliseconds.
                latest = max((self.rows[p].milliseconds for p in parents if p in self.rows), default=0)
                when = max(int(commits.times[i]) * 1000, latest)
                self.rows[oid] = _Row(tuple(parents), when, self._outsider(objects, oid))

    def _outsider(self, objects: Objects, oid: Oid) -> Facts:
        """A commit no agent made: what the commit says, and its scores if it was ever measured."""
        commit = objects.commit(oid)
        tree = self.population.trees.get(oid, commit.tree)
        result = self.population.result(tree, self.population.epoch)
        measured: dict[str, Any] = {}
        if result is not None:
            scale = _scale(self.population.digest, self.population.epoch)
            measured = {"score": result.score, "metrics": result.metrics, "status": result.status, "scale": scale}
        return Facts(agent=commit.author, milliseconds=commit.time * 1000, summary=subject(commit), **measured)

    def skipped(self) -> list[Attempt]:
        counted = [Attempt(*key[:2], "", key[2], count) for key, count in sorted(self.counts.items())]
        return self.attempts + counted

    def history(self, living: set[Oid], promoted: Mapping[Oid, str]) -> History:
        order = _order(self.rows)
        number = {oid: i for i, oid in enumerate(order)}
        facts = self._rescored([self.rows[oid].facts for oid in order], order)
        champion = self.population.best()
        offsets, targets = array("i", [0]), array("i")
        for oid in order:
            targets.extend(number[p] for p in self.rows[oid].parents if p in number)
            offsets.append(len(targets))
        return History(
            np.frombuffer(bytes.fromhex("".join(order)), dtype=np.uint8).reshape(-1, 20),
            np.array(offsets, dtype=np.int32),
            np.array(targets, dtype=np.int32),
            np.array([self.rows[oid].milliseconds for oid in order], dtype=np.int64),
            facts.__getitem__,
            living=frozenset(number[oid] for oid in living if oid in number),
            promoted={number[oid]: name for oid, name in promoted.items() if oid in number},
            pruned=frozenset(number[oid] for oid in self.population.fate.extinct if oid in number),
            base=number.get(self.population.base or ""),
            best=number.get(champion.commit) if champion else None,
            direction=self.population.direction,
        )

    def _rescored(self, facts: list[Facts], order: list[Oid]) -> list[Facts]:
        """With the scores of later epochs, where a version was measured again."""
        by_tree: dict[Oid, dict[str, float]] = {}
        for (tree, digest, epoch), result in self.population.results.items():
            if result.ok and result.score is not None:
                by_tree.setdefault(tree, {})[self._share(_scale(digest, epoch))] = result.score
        for i, oid in enumerate(order):
            scores = by_tree.get(self.population.trees.get(oid, ""), {})
            if scores.keys() - {facts[i].scale}:
                facts[i] = replace(facts[i], scores=scores)
        return facts


def _order(rows: Mapping[Oid, _Row]) -> list[Oid]:
    """Parents before children, else by time, else by id (Kahn 1962, with a priority queue)."""
    children: dict[Oid, list[Oid]] = {}
    missing: dict[Oid, int] = {}
    for oid, row in rows.items():
        present = [p for p in row.parents if p in rows]
        missing[oid] = len(present)
        for parent in present:
            children.setdefault(parent, []).append(oid)
    ready = [(rows[oid].milliseconds, rows[oid].facts.step, oid) for oid, count in missing.items() if not count]
    heapq.heapify(ready)
    found = []
    while ready:
        oid = heapq.heappop(ready)[2]
        found.append(oid)
        for child in children.get(oid, ()):
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, (rows[child].milliseconds, rows[child].facts.step, child))
    return found


def _calls(data: Mapping[str, Any]) -> tuple[int, float, float, str]:
    """Tokens, money, seconds and the first model of the calls an entry records."""
    calls = data.get("calls", ())
    tokens = sum(int(call.get("input", 0)) + int(call.get("output", 0)) for call in calls)
    cost, seconds = (math.fsum(float(call.get(key, 0.0)) for call in calls) for key in ("cost", "seconds"))
    return tokens, cost, seconds, str(calls[0].get("model", "")) if calls else ""


def _scale(digest: str, epoch: int) -> str:
    return f"{digest}/{epoch}"
