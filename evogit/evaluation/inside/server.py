"""The fork server: started once inside the sandbox, it forks once per evaluation and confines each fork further.

It reads length-prefixed JSON requests from a socket and answers each. Every fork has its own process and mount
namespace (where the sandbox grants them), its own folder and /tmp, its own session, no capabilities and its own limits,
so that candidates can neither see, signal nor poison one another.

"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import NoReturn

from .judging import RESULT_FD_LIMIT, evaluate
from .kernel import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    Message,
    check,
    fork,
    libc,
    signal_name,
)  # fmt: skip
from .processes import children_of, descendants, empty, held_by, kill_tree, usage
from .twin import Twin, frame, frames

WATCH = 0.05  # seconds between looks at the process tree, where no namespace holds it
MEASURE = 0.25  # seconds between measurements of what was written, where no mount of its own bounds it


@dataclass
class Child:
    """One evaluation under way, as the server sees it."""

    id: int
    pid: int
    handle: int
    started: float
    deadline: float
    limit: int
    nonce: bytes
    places: tuple[str, ...]
    processes: int
    disk: int
    measured: float
    resident: int
    pipes: dict[int, str] = field(default_factory=dict)
    data: dict[str, bytearray] = field(
        default_factory=lambda: {"out": bytearray(), "err": bytearray(), "res": bytearray()}
    )
    killed: str = ""
    status: int | None = None
    partner: Message | None = None
    """What the twin said of the candidate's half; empty while it runs, None when there is none."""


