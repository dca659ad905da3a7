"""The host's side of the fork server: start it, send it evaluations, notice when it dies or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evogit.catalog import Limits
from evogit.errors import EvaluationError, SandboxError
from evogit.evaluation.sandbox import Sandbox, interpreter, readable
from evogit.needs import PATH

START = 60.0  # seconds until the server must have imported what it preloads
MARGIN = 5.0  # seconds the server gets to enforce a deadline before it counts as hung

ENVIRONMENT = {
    "PATH": PATH,
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class ServerDied(EvaluationError):
    """The fork server ended or hung; the evaluation may be tried again on a fresh one."""


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to run: in `folder`, with `scratch` for temporary files. Exactly one of function and command."""

    folder: str
    scratch: str
    function: str | None = None
    command: Sequence[str] | None = None
    stage: str = "main"
    epoch: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = 60.0
    limits: Limits = field(default_factory=Limits)
    writable: bool = False
    trusted: Sequence[str] = ()
    """Python files of the judge's own, which may end a command's process."""
    user: int = 0
    """The user id to become, when this process is root; 0 to stay."""
    model: str = ""
    """The folder with the socket of the model's endpoint, when candidates may ask one."""
    slot: int = 0
    ungraded: bool = False
    """Whether a result may lack a score, as a judge decides."""

    def message(self, number: int) -> dict[str, Any]:
        limits = self.limits
        environment = ENVIRONMENT | {
            "EVOGIT_STAGE": self.stage,
            "EVOGIT_EPOCH": str(self.epoch),
            "EVOGIT_PARAMETERS": json.dumps(dict(self.parameters)),
        }
        return {
            "id": number,
            "folder": self.folder,
            "scratch": self.scratch,
            "function": self.function,
            "command": list(self.command) if self.command else None,
            "stage": self.stage,
            "epoch": self.epoch,
            "parameters": dict(self.parameters),
            "deadline": self.deadline,
            "writable": self.writable,
            "user": self.user,
            "trusted": list(self.trusted),
            "model": self.model,
            "slot": self.slot,
            "ungraded": self.ungraded,
            "environment": environment,
            "limits": {
                "memory": limits.memory,
                "cpu": limits.cpu or self.deadline + 1,
                "processes": limits.processes,
                "file_size": limits.file_size,
                "output": limits.output,
                "disk": limits.disk,
                "resident": limits.resident or 0,
            },
        }


