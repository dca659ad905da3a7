"""What processes and files a candidate has, and how they are made to go away."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import sys
import time

FILES = 100_000  # files and folders that a candidate may make


def children_of(pid: int) -> list[int]:
    return family().get(pid, [])


def family(*, ended: bool = True) -> dict[int, list[int]]:
    """Parent → children, of every process in sight; also those that have `ended` and wait for their parent."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, *_ = file.read().rpartition(b")")[2].split()
            except (OSError, ValueError, IndexError):
                continue
            if ended or state not in (b"Z", b"X"):
                found.setdefault(int(parent), []).append(int(name))
    return found


def descendants(pid: int) -> list[int]:
    relations, found, todo = family(ended=False), [], [pid]
    while todo:
        children = relations.get(todo.pop(), [])
        found += children
        todo += children
    return found


def held_by(pid: int) -> int:
    """Bytes of memory of its own that a process holds, with all below it: what they share with files is not counted."""
    pages = 0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{each}/statm", "rb") as file:
            fields = file.read().split()
            pages += int(fields[1]) - int(fields[2])
    return pages * resource.getpagesize()


def usage(places: tuple[str, ...], limit: int) -> int:
    """Bytes that the files in `places` take, counted until it is more than `limit`; too many files are too much."""
    size = number = 0
    todo = list(places)
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                number += 1
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                if size > limit or (number > FILES and limit < sys.maxsize):
                    return sys.maxsize
    return size


def kill_tree(pid: int) -> None:
    """Stop, then kill, every descendant, until none appears any more."""
    for _ in range(50):
        found = descendants(pid)
        if not found:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for each in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, number)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGSTOP)


def end_others() -> None:
    """End every process below this one, whatever session it is in, and wait for it.

    In a namespace of its own this is the first process, and no other can escape. Elsewhere this must be a subreaper;
    where the kernel lets Landlock hold no signals (before Linux 6.12) nothing can be ended here.
    """
    for _ in range(50):
        if os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            for each in (found := descendants(os.getpid())):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
            if not found:
                return
        for _ in range(200):
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    time.sleep(0.001)
            except ChildProcessError:
                if os.getpid() == 1:
                    return
                break


def empty(folder: str) -> None:
    """Remove everything in `folder`, whatever a candidate made of it: unreadable, or deeper than any path is long.

    Every folder found is moved up to `folder` before it is looked into, so that no path gets long.
    """
    todo = [folder]
    while todo:
        at = todo.pop()
        with contextlib.suppress(OSError):
            os.chmod(at, 0o755)
            for entry in list(os.scandir(at)):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o755)
                    found = entry.path if at == folder else os.path.join(folder, secrets.token_hex(8))
                    if found != entry.path:
                        os.rename(entry.path, found)
                    todo.append(found)
            if at != folder:
                os.rmdir(at)