class Server:
    """Accept requests, fork, watch, answer."""

    def __init__(self, control: socket.socket, setup: Message, twin: Twin | None = None) -> None:
        self._control = control
        self._setup = setup
        self._twin = twin
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, "control")
        if twin is not None:
            self._selector.register(twin.control, selectors.EVENT_READ, "twin")
        self._children: dict[int, Child] = {}
        self._buffer, self._answers = bytearray(), bytearray()
        self._passed: list[int] = []
        self._flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC if setup["namespaces"] else 0
        self._watched = 0.0

    def serve(self) -> None:
        """Until the other side goes away."""
        while True:
            for key, _ in self._selector.select(self._wait()):
                if key.data == "control":
                    if not self._receive():
                        return
                elif key.data == "twin":
                    if not self._hear_twin():
                        return
                else:
                    self._child_event(key.data, key.fd)
            self._enforce()

    def _wait(self) -> float | None:
        running = [child.deadline for child in self._children.values() if child.status is None]
        if not running:
            return None
        soonest = min(running) - time.monotonic()
        if any(child.resident for child in self._children.values()):
            soonest = min(soonest, MEASURE)
        return max(0.0, soonest if self._flags else min(soonest, WATCH))

    def _receive(self) -> bool:
        data, passed, _, _ = socket.recv_fds(self._control, 1 << 20, 16)
        if not data:
            return False
        self._buffer += data
        self._passed += passed
        for request in frames(self._buffer):
            if "cancel" in request:
                for child in [c for c in self._children.values() if c.id == request["cancel"]]:
                    self._kill(child, "cancelled")
            else:
                self._start(request)
        return True

    def _hear_twin(self) -> bool:
        """What became of the candidates' halves."""
        assert self._twin is not None
        data = self._twin.control.recv(1 << 20)
        self._answers += data
        for answer in frames(self._answers):
            for child in [c for c in self._children.values() if c.id == answer["id"]]:
                child.partner = answer
                if child.status is not None:
                    self._finish(child)
        return bool(data)

    def _start(self, request: Message) -> None:
        request.setdefault("serving", False)
        partner = socket.socket(fileno=self._passed.pop(0)) if request["serving"] else None
        if self._twin is not None and request.get("function") in self._setup["paired"]:
            partner = self._twin.begin(request, namespaces=bool(self._flags))
        pipes = {name: os.pipe() for name in ("out", "err", "res")}
        nonce = secrets.token_hex(16).encode()
        limits, held = request["limits"], 0
        places: tuple[str, ...] = () if self._flags else (request["scratch"],)
        if places and request["writable"]:
            places, held = (*places, request["folder"]), usage((request["folder"],), sys.maxsize)
        started = time.monotonic()
        try:
            pid = fork(self._flags)
        except OSError as error:
            for ends in pipes.values():
                os.close(ends[0])
                os.close(ends[1])
            self._answer({"id": request["id"], "reason": "crashed", "detail": f"cannot fork: {error}", "server": True})
            return
        if pid == 0:
            self._become_child(request, pipes, nonce, partner)
        if partner is not None:
            partner.close()
        child = Child(
            request["id"],
            pid,
            os.pidfd_open(pid),
            started,
            started + request["deadline"],
            limits["output"],
            nonce,
            places,
            limits["processes"],
            limits["disk"] + held,
            started,
            limits["resident"],
            partner=None if partner is None or request["serving"] else {},
        )
        for name, (reading, writing) in pipes.items():
            os.close(writing)
            os.set_blocking(reading, False)
            child.pipes[reading] = name
            self._selector.register(reading, selectors.EVENT_READ, child)
        self._selector.register(child.handle, selectors.EVENT_READ, child)
        self._children[pid] = child

    def _become_child(
        self, request: Message, pipes: dict[str, tuple[int, int]], nonce: bytes, partner: socket.socket | None
    ) -> NoReturn:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            if self._setup["networks"]:
                check(libc.setns(self._setup["networks"][request["slot"]], CLONE_NEWNET), "setns")
            os.dup2(pipes["out"][1], 1)
            os.dup2(pipes["err"][1], 2)
            result = pipes["res"][1]
            nothing = os.open("/dev/null", os.O_RDONLY)
            os.dup2(nothing, 0)
            kept = sorted({result, *([partner.fileno()] if partner is not None else [])})
            for low, high in zip([2, *kept], [*kept, 4096], strict=True):
                os.closerange(low + 1, high)
        except OSError:
            os._exit(1)
        evaluate(request, self._setup, nonce, result, partner)

    def _child_event(self, child: Child, descriptor: int) -> None:
        if descriptor == child.handle:
            _, child.status = os.waitpid(child.pid, 0)
            self._selector.unregister(child.handle)
            if child.partner == {} and self._twin is not None:
                self._twin.cancel(child.id)  # the folder is free when the candidate is gone, too
                return
            self._finish(child)
            return
        if descriptor not in child.pipes:
            return
        self._drain(child, descriptor)

    def _drain(self, child: Child, descriptor: int) -> None:
        name = child.pipes[descriptor]
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._close(child, descriptor)
            return
        held = child.data[name]
        limit = RESULT_FD_LIMIT if name == "res" else child.limit
        held += data[: max(0, limit - len(held))]
        if len(held) >= limit and not child.killed:
            self._kill(child, "output")

    def _close(self, child: Child, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        del child.pipes[descriptor]

    def _enforce(self) -> None:
        now = time.monotonic()
        watch = not self._flags and now >= self._watched
        if watch:
            self._watched = now + WATCH
        for child in [each for each in self._children.values() if each.status is None]:
            if now >= child.deadline and not child.killed:
                self._kill(child, "timeout")
            elif watch and not child.killed and len(descendants(child.pid)) > child.processes:
                self._kill(child, "processes")
            elif (watch or child.resident) and not child.killed and now >= child.measured + MEASURE:
                child.measured = now
                if child.resident and held_by(child.pid) > child.resident:
                    self._kill(child, "resident")
                elif watch and usage(child.places, child.disk) > child.disk:
                    self._kill(child, "disk")

    def _kill(self, child: Child, why: str) -> None:
        if child.status is not None or child.killed:
            return
        child.killed = why
        if not self._flags:
            kill_tree(child.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)

    def _finish(self, child: Child) -> None:
        if not self._flags:
            self._sweep_orphans()
        for descriptor in list(child.pipes):
            for _ in range(64):
                if descriptor not in child.pipes:
                    break
                before = len(child.data[child.pipes[descriptor]])
                self._drain(child, descriptor)
                if descriptor in child.pipes and len(child.data[child.pipes[descriptor]]) == before:
                    break
            if descriptor in child.pipes:
                self._close(child, descriptor)
        os.close(child.handle)
        del self._children[child.pid]
        if child.places:
            empty(child.places[0])
        answer, texts = self._verdict(child), {"stdout": child.data["out"], "stderr": child.data["err"]}
        if child.partner:
            if answer.get("lost") and child.partner.get("reason") not in (None, "cancelled", "forged"):
                # Of its own accord, or by a limit: who watched it knows.
                answer |= {"reason": child.partner["reason"], "detail": child.partner["detail"]}
            for name, text in texts.items():
                text += base64.b64decode(child.partner.get(name, ""))
        answer |= {"id": child.id, "seconds": time.monotonic() - child.started}
        self._answer(answer | {name: base64.b64encode(text).decode() for name, text in texts.items()})

    def _verdict(self, child: Child) -> Message:
        """What the end of a child means."""
        explanations = {
            "timeout": "ran into the deadline",
            "output": "wrote more output than the limit allows",
            "processes": "started more processes than the limit allows",
            "disk": "wrote more files, or more into them, than the limit allows",
            "resident": "its processes hold more memory than the limit allows",
            "cancelled": "cancelled",
        }
        if child.killed:
            reason = {"processes": "failed", "disk": "failed", "resident": "memory"}.get(child.killed, child.killed)
            return {"reason": reason, "detail": explanations[child.killed]}
        status, result = child.status or 0, bytes(child.data["res"])
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGXCPU:
                return {"reason": "timeout", "detail": "the processor time is used up"}
            return {"reason": "crashed", "detail": f"killed by {signal_name(number)}"}
        if result and not result.startswith(child.nonce):
            return {"reason": "forged", "detail": "a result came by another way than the evaluator's"}
        if not result:
            code = os.WEXITSTATUS(status)
            return {"reason": "failed", "detail": f"ended with exit status {code} before the evaluator had a result"}
        try:
            answer: Message = json.loads(result[len(child.nonce) :])
        except ValueError:
            return {"reason": "forged", "detail": "the evaluator's result was tampered with"}
        return answer

    def _sweep_orphans(self) -> None:
        """Kill what an ended child left behind: it is now a child of this subreaper."""
        for _ in range(100):
            known = {*self._children, self._twin.pid if self._twin is not None else 0}
            orphans = [pid for pid in children_of(os.getpid()) if pid not in known]
            if not orphans:
                return
            for pid in orphans:
                kill_tree(pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _answer(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # whoever asked is gone; `serve` sees that and ends
            self._control.sendall(frame(message))
