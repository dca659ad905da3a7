"""All that a reviewer needs to know of one version, gathered as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evogit.evolution.details import diff
from evogit.evolution.lineage import Record
from evogit.evolution.population import Population
from evogit.phylogeny.history import History
from evogit.review.agenda import Item
from evogit.store.journal import artifacts
from evogit.store.objects import EMPTY_TREE, Objects
from evogit.values import Oid

LINEAGE = 5  # lines


@dataclass(frozen=True, slots=True)
class Change:
    """One file against another version: lines added and removed."""

    path: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Against:
    """A version held against another: `what` it is, its score and metrics under the same evaluator, what differs."""

    what: str
    commit: Oid
    score: float | None
    metrics: Mapping[str, float]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the lineage."""

    commit: Oid
    kind: str
    score: float | None
    agent: str
    operator: str
    summary: str


@dataclass(frozen=True, slots=True)
class Dossier:
    """One version for a reviewer. `milliseconds` since 1970; `cost` and `tokens` are of its whole lineage."""

    commit: Oid
    why: str
    because: str
    summary: str
    agent: str
    host: str
    operator: str
    model: str
    milliseconds: int
    cost: float
    tokens: int
    score: float | None
    metrics: Mapping[str, float]
    direction: str
    against: tuple[Against, ...]
    feedback: str
    lineage: tuple[Step, ...]
    older: int
    """Versions of the lineage that `lineage` leaves out."""
    artifacts: Mapping[str, Oid]
    """What its judge left: name → blob."""

    @property
    def document(self) -> dict[str, Any]:
        """The dossier as JSON."""
        more = {"metrics": dict(self.metrics), "artifacts": dict(self.artifacts), "time": self.milliseconds / 1000}
        return asdict(self) | more


def dossier(objects: Objects, record: Record, item: Item) -> Dossier:
    """Gather what is known of `item`. Raises `StoreError` if an object is missing."""
    history, population = record.history, record.population
    i = history.index(item.commit)
    facts = history.facts(i)
    path = history.first_parent_path(i)
    tree = objects.commit(item.commit).tree
    others = [("the start", population.base)] if population.base else []
    promoted = last_promoted(population)
    if promoted is not None and promoted != item.commit:
        others.append((f"promoted {population.decisions.of(promoted).name or promoted[:10]}", promoted))
    result = population.result(tree, population.epoch)
    return Dossier(
        item.commit,
        item.why,
        item.because,
        facts.summary,
        facts.agent,
        facts.host,
        facts.operator,
        facts.model,
        facts.milliseconds,
        sum(history.facts(k).cost for k in path),
        sum(history.facts(k).tokens for k in path),
        result.score if result else facts.score,
        dict(result.metrics if result else facts.metrics),
        population.direction,
        tuple(_against(objects, population, tree, what, oid) for what, oid in others),
        _feedback(objects, population, item.commit),
        tuple(_step(history, k) for k in (path if len(path) <= LINEAGE else [*path[: LINEAGE - 1], path[-1]])),
        max(0, len(path) - LINEAGE),
        artifacts(objects, population.memory.evidence.get(item.commit, EMPTY_TREE)),
    )


def _feedback(objects: Objects, population: Population, commit: Oid) -> str:
    """What the evaluator said of an accepted version when it was born."""
    evidence = population.memory.evidence.get(commit)
    said = objects.listing(evidence).get("feedback.txt") if evidence else None
    return objects.blob(said[1]).decode("utf-8", "replace") if said else ""


def last_promoted(population: Population) -> Oid | None:
    """The version that was promoted last, if a promotion stands."""
    decisions = population.decisions
    standing = (d.commit for d in reversed(decisions.made) if decisions.of(d.commit).fate == "promote")
    return next(standing, None)


def stat(text: str) -> tuple[Change, ...]:
    """Lines added and removed by file, of a unified diff."""
    found: dict[str, list[int]] = {}
    old = path = ""
    for line in text.splitlines():
        if line.startswith("--- "):
            old = line[4:].removeprefix("a/")
        elif line.startswith("+++ "):
            path = line[4:].removeprefix("b/")
            path = old if path == "/dev/null" else path
            found[path] = [0, 0]
        elif path and line[:1] in "+-":
            found[path]["+-".index(line[0])] += 1
    return tuple(Change(path, *counts) for path, counts in found.items())


def _against(objects: Objects, population: Population, tree: Oid, what: str, other: Oid) -> Against:
    before = objects.commit(other).tree
    result = population.result(before, population.epoch)
    changes = stat(diff(objects, before, tree))
    return Against(what, other, result.score if result else None, dict(result.metrics) if result else {}, changes)


def _step(history: History, i: int) -> Step:
    facts = history.facts(i)
    kind = "start" if i == history.base else "best" if i == history.best else facts.decision or "commit"
    kind = "promoted" if i in history.promoted else "living" if i in history.living and kind == "accepted" else kind
    return Step(history.oid(i), kind, facts.score, facts.agent, facts.operator, facts.summary)
