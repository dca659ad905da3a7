"""The broker between candidates and a model: one endpoint per slot, open while a candidate is evaluated, on a budget.

It runs outside the sandbox. A candidate sees a socket; the key, the server's address and the model's name stay here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from evogit.errors import ModelError
from evogit.evaluation import wire
from evogit.evaluation.wire import Refused
from evogit.models.chat import Ask, Reply
from evogit.models.pricing import estimate_tokens

Forward = Callable[[Ask], Awaitable[Reply]]
"""Asks the model. Raises `ModelError`, whose message the candidate reads."""

CONNECTIONS = 8  # of one slot at once; others wait
BACKLOG = 128  # that can wait
TURNS = 200  # connections and requests of any kind beside three for each request allowed: all take this process's time
A_MESSAGE = 8  # tokens a chat template adds to each message, about
REPLY = 4096  # tokens of an answer, where the candidate sets no limit
SOCKET = "socket"  # the name in the slot's own folder


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one candidate may spend in one evaluation. `tokens`: input and output together."""

    requests: int
    tokens: int


@dataclass(slots=True)
class Spent:
    """What one candidate did spend."""

    requests: int = 0
    input: int = 0
    output: int = 0
    outage: str = ""
    """Why the model did not answer, if it once did not and nothing that the candidate asked can be the cause."""

    def document(self) -> Mapping[str, int]:
        """As recorded; empty when nothing was asked."""
        if not self.requests:
            return {}
        return {"requests": self.requests, "input": self.input, "output": self.output}


def estimate(ask: Ask) -> int:
    """Tokens of input that a request takes, about."""
    schema = estimate_tokens(json.dumps(ask.schema)) if ask.schema is not None else 0
    return schema + sum(estimate_tokens(message.content) + A_MESSAGE for message in ask.messages)


class Budget:
    """One evaluation's allowance: what may be spent is held before a request is sent, and settled after it."""

    def __init__(self, allowance: Allowance) -> None:
        self.spent = Spent()
        self._allowance = allowance
        self._held = 0
        self._settled = asyncio.Event()

    async def take(self, ask: Ask) -> tuple[Ask, int]:
        """`ask` with its output cut to what is left, and how much is held for it.

        Waits while only what other requests hold stands in the way. Raises `Refused`.
        """
        needed = estimate(ask)
        while True:
            if self.spent.requests >= self._allowance.requests:
                raise Refused(f"all {self._allowance.requests} requests of this evaluation are used up", 429)
            left = self._allowance.tokens - self.spent.input - self.spent.output
            if needed >= left:
                raise Refused(
                    f"this request has about {needed} tokens, and {max(0, left)} of this evaluation's "
                    f"{self._allowance.tokens} are left",
                    429,
                )
            output = min(ask.max_tokens or REPLY, left - needed)
            if needed + output <= left - self._held:
                self._held += needed + output
                self.spent.requests += 1
                return replace(ask, max_tokens=output), needed + output
            self._settled.clear()
            await self._settled.wait()

    def settle(self, held: int, given: int, got: int) -> None:
        self._held -= held
        self.spent.input += given
        self.spent.output += got
        self._settled.set()


@dataclass
class Session:
    """One evaluation's connections and budget."""

    budget: Budget
    turns: int
    """How many more connections and requests of any kind are dealt with."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    fresh: set[socket.socket] = field(default_factory=set)
    """Connections that no task has taken over yet."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Of the answers."""