class ForkServer:
    """One server process. Start it, `run` jobs concurrently, close it; after `ServerDied` make a new one."""

    def __init__(
        self,
        sandbox: Sandbox,
        pool: Path,
        task: Path,
        *,
        functions: Sequence[str],
        preload: Sequence[str],
        jobs: int,
        model: bool = False,
        packages: Sequence[Path] = (),
    ) -> None:
        self._sandbox = sandbox
        self._pool = pool
        self._task = task
        self._functions = functions
        self._preload = preload
        self._jobs = jobs
        self._model = model
        self._packages = [str(path) for path in packages]
        self.doors: list[socket.socket] = []
        """Listening sockets on each slot's own loopback device, in their order; whoever takes them closes them."""
        self.layered = False  # whether a writable folder is only lent: a candidate's writes never reach it
        self.paired: frozenset[str] = frozenset()
        """Functions that have their candidate in a process of its own."""
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    @property
    def alive(self) -> bool:
        return self._listener is not None and not self._listener.done()

    async def start(self) -> None:
        """Raises `EvaluationError` if the sandbox does not start or the evaluator cannot be imported."""
        ours, theirs = socket.socketpair()
        # Asyncio's streams drop the descriptors that come with data: they come another way.
        hatch = socket.socketpair() if self._model and self._sandbox.namespaces else None
        passed = [theirs.fileno(), *([hatch[1].fileno()] if hatch else [])]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._sandbox.command(
                    theirs.fileno(), self._pool, self._task, model=self._model, packages=self._packages
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=passed,
                env=dict(ENVIRONMENT),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, SandboxError) as error:
            ours.close()
            if hatch:
                hatch[0].close()
            if isinstance(error, SandboxError):
                raise
            raise EvaluationError(f"cannot start the sandbox {self._sandbox.name}: {error}") from error
        finally:
            theirs.close()
            if hatch:
                hatch[1].close()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        with hatch[0] if hatch else contextlib.nullcontext() as inner:
            ready = await self._prepare(reader, passed[-1] if hatch else None)
            if inner is not None:
                inner.setblocking(False)  # all that comes is there already
                for _ in range(ready["doors"]):
                    self.doors.append(socket.socket(fileno=socket.recv_fds(inner, 1, 1)[1][0]))
        self.layered, self.paired = bool(ready["layered"]), frozenset(ready["paired"])
        self._listener = asyncio.create_task(self._listen(reader))

    async def _prepare(self, reader: asyncio.StreamReader, hatch: int | None) -> dict[str, Any]:
        """Tell the server what it needs, and wait until it is ready."""
        self._send(self._setup() | {"hatch": hatch})
        try:
            async with asyncio.timeout(START):
                ready = await _receive(reader)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            said = await self._last_words()
            await self.close()
            raise EvaluationError(f"the sandbox {self._sandbox.name} did not start. {said}".strip()) from error
        if not ready["ready"]:
            await self.close()
            raise EvaluationError(f"the task's evaluator cannot be loaded:\n{ready['detail']}")
        return ready

    def _setup(self) -> dict[str, Any]:
        bubblewrap = self._sandbox.name == "bubblewrap"
        return {
            "namespaces": self._sandbox.namespaces,
            "privileged": bubblewrap or self._sandbox.name == "landlock",
            "landlock": self._sandbox.name == "landlock",
            "readable": [*readable(), *self._packages, str(self._task)],
            "kept": [
                path
                for path in [*interpreter(), *self._packages, str(self._task)]
                if path.startswith(("/tmp/", "/dev/shm/"))
            ],
            "pool": str(self._pool),
            "task": str(self._task),
            "functions": list(self._functions),
            "preload": list(self._preload),
            "environment": ENVIRONMENT,
            "jobs": self._jobs,
        }

    async def _last_words(self) -> str:
        if self._process is None or self._process.stderr is None:
            return ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                return (await self._process.stderr.read()).decode("utf-8", "replace").strip()
        return ""

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._writer is not None
        data = json.dumps(message).encode()
        self._writer.write(len(data).to_bytes(4, "big") + data)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                answer = await _receive(reader)
                waiting = self._waiting.pop(answer["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ServerDied("the fork server ended"))
            self._waiting.clear()

    async def run(self, job: Job) -> dict[str, Any]:
        """Run one job. Cancelling this kills the job.

        Raises:
            ServerDied: the server ended, or did not keep the deadline.
        """
        if not self.alive:
            raise ServerDied("the fork server is not running")
        number = next(self._numbers)
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._send(job.message(number))
            async with asyncio.timeout(job.deadline + MARGIN):
                return await asyncio.shield(waiting)
        except TimeoutError as error:
            self.kill()
            raise ServerDied("the fork server hangs") from error
        except asyncio.CancelledError:
            # The folder is free for the next one only when the candidate is gone.
            self._send({"cancel": number})
            try:
                done, _ = await asyncio.wait([waiting], timeout=MARGIN)
            except asyncio.CancelledError:
                done = set()
            if not done:
                self.kill()
            raise
        finally:
            self._waiting.pop(number, None)
            waiting.cancel()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the server and everything it started."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._process.wait()
            self.kill()
            await self._process.wait()
            # The transport's pipe is closed in the loop's next round; without it Python warns at exit.
            self._process._transport.close()  # type: ignore[attr-defined]  # no public way (cpython issue 114177)
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    size = int.from_bytes(await reader.readexactly(4), "big")
    message: dict[str, Any] = json.loads(await reader.readexactly(size))
    return message
