"""What later prompts are told: earlier attempts by the lines they touched, and notes."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from evogit.numbering import Column, Names
from evogit.store.journal import Clock, Entry
from evogit.store.objects import EMPTY_TREE
from evogit.values import Oid, Reason

KEPT = 400  # attempts
RECENT = 40  # candidates and attempts that a scribe is told of
NOTES = 3  # notes of scribes that are told

Order = tuple[Clock, str, int]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate or a proposal that came to nothing: which lines of its parent it touched."""

    parent: Oid
    touched: dict[str, list[list[int]]]
    summary: str
    outcome: str
    score: float | None


@dataclass(slots=True)
class Memory:
    """A fold over the journal, in whatever order its entries come."""

    recent: list[Entry] = field(default_factory=list)
    """The newest candidates and attempts of agents that ask a model, and of the accepted ones, the oldest first."""
    patches: dict[str, set[str]] = field(default_factory=dict)
    """Evaluator digest → patches of candidates that were tried under it in this epoch."""
    notes: list[tuple[Order, str]] = field(default_factory=list)
    noted_at: int = 0
    """Candidates there were when the last notes were taken."""
    evidence: Column[Oid] = field(default_factory=lambda: Column(Names(), Names()))
    """Accepted commit → the tree of its entry, with what its evaluation said."""
    _failures: list[tuple[Order, Attempt]] = field(default_factory=list)

    @property
    def failures(self) -> list[Attempt]:
        """The newest attempts that came to nothing, the oldest first."""
        return [attempt for _, attempt in self._failures]

    def apply(self, entry: Entry, candidates: int) -> None:
        """Take in one entry; `candidates` there were before it."""
        data = entry.data
        if entry.kind == "noted":
            self.notes = sorted([*self.notes, (entry.order, str(data["text"]))])[-NOTES:]
            self.noted_at = max(self.noted_at, int(data.get("candidates", candidates)))
        elif entry.kind in ("evaluated", "attempted"):
            self._tried(entry)

    def _tried(self, entry: Entry) -> None:
        data = entry.data
        decision = data.get("decision", data.get("outcome"))
        if decision == "accepted" or data.get("calls"):
            bisect.insort(self.recent, entry, key=lambda e: e.order)
            del self.recent[:-RECENT]
        if decision in (None, "accepted"):
            if entry.candidate and entry.evidence != EMPTY_TREE:
                self.evidence[entry.candidate] = entry.evidence
        elif data.get("touched") and data.get("parents") and data.get("status") != Reason.UNANSWERED:
            parent = str(data["parents"][0])
            score = data.get("score")
            attempt = Attempt(parent, data["touched"], str(data["summary"]), str(decision), score)
            bisect.insort(self._failures, (entry.order, attempt), key=lambda item: item[0])
            del self._failures[:-KEPT]
        if data.get("patch"):
            self.patches.setdefault(str(data.get("digest", "")), set()).add(str(data["patch"]))
