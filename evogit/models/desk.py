"""The desk where models are asked: one place that rests failing ones, bounds what is in flight, and keeps the books.

A model that fails is left alone for a while that doubles with each failure in a row; the others go on meanwhile. One
that can never answer (no key, unknown model) leaves the run. A run without a time limit gives a model up after
`GIVE_UP` failures in a row, so that no run spins for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from evogit.errors import ModelError
from evogit.models.chat import Ask, Chat, Reply
from evogit.models.pricing import cost, estimate_tokens
from evogit.tables import ModelTable
from evogit.values import Call

GIVE_UP = 10
LONGEST_REST = 300.0  # seconds
REPLY_TOKENS = 4096  # a reply's limit where neither the model nor the agent sets one


class Purse(Protocol):
    """What may still be spent, what is in flight counted in."""

    async def hold(self, tokens: int, money: float) -> bool:
        """Set this much aside; waits while only what is in flight stands in the way. False: never again."""
        ...

    def settle(self, tokens: int, money: float, held_tokens: int, held_money: float) -> None:
        """Exchange what was held for what was spent."""
        ...


class Boundless:
    """A purse without a limit."""

    async def hold(self, tokens: int, money: float) -> bool:  # noqa: ARG002  # as every purse
        return True

    def settle(self, tokens: int, money: float, held_tokens: int, held_money: float) -> None:
        """Nothing to exchange."""


class OutOfMoney(ModelError):
    """The run's budget does not cover this request."""


class Resting(ModelError):
    """The model began to rest while this request waited for its turn; nothing was sent."""


class Unanswered(ModelError):
    """A request that was made and failed; `call` says what was billed nevertheless."""

    def __init__(self, message: str, call: Call, error: ModelError) -> None:
        super().__init__(
            message,
            fatal=error.fatal,
            refused=error.refused,
            tokens=error.tokens,
            wait=error.wait,
            outage=error.outage,
        )
        self.call = call


@dataclass(slots=True)
class Health:
    """How a model has been doing, in seconds on the desk's clock. `until`: it rests until then.

    `failed`: when it last failed. Whoever asked before that learns nothing new from failing too.
    """

    failures: int = 0
    failed: float = -math.inf
    until: float = 0.0
    gone: str = ""
    told: str = ""


