"""What a judge holds of a candidate that runs in a process of its own: call its functions, run its programs."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import wire


class CandidateFailed(Exception):
    """The candidate could not do what it was asked. A judge that does not catch it lets the candidate fail."""

    reason = "failed"
    lost = False
    """Whether its process is gone: then whoever saw it end knows why."""


class CandidateTimeout(CandidateFailed):
    reason = "timeout"


class CandidateMemory(CandidateFailed):
    reason = "memory"


class CandidateLost(CandidateFailed):
    reason = "crashed"
    lost = True


@dataclass(frozen=True)
class Ended:
    """How a program of the candidate's ended. `status` is negative for a signal; `seconds` are of wall-clock time."""

    status: int
    output: bytes
    errors: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")


class Candidate:
    """Nothing of the candidate runs in this process, and what it answers is plain data made anew.

    Its process begins at the first call and is kept, with what the candidate remembers, until `restart`, or until
    `run`, which begins with nothing else running.
    """

    Failed = CandidateFailed
    Timeout = CandidateTimeout

    def __init__(self, control: socket.socket, folder: Path) -> None:
        self.folder = folder
        self._control = control
        self._worker: socket.socket | None = None
        self._defined: dict[str, str] = {}

    def call(self, target: str, /, *arguments: Any, deadline: float | None = None, **named: Any) -> Any:
        """Call the function `target`, as ``"file.py:name"`` in the candidate's folder, and return its answer.

        Arguments and answer are None, bool, int, float, str, bytes, list, tuple, dict and arrays of numbers; arrays
        and the numbers in them come back as plain numpy. `deadline` is in seconds, from now.

        Raises:
            CandidateFailed: it raised, or answered something else; `Timeout`: it takes too long, and is ended.
        """
        return self._ask({"do": "call", "target": target, "arguments": arguments, "named": named}, deadline)

    def define(self, name: str, source: str) -> None:
        """Let `source`, a text of the judge's, be the candidate's module `name`: `call` it as ``"name:function"``.

        It runs in the candidate's process, so what it answers is to be believed no more than the candidate is.
        """
        self._defined[name] = source
        self._ask({"do": "define", "name": name, "source": source}, None)

    def used(self) -> float:
        """Seconds of processor time that the process which answers calls has used, all its threads together.

        The kernel's clock, read where nothing of the candidate's runs. Processes that it started are not in it.
        """
        return float(self._order({"do": "used"}, None))

    def restart(self) -> None:
        """End everything the candidate has running. The next call begins in a fresh process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._order({"do": "stop"}, None)

    def run(
        self,
        command: Sequence[str],
        *,
        input: bytes = b"",
        environment: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Ended:
        """Run a program in the candidate's folder, with nothing else running. It can write to ``$TMPDIR`` only.

        "python" is this interpreter. When the program ends, or at the deadline, all that it started is ended too.

        Raises:
            CandidateFailed: there is no such program; `Timeout`.
        """
        self.restart()
        order = {"do": "run", "command": list(command), "input": input, "environment": dict(environment or {})}
        found = self._order({**order, "deadline": deadline}, None)
        if "error" in found:
            raise CandidateFailed(str(found["error"]))
        if found["late"]:
            raise CandidateTimeout(f"{command[0]} takes longer than {deadline:g} s")
        return Ended(int(found["status"]), found["output"], found["errors"], float(found["seconds"]))

    def _order(self, order: Mapping[str, Any], until: float | None) -> Any:
        """Ask the attendant, which runs no code of the candidate's."""
        try:
            wire.send(self._control, dict(order))
            return wire.receive(self._control, until)
        except (EOFError, OSError):
            raise CandidateLost("the candidate's process ended") from None

    def _ask(self, request: dict[str, Any], deadline: float | None) -> Any:
        worker = self._worker or self._begin()
        # The candidate cannot answer before it is asked, which would make it look fast.
        token = secrets.token_hex(8)
        until = None if deadline is None else time.monotonic() + deadline
        try:
            wire.send(worker, {**request, "token": token})
            answer = wire.receive(worker, until)
        except wire.NotPlain as error:
            raise CandidateFailed(f"{request.get('target', 'the candidate')}: {error}") from None
        except TimeoutError:
            self.restart()
            raise CandidateTimeout(f"{request.get('target', 'it')} takes longer than {deadline:g} s") from None
        except (EOFError, OSError):
            raise self._gone() from None
        if not isinstance(answer, dict) or answer.get("token") != token:
            raise CandidateFailed("the candidate answered before it was asked")
        if "error" in answer:
            kind = CandidateMemory if answer.get("memory") is True else CandidateFailed
            raise kind(str(answer["error"])[-8000:])
        return answer.get("value")

    def _gone(self) -> CandidateFailed:
        """The worker ended by itself. Its attendant knows how, unless it is gone too."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        how = str(self._order({"do": "how"}, None))
        error = CandidateFailed(f"the candidate's process {how}")
        error.reason = "crashed" if how.startswith("was killed") else "failed"
        return error

    def _begin(self) -> socket.socket:
        self._order({"do": "start"}, None)
        try:
            _, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
            os.set_inheritable(descriptors[0], False)
            self._worker = socket.socket(fileno=descriptors[0])
        except (OSError, IndexError):
            raise CandidateLost("the candidate's process ended") from None
        for name, source in self._defined.items():
            self._ask({"do": "define", "name": name, "source": source}, None)
        assert self._worker is not None
        return self._worker
