"""What happens in a run, as frozen events that displays, `--json` and tests listen to.

A `Candidate` event is sent after its journal entry is durable: whoever has seen it will find it after any crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from evogit.values import Oid


@dataclass(frozen=True, slots=True)
class Started:
    """A run was founded or taken up again. `agents` are this process's, name → definition."""

    run: str
    task: str
    base: Oid
    resumed: bool
    candidates: int
    agents: dict[str, str]
    jobs: int
    sandbox: str
    direction: str
    best: float | None
    engine: dict[str, Any] = field(default_factory=dict)
    """Where evaluations run: its kind, and for a cluster its address, nodes with their slots, and counts."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An agent begins a step with an operator."""

    agent: str
    operator: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate was evaluated and decided on. `decision` is "accepted" or a `Reason`."""

    step: int
    agent: str
    operator: str
    commit: Oid
    parents: tuple[Oid, ...]
    summary: str
    decision: str
    score: float | None
    epoch: int
    seconds: float
    best: bool
    model: str = ""
    tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Skipped:
    """A proposal was rejected before anything ran. `tokens` and `cost` are what a model was billed for it."""

    step: int
    agent: str
    operator: str
    reason: str
    detail: str
    model: str = ""
    tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class EpochTurned:
    """The training data were redrawn and the living evaluated again."""

    epoch: int
    living: int
    best: float | None


@dataclass(frozen=True, slots=True)
class Restarted:
    """Agents of this process began again from where the run began. `reason`: plateau or exhausted.

    `start` counts how often all of them did; `best` is the best score so far, which stays in the record.
    """

    reason: str
    agents: int
    start: int
    best: float | None


@dataclass(frozen=True, slots=True)
class Validated:
    commit: Oid
    agent: str
    score: float | None
    best: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know that stops nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run ended. `reason`: candidates, seconds, patience, target, tokens, cost, interrupted, exhausted, or models.

    "models": every agent needs a model, and all models have left the run.
    """

    reason: str
    candidates: int
    accepted: int
    seconds: float
    best_commit: Oid | None
    best_score: float | None
    rejected: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    cost: float = 0.0
    roles: dict[str, dict[str, float]] = field(default_factory=dict)
    """What models were asked for → calls, tokens and cost of it, in this call of `run`."""
    engine: dict[str, Any] = field(default_factory=dict)
    """As in `Started`, with the counts at the end."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge compared a candidate with a holder. `verdict`: better, worse or same."""

    commit: Oid
    than: Oid
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person decided has taken effect here. `verb`: promote, prune, restore, pin or adopt."""

    verb: str
    commit: Oid
    author: str
    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A scribe wrote notes for later prompts."""

    text: str


Event = (
    Decided
    | Judged
    | Noted
    | Started
    | Turn
    | Candidate
    | Skipped
    | EpochTurned
    | Restarted
    | Validated
    | Notice
    | Finished
)
Listener = Callable[[Event], None]


def as_dict(event: Event) -> dict[str, Any]:
    """The event as JSON-able fields, `event` naming its kind."""
    return {"event": type(event).__name__.lower()} | {
        name: list(value) if isinstance(value := getattr(event, name), tuple) else value
        for name in event.__dataclass_fields__
    }