@dataclass
class Desk:
    """Every configured model of a run.

    `now` gives seconds on a clock that does not go back; `unit` is the first rest. `patient`: the run ends by its clock
    anyway, so a model may be tried again until then.
    """

    chats: Mapping[str, Chat]
    tables: Mapping[str, ModelTable]
    now: Callable[[], float]
    purse: Purse = field(default_factory=Boundless)
    notice: Callable[[str], None] = lambda _text: None
    unit: float = 1.0
    patient: bool = False
    timed: bool = True
    lost: list[Call] = field(default_factory=list)
    """Requests that were cancelled (a server may bill what it was sent), or answered to somebody who was."""
    _health: dict[str, Health] = field(default_factory=dict)
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def owing(self, calls: Iterable[Call]) -> Iterator[None]:
        """Who is cancelled within this block can record nothing any more: `calls` were paid for, so they are `lost`."""
        try:
            yield
        except asyncio.CancelledError:
            self.lost += calls
            raise

    def served(self, name: str) -> str:
        """What the server calls the model `name`."""
        table = self.tables.get(name)
        return table.model if table else name

    def health(self, name: str) -> Health:
        return self._health.setdefault(name, Health())

    def awake(self, names: Iterable[str]) -> list[str]:
        """Those that can be asked now."""
        now = self.now()
        return [name for name in names if not self.health(name).gone and self.health(name).until <= now]

    def gone(self, names: Iterable[str]) -> bool:
        """Whether all of them have left the run."""
        return all(self.health(name).gone for name in names)

    async def until_awake(self, names: Iterable[str]) -> None:
        """Wait until one of `names` can be asked, or all have left, or the run ends.

        Raises:
            ModelError: the run ends, or there is none left.
        """
        names = list(names)
        while not self.awake(names):
            if self._closing.is_set():
                raise ModelError("the run ends while every model rests")
            if self.gone(names):
                raise ModelError("; ".join(self.health(name).gone for name in names), fatal=True)
            first = min(self.health(name).until for name in names if not self.health(name).gone)
            try:
                async with asyncio.timeout(max(0.01, first - self.now())):
                    await self._closing.wait()
            except TimeoutError:
                pass

    def end(self) -> None:
        """Nobody waits for a resting model any longer."""
        self._closing.set()

    async def close(self) -> None:
        for chat in self.chats.values():
            await chat.close()

    def forecast(self, name: str, ask: Ask) -> tuple[int, float]:
        """Tokens and money that a request may cost at most."""
        table = self.tables[name]
        given = sum(estimate_tokens(message.content) + 8 for message in ask.messages)
        given += estimate_tokens(json.dumps(ask.schema)) if ask.schema is not None else 0
        limit = ask.max_tokens or table.max_tokens or REPLY_TOKENS
        return given + limit, cost(table, given, limit)

    async def ask(self, name: str, ask: Ask, role: str) -> tuple[Reply, Call]:
        """One answer and what it cost.

        Raises:
            OutOfMoney: the budget does not cover it.
            Resting: others found out meanwhile that it does not answer.
            Unanswered: no answer.
        """
        table = self.tables[name]
        tokens, money = self.forecast(name, ask)
        if not await self.purse.hold(tokens, money):
            raise OutOfMoney(f"model {name}: the budget does not cover another request", outage=True)
        call = Call(name, role)
        try:
            async with self._slots.setdefault(name, asyncio.Semaphore(table.max_concurrency)):
                begun = self.now()
                if not self.awake([name]):
                    raise Resting(f"model {name} rests", outage=True)
                given = tokens - (ask.max_tokens or table.max_tokens or REPLY_TOKENS)
                call = Call(name, role, given, 0, cost(table, given, 0), failed="cancelled")
                try:
                    reply = await self.chats[name].complete(ask)
                except ModelError as error:
                    given, got = error.tokens
                    call = Call(name, role, given, got, cost(table, given, got), self._since(begun), str(error)[:300])
                    if not error.refused:
                        self._rest(name, error, begun)
                    raise Unanswered(str(error), call, error) from error
            used = reply.usage
            call = Call(name, role, used.input, used.output, cost(table, used.input, used.output), self._since(begun))
            self._recover(name)
            return reply, call
        except asyncio.CancelledError:
            if call.failed:
                self.lost.append(call)
            raise
        finally:
            self.purse.settle(call.input + call.output, call.cost, tokens, money)

    def _since(self, begun: float) -> float:
        return round(self.now() - begun, 3) if self.timed else 0.0

    def _recover(self, name: str) -> None:
        health = self.health(name)
        if health.told:
            self.notice(f"model {name} answers again")
        health.failures, health.until, health.told = 0, 0.0, ""

    def _rest(self, name: str, error: ModelError, begun: float) -> None:
        health = self.health(name)
        if begun <= health.failed and not error.fatal:
            return  # asked at the same time as one that failed: one outage, however many were in flight
        health.failures += 1
        health.failed = self.now()
        if error.fatal or (health.failures >= GIVE_UP and not self.patient):
            times = "" if error.fatal else f" ({health.failures} failures in a row)"
            health.gone = f"{error}{times}"
            self.notice(f"model {name} leaves the run: {health.gone}")
            return
        pause = min(LONGEST_REST, max(error.wait or 0.0, self.unit * 2.0 ** (health.failures - 1)))
        health.until = self.now() + pause
        if str(error) != health.told:
            health.told = str(error)
            self.notice(f"model {name} rests for {pause:.3g} s: {error}")