class Endpoint:
    """One slot's endpoint: a Unix socket in `folder`, and whatever listeners it is given.

    Connections belong to the evaluation during which they are made, and end with it; between evaluations they are
    refused. `owner` is the user id that candidates of this slot have, when it is not this process's.
    """

    def __init__(self, folder: Path, allowance: Allowance, forward: Forward, owner: int | None = None) -> None:
        self.folder = folder
        self._allowance = allowance
        self._forward = forward
        self._owner = owner
        self._unix: socket.socket | None = None
        self._door: socket.socket | None = None
        self._watching = False
        self._session: Session | None = None

    def open(self) -> None:
        """Listen, in a folder made for it that only this slot is shown."""
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        self._unix = socket.socket(socket.AF_UNIX)
        opened = os.open(self.folder, os.O_PATH)
        try:
            # By descriptor: a path may be longer than an address.
            self._unix.bind(f"/proc/self/fd/{opened}/{SOCKET}")
        finally:
            os.close(opened)
        path = self.folder / SOCKET
        path.chmod(0o600)
        if self._owner is not None:
            os.chown(path, self._owner, self._owner)
        self._unix.listen(BACKLOG)
        self._unix.setblocking(False)
        self._watch()

    def attend(self, door: socket.socket) -> None:
        """Also accept from `door`, a listening socket in the sandbox, instead of an earlier one."""
        self._unwatch()
        if self._door is not None:
            self._door.close()
        door.setblocking(False)
        self._door = door
        self._watch()

    def close(self) -> None:
        self._unwatch()
        for listener in self._listeners():
            listener.close()
        self._unix = self._door = None

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Spent]:
        """One evaluation, with a budget of its own. What is under way at its end is cancelled."""
        self._refuse()
        session = self._session = Session(Budget(self._allowance), TURNS + 3 * self._allowance.requests)
        self._watch()
        try:
            yield session.budget.spent
        finally:
            # What still waits to be accepted was this candidate's: the next one must not pay for it.
            self._refuse()
            self._session = None
            try:
                await _end(session)
            finally:
                self._watch()

    def _listeners(self) -> list[socket.socket]:
        return [listener for listener in (self._unix, self._door) if listener is not None]

    def _watch(self) -> None:
        session = self._session
        if self._watching or (session is not None and (len(session.tasks) >= CONNECTIONS or session.turns <= 0)):
            return
        self._watching = True
        for listener in self._listeners():
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            for listener in self._listeners():
                asyncio.get_running_loop().remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        """At once rather than in a task of asyncio's, so that it is certain to whom the connection belongs."""
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it has gone away, or this process has too many files open just now
        session = self._session
        if session is None or len(session.tasks) >= CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        session.turns -= 1
        session.fresh.add(connection)
        task = asyncio.create_task(self._converse(connection, session))
        session.tasks.add(task)
        task.add_done_callback(lambda _: self._left(session, task))
        if len(session.tasks) >= CONNECTIONS or session.turns <= 0:
            self._unwatch()

    def _left(self, session: Session, task: asyncio.Task[None]) -> None:
        if session is self._session:
            if not task.cancelled() and task.exception() is not None:
                return  # kept, to be raised when the evaluation ends
            session.tasks.discard(task)
            self._watch()

    def _refuse(self) -> None:
        """Close what waits to be accepted."""
        for listener in self._listeners():
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

    async def _converse(self, connection: socket.socket, session: Session) -> None:
        session.fresh.discard(connection)
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=wire.LINE)
        except BaseException:  # also when cancelled: nobody else holds the connection
            connection.close()
            raise
        with contextlib.suppress(ConnectionError):
            try:
                more = True
                while more:
                    data, more = await self._serve(reader, writer, session)
                    writer.write(data)
                    await writer.drain()
                writer.close()
                await writer.wait_closed()
            finally:
                writer.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session
    ) -> tuple[bytes, bool]:
        """One answer, and whether the connection stays."""
        more = True
        try:
            request = await wire.read_request(reader, writer)
            if request is None:
                return b"", False
            session.turns -= 1
            if session.turns <= 0:
                self._unwatch()
                raise Refused("too many requests of all kinds in this evaluation", 429, last=True)
            # A full house keeps no idle connections, or those who wait would wait for ever.
            more = request.more and len(session.tasks) < CONNECTIONS
            if request.path not in ("/v1/models", "/v1/chat/completions"):
                raise Refused("there are /v1/models and /v1/chat/completions", 404)
            if request.method != ("GET" if request.path == "/v1/models" else "POST"):
                raise Refused(f"{request.path} is not for {request.method:.20}", 405)
            if request.path == "/v1/models":
                return wire.models(more=more), more
            wanted = wire.read_completion(request.body)
            reply = await self._ask(wanted.ask, session.budget)
            more = request.more and len(session.tasks) < CONNECTIONS
            return wire.completion(wanted, reply, next(session.numbers), more=more), more
        except Refused as error:
            more = more and not error.last
            return wire.refusal(error, more=more), more

    async def _ask(self, ask: Ask, budget: Budget) -> Reply:
        cut, held = await budget.take(ask)
        given, got = estimate(ask), 0  # what counts if it is cancelled
        try:
            reply = await self._forward(cut)
            given, got = reply.usage.input, reply.usage.output
        except ModelError as error:
            given, got = error.tokens
            if error.outage:
                budget.spent.outage = str(error)
            raise Refused(str(error), 502) from error
        finally:
            budget.settle(held, given, got)
        return reply


async def _end(session: Session) -> None:
    """Cancel what is under way. What went wrong by a mistake of ours, or of `forward`, is raised here."""
    for task in session.tasks:
        task.cancel()
    results = await asyncio.gather(*session.tasks, return_exceptions=True)
    for connection in session.fresh:
        connection.close()
    for result in results:
        if isinstance(result, Exception):
            raise result
