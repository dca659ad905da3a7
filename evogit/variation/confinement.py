"""What a coding program may see and touch, and its end: one process tree, started, bounded, and dead at its deadline.

Bubblewrap, where it works: the machine read-only, private /tmp and /run, the user's repository not there, and a process
namespace that dies with its first process. Elsewhere the tree is found by session, ancestry and a variable. The network
stays on in both, as a coding program has a model to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OUTPUT = 1 << 20  # bytes kept of what a program prints: its beginning and its end
GRACE = 5.0  # seconds for what was printed to arrive after the end
MARK = "EVOGIT_PROGRAM"
"""A variable that every process of one start has, so that one that left the session is found and ended too."""

_RUN = ("systemd/resolve", "resolvconf", "NetworkManager", "current-system", "wrappers", "opengl-driver", "host")
"""What programs need of /run (how names are resolved; NixOS' programs). The rest is sockets of other services."""
_ISOLATED = ("--unshare-pid", "--unshare-ipc", "--die-with-parent", "--new-session")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: exit status, what it printed, seconds, and whether its time was up."""

    code: int
    output: bytes
    seconds: float
    late: bool


class _Kept(asyncio.Protocol):
    """The beginning and the end of an output, however long it gets."""

    def __init__(self) -> None:
        self._head, self._tail, self._lost = bytearray(), bytearray(), 0
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        room = max(0, OUTPUT // 2 - len(self._head))
        self._head += data[:room]
        self._tail += data[room:]
        excess = max(0, len(self._tail) - OUTPUT // 2)
        self._lost += excess
        del self._tail[:excess]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # as asyncio calls it
        self.closed.set()

    def text(self) -> bytes:
        gap = f"\n[{self._lost} bytes left out]\n".encode() if self._lost else b""
        return bytes(self._head) + gap + bytes(self._tail)


async def run(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], given: Path | None, deadline: float
) -> Ended:
    """Run `command` in `folder` with the file `given` on its standard input, and leave no process of it alive.

    `environment` needs a `MARK` that no other start has. Raises `OSError` when it cannot be started.
    """
    loop, output = asyncio.get_running_loop(), _Kept()
    reading, writing = os.pipe()
    # A pipe of ours: asyncio's own would wait for every grandchild that keeps it open (python/cpython#119710).
    pipe, _ = await loop.connect_read_pipe(lambda: output, open(reading, "rb", buffering=0))  # noqa: SIM115
    begun, late = time.monotonic(), False
    process: asyncio.subprocess.Process | None = None
    try:
        with open(given or os.devnull, "rb") as stdin:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=folder,
                    env=dict(environment),
                    stdin=stdin,
                    stdout=writing,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            finally:
                os.close(writing)
        try:
            async with asyncio.timeout(deadline):
                await process.wait()
        except TimeoutError:
            late = True
    finally:
        await _end(process.pid if process else 0, environment[MARK])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await output.closed.wait()
                await (process.wait() if process else asyncio.sleep(0))
        pipe.close()
    code = 0 if process.returncode is None else process.returncode
    return Ended(code, output.text(), time.monotonic() - begun, late)


async def _end(leader: int, mark: str) -> None:
    """Kill the session of `leader`, its descendants, and every process that carries the mark, until there is none."""
    below = _descendants(leader) if leader else []
    if leader:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
    _kill(below)
    await asyncio.to_thread(_sweep, mark)


def _sweep(mark: str) -> None:
    wanted = f"{MARK}={mark}".encode()
    for _ in range(100):
        found = [pid for pid in _processes() if wanted in _read(pid, "environ").split(b"\0")]
        if not found:
            return
        _kill(found)
        time.sleep(0.01)


def _descendants(leader: int) -> list[int]:
    """The processes below `leader`, as far as their parents still live."""
    children: dict[int, list[int]] = {}
    for pid in _processes():
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(pid)
    found = list(children.get(leader, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return []


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def confined(
    command: Sequence[str], room: Path, folder: Path, home: Path, hidden: Sequence[Path], search: str
) -> list[str]:
    """`command` under bubblewrap, or as it is where that does not work.

    `room` can be written, and so can `home` where it is the user's own, except what is `hidden`. `search` is the PATH.
    """
    bwrap = shutil.which("bwrap", path=search)
    if bwrap is None or not works(bwrap):
        return list(command)
    shared, secluded = _outermost([Path("/tmp"), Path("/run"), room.parent]), _outermost(hidden)
    needed = _needed(Path(command[0]), [*shared, *secluded], search)
    words = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    words += [word for path in shared for word in ("--tmpfs", str(path))]
    words += [word for name in _RUN for word in ("--ro-bind-try", f"/run/{name}", f"/run/{name}")]
    words += [] if home.is_relative_to(room) else ["--bind", str(home), str(home)]
    words += [word for path in secluded for word in ("--tmpfs", str(path))]
    words += [word for path in needed for word in ("--ro-bind", path, path)]
    return [*words, "--bind", str(room), str(room), *_ISOLATED, "--chdir", str(folder), "--", *command]


def _outermost(folders: Sequence[Path]) -> list[Path]:
    kept: list[Path] = []
    for folder in sorted({path.resolve() for path in folders if path.is_dir()}, key=lambda path: len(path.parts)):
        if folder != Path("/") and not any(folder.is_relative_to(above) for above in kept):
            kept.append(folder)
    return kept


def _needed(program: Path, covered: Sequence[Path], search: str) -> list[str]:
    """Where a program that is installed in a covered folder lives, and what runs it: no more than that is uncovered."""
    found: list[str] = []
    interpreter = _interpreter(program, search)
    for file in dict.fromkeys(p for one in (program, interpreter) if one for p in (one, one.resolve())):
        if not any(file.is_relative_to(folder) for folder in covered):
            continue
        place = file
        if "node_modules" in file.parts:
            place = Path(*file.parts[: file.parts.index("node_modules") + 1])
        elif file.parent.name == "bin":
            place = file.parent.parent
        if any(folder.is_relative_to(place) for folder in covered):
            place = file  # its prefix is the covered folder itself
        found.append(str(place))
    return list(dict.fromkeys(found))


def _interpreter(program: Path, search: str) -> Path | None:
    """What the program's first line names, ``#!/usr/bin/env node`` and the like included."""
    try:
        with program.open("rb") as file:
            first = os.fsdecode(file.readline(512))
    except OSError:
        return None
    words = first.removeprefix("#!").split()
    if not first.startswith("#!") or not words:
        return None
    if Path(words[0]).name == "env":
        name = next((word for word in words[1:] if not word.startswith("-")), "")
        return Path(found) if (found := shutil.which(name, path=search)) else None
    return Path(words[0])


@functools.cache
def works(bwrap: str) -> bool:
    """Whether this machine lets bubblewrap do its work."""
    probe = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", *_ISOLATED, "true"]
    try:
        return subprocess.run(probe, capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
