"""What happened in a run since a moment: what improved, by whom, at what cost, and what waits for a person."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from evogit.evolution.ledger import read_calls
from evogit.evolution.lineage import Record
from evogit.phylogeny.steps import gain
from evogit.review.agenda import Item, agenda
from evogit.store.journal import Entry
from evogit.values import Oid


@dataclass(frozen=True, slots=True)
class Improvement:
    """A version that was better than everything before it on the scale that counts now."""

    commit: Oid
    milliseconds: int
    score: float
    before: float | None
    agent: str
    operator: str
    model: str
    summary: str
    validated: bool = False
    """It did not lead when it was made; it is the best where champions are validated."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One kind of agent's part. Tokens and money also of what was asked in vain."""

    name: str
    candidates: int
    accepted: int
    improvements: int
    tokens: int
    cost: float


@dataclass(frozen=True, slots=True)
class Morning:
    """The report. `before` is the best score when the time began, `after` now; both on one scale."""

    since: int
    before: float | None
    after: float | None
    candidates: int
    accepted: int
    improvements: tuple[Improvement, ...]
    workers: tuple[Worker, ...]
    tokens: int
    cost: float
    decided: tuple[str, ...]
    waiting: tuple[Item, ...]


def morning(record: Record, entries: Iterable[Entry], since: int) -> Morning:
    """The report on everything from `since` (milliseconds since 1970) on."""
    before, improvements = _improvements(record, since)
    new = [entry for entry in entries if entry.clock.milliseconds >= since]
    workers = _workers(new, {each.commit for each in improvements})
    history = record.history
    return Morning(
        since,
        before,
        history.facts(history.best).score if history.best is not None else None,
        sum(worker.candidates for worker in workers),
        sum(worker.accepted for worker in workers),
        tuple(improvements),
        workers,
        sum(worker.tokens for worker in workers),
        math.fsum(worker.cost for worker in workers),
        tuple(_decided(entry) for entry in new if entry.kind in ("decided", "goal")),
        tuple(agenda(record)),
    )


def _improvements(record: Record, since: int) -> tuple[float | None, list[Improvement]]:
    history = record.history
    if history.best is None:
        return None, []
    scale = history.facts(history.best).scale
    order = sorted(range(len(history)), key=lambda i: (history.facts(i).milliseconds, i))
    best: float | None = None
    before: float | None = None
    found = []
    for i in order:
        facts = history.facts(i)
        score = facts.score_on(scale)
        if score is None or facts.status not in ("ok", "") or i in history.pruned:
            continue
        if best is not None and gain(history.direction, best, score) <= 0:
            continue
        if facts.milliseconds < since or i == history.base:
            before = score
        elif facts.decision == "accepted":
            found.append(_improvement(record, i, score, best))
        else:
            continue
        best = score
    top = history.facts(history.best)
    if (
        top.score is not None
        and top.milliseconds >= since
        and history.best != history.base
        and history.oid(history.best) not in {f.commit for f in found}
    ):
        # Champions are validated apart: the best now need not be the one that scored best when it was made.
        found.append(replace(_improvement(record, history.best, top.score, before), validated=True))
    return before, found


def _improvement(record: Record, i: int, score: float, before: float | None) -> Improvement:
    facts, oid = record.history.facts(i), record.history.oid(i)
    return Improvement(oid, facts.milliseconds, score, before, facts.agent, facts.operator, facts.model, facts.summary)


def _workers(entries: Iterable[Entry], improved: set[Oid]) -> tuple[Worker, ...]:
    counts: dict[str, list[float]] = {}
    for entry in entries:
        calls = read_calls(entry.data)
        candidate = entry.kind == "evaluated" and "decision" in entry.data
        if not calls and not candidate:
            continue
        name = str(entry.data.get("definition") or entry.data.get("agent") or "?")
        row = counts.setdefault(name, [0, 0, 0, 0, 0.0])
        row[0] += candidate
        row[1] += candidate and entry.data["decision"] == "accepted"
        row[2] += candidate and entry.candidate in improved
        row[3] += sum(call.input + call.output for call in calls)
        row[4] += math.fsum(call.cost for call in calls)
    rows = [Worker(name, int(row[0]), int(row[1]), int(row[2]), int(row[3]), row[4]) for name, row in counts.items()]
    return tuple(sorted(rows, key=lambda w: (-w.improvements, -w.accepted, w.name)))


def _decided(entry: Entry) -> str:
    data = entry.data
    verb = "goal" if entry.kind == "goal" else str(data.get("decision", "?"))
    on = entry.candidate or str(data.get("on") or data.get("agent") or data.get("entry") or "")
    words = f"{data.get('author', '?')}: {verb} {on if data.get('agent') == on else on[:10]}".rstrip()
    reason = data.get("reason") or data.get("text")
    return f"{words}: {reason}" if reason else words
