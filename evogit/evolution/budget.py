"""When a run stops: the one place where budgets are checked, before anything is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from evogit.values import Direction, better


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one `run`; None means none. `patience`: candidates without a new best. `target`: a score.

    `tokens` and `cost` are of what models are asked in this call; `day_tokens` and `day_cost` of everything that the
    repository's journals hold of the present day (UTC), for runs that cron starts again and again. Of its other runs
    what they had spent when this call began.
    """

    candidates: int | None = None
    seconds: float | None = None
    patience: int | None = None
    target: float | None = None
    tokens: int | None = None
    cost: float | None = None
    day_tokens: int | None = None
    day_cost: float | None = None

    def less(self, candidates: int, seconds: float) -> Budget:
        """What is left after so much."""
        return replace(
            self,
            candidates=None if self.candidates is None else max(1, self.candidates - candidates),
            seconds=None if self.seconds is None else max(0.0, self.seconds - seconds),
        )


@dataclass(frozen=True, slots=True)
class Standstill:
    """What a run does when it stands still: `then` all agents, or those of an exhausted lineage, begin again.

    A plateau is `patience` candidates without a new best since they began (where runs stop, that is the `Budget`'s);
    a version is exhausted after `tries` children in vain, and a run that stops then ends when all its versions are.
    """

    then: Literal["stop", "restart"] = "stop"
    patience: int | None = None
    tries: int | None = None


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
    tokens: int = 0
    cost: float = 0.0
    day_tokens: int = 0
    day_cost: float = 0.0
    """Spent today before this call, and since by other processes of the run."""
    broke: str | None = None
    """The limit that stands in the way of any further request to a model."""
    _held_tokens: int = 0
    _held_cost: float = 0.0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
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
        return self.broke

    def _stands_in_the_way(self, tokens: int, cost: float) -> str | None:
        """The first limit that spending this much more would break."""
        budget = self.budget
        if budget.tokens is not None and self.tokens + tokens > budget.tokens:
            return "tokens"
        if budget.cost is not None and self.cost + cost > budget.cost:
            return "cost"
        if budget.day_tokens is not None and self.day_tokens + self.tokens + tokens > budget.day_tokens:
            return "tokens of the day"
        if budget.day_cost is not None and self.day_cost + self.cost + cost > budget.day_cost:
            return "cost of the day"
        return None

    async def hold(self, tokens: int, money: float) -> bool:
        """Set aside what a request may cost; waits while only requests in flight stand in the way."""
        while self._stands_in_the_way(tokens + self._held_tokens, money + self._held_cost):
            alone = self._stands_in_the_way(tokens, money)
            if alone:
                self.broke = self.broke or alone
                return False
            self._settled.clear()
            await self._settled.wait()
        self._held_tokens += tokens
        self._held_cost += money
        return True

    def settle(self, tokens: int, money: float, held_tokens: int, held_money: float) -> None:
        """A request has ended: what was held becomes what was spent."""
        self._held_tokens -= held_tokens
        self._held_cost -= held_money
        self.tokens += tokens
        self.cost += money
        self._settled.set()

    def begin(self) -> None:
        self.started += 1

    def give_back(self, fruitless: int = 1) -> None:
        """A started candidate came to nothing before it was evaluated; a model's time counts `fruitless`-fold."""
        self.started -= 1
        self.idle += fruitless

    def finish(self, new_best: bool) -> None:
        self.finished += 1
        self.idle = 0
        self.barren = 0 if new_best else self.barren + 1
