"""When a run stops: the one place where budgets are checked, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evogit.values import Direction, better


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one `run`; None means none. `patience`: candidates without a new best. `target`: a score."""

    candidates: int | None = None
    seconds: float | None = None
    patience: int | None = None
    target: float | None = None


@dataclass(slots=True)
class Meter:
    """What was spent of a budget. `now` gives seconds on a clock that does not go back.

    `started` counts candidates that were let begin, so that many agents at once do not overshoot.
    """

    budget: Budget
    direction: Direction
    now: Callable[[], float]
    started: int = 0
    finished: int = 0
    barren: int = 0
    """Evaluated candidates since the last new best."""
    idle: int = 0
    """Proposals in a row that led to no evaluation."""
    idle_limit: int = 10_000
    best: float | None = None
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.now()

    @property
    def seconds(self) -> float:
        return self.now() - self._begun

    def exhausted(self) -> str | None:
        """Why nothing more may be started, or None."""
        budget = self.budget
        if budget.candidates is not None and self.started >= budget.candidates:
            return "candidates"
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return "seconds"
        if budget.patience is not None and self.barren >= budget.patience:
            return "patience"
        if budget.target is not None and self.best is not None and not better(self.direction, budget.target, self.best):
            return "target"
        if self.idle >= self.idle_limit:
            return "exhausted"
        return None

    def begin(self) -> None:
        self.started += 1

    def give_back(self) -> None:
        """A started candidate came to nothing before it was evaluated."""
        self.started -= 1
        self.idle += 1

    def finish(self, new_best: bool) -> None:
        self.finished += 1
        self.idle = 0
        self.barren = 0 if new_best else self.barren + 1
