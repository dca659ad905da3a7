"""What later prompts are told: earlier attempts by the lines they touched, and notes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

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
    """A fold over the journal; entries of one writer come in sequence."""

    failures: deque[Attempt] = field(default_factory=lambda: deque(maxlen=KEPT))
    recent: deque[Entry] = field(default_factory=lambda: deque(maxlen=RECENT))
    """The newest candidates and attempts of agents that ask a model, and every accepted one."""
    patches: set[str] = field(default_factory=set)
    """Patches of candidates that were tried under the present evaluator and epoch."""
    notes: list[tuple[Order, str]] = field(default_factory=list)
    noted_at: int = 0
    """Candidates there were when the last notes were taken."""
    evidence: dict[Oid, Oid] = field(default_factory=dict)
    """Accepted commit → the tree of its entry, with what its evaluation said."""

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
            self.recent.append(entry)
        if decision in (None, "accepted"):
            if entry.candidate and entry.evidence != EMPTY_TREE:
                self.evidence[entry.candidate] = entry.evidence
        elif data.get("touched") and data.get("status") != Reason.UNANSWERED:
            parent = str(data["parents"][0])
            score = data.get("score")
            self.failures.append(Attempt(parent, data["touched"], str(data["summary"]), str(decision), score))
        if data.get("patch"):
            self.patches.add(str(data["patch"]))
