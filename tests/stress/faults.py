"""What the stress suite does to hosts. Each fault checks what is particular to it; `chaos` checks the rest after it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import run_git
from tests.stress.hosts import Host, wait
from tests.stress.test_kill import journaled

NOT_INSTALLED = "is not installed"


@dataclass(frozen=True)
class World:
    """What hosts live in. `small` is the file system of the last one, where one of its own could be mounted."""

    folder: Path
    origin: Path
    hosts: Sequence[Host]
    small: Path | None
    rng: random.Random


Fault = Callable[[World, Host], None]


def kill(world: World, host: Host) -> None:
    """``kill -9`` at a random instant."""
    pid = host.running()
    time.sleep(world.rng.random())
    with host.expecting(-signal.SIGKILL):
        before = host.codes[-signal.SIGKILL]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait(lambda: host.codes[-signal.SIGKILL] > before)


def cut(world: World, host: Host) -> None:
    """The remote is away: everybody evolves on; when it is back, everything found meanwhile gets there."""
    away = world.folder / "away.git"
    host.running()
    world.origin.rename(away)
    try:
        done = host.command("sync", codes={1})
        assert "origin" in done.stderr, done.stderr
        for each in world.hosts:
            assert each.goes_on(), f"{each.at.name} evolves no longer without its remote: {each.said[-300:]}"
        found = set().union(*(each.acknowledged for each in world.hosts))
    finally:
        away.rename(world.origin)
    for each in world.hosts:
        # As a person would rather than wait for the next try, which may be minutes away by then.
        each.command("sync", codes={0, 1})
    assert wait(lambda: found <= journaled(world.origin)), "what was found meanwhile does not get to the remote"


def fill(world: World, host: Host) -> None:
    """Not a byte left on the host's disk: its run says so and ends; checking needs no room."""
    assert world.small is not None
    filler = world.small / "filler"
    host.running()
    before = host.codes[1]
    with host.expecting(1):
        try:
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            assert wait(lambda: host.codes[1] > before), f"a full disk does not end the run: {dict(host.codes)}"
            assert "space" in host.said, host.said
            assert "bug in EvoGit" not in host.said, host.said
            host.command("fsck")
        finally:
            filler.unlink()
        host.running()


def corrupt(world: World, host: Host) -> None:
    """One object's file, that of an entry, a candidate, a tree or a file, has a bad sector; the remote has a copy."""
    with host.pause():
        host.command("sync", codes={0, 1})
        oid = _loose(world, host)
        victim = host.at / ".git/objects" / oid[:2] / oid[2:]
        sound = victim.read_bytes()
        victim.chmod(0o644)
        victim.write_bytes(world.rng.choice((sound[:20] + b"bad sector", sound[: len(sound) // 2], b"")))
        found = host.command("fsck", codes={0, 1})
        host.command("run", "--json", "--candidates", "2", "--jobs", "1", codes={0, 1})
        mended = host.command("fsck", "--repair")
        assert oid in mended.stdout or oid[2:] in mended.stdout, found.stdout + mended.stdout
        host.command("fsck")


def _loose(world: World, host: Host) -> str:
    """One object of the run, drawn, now the only one in a file of its own; it is in no pack any more."""
    ref = world.rng.choice(run_git("for-each-ref", "--format=%(refname)", "refs/evogit/", cwd=host.at).split())
    entry = world.rng.choice(run_git("rev-list", "--first-parent", "-20", ref, cwd=host.at).split())
    kin = run_git("rev-parse", f"{entry}^@", cwd=host.at).split()
    kind = world.rng.choice(("entry", "candidate", "tree", "blob"))
    revision = {"entry": entry, "tree": f"{kin[-1]}^{{tree}}", "blob": f"{kin[-1]}:n.json"}.get(kind, kin[-1])
    oid = run_git("rev-parse", revision, cwd=host.at)
    listed = run_git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", cwd=host.at).split()
    what = run_git("cat-file", "-t", oid, cwd=host.at)
    data = subprocess.run(["git", "cat-file", what, oid], cwd=host.at, capture_output=True, check=True).stdout
    packs = host.at / ".git/objects/pack"
    old = list(packs.iterdir())
    others = "".join(f"{each}\n" for each in listed if each != oid).encode()
    words = ["git", "pack-objects", "-q", str(packs / "pack")]
    made = subprocess.run(words, cwd=host.at, input=others, capture_output=True, check=True).stdout.decode().strip()
    for path in old:
        if made not in path.name:
            path.unlink()
    words = ["git", "hash-object", "-w", "--stdin", "-t", what]
    subprocess.run(words, cwd=host.at, input=data, capture_output=True, check=True)
    return oid


def jump(world: World, host: Host) -> None:
    """The clock of a running process and all that it starts goes a day ahead, then a day back."""
    clock = world.folder / f"{host.at.name}.clock"
    clock.write_text("+0d\n")
    with host.pause(_faked(clock)):
        pass
    try:
        pid = host.running()
        for offset in ("+1d", "-1d"):
            aside = clock.with_suffix(".next")
            aside.write_text(f"{offset}\n")
            aside.rename(clock)
            time.sleep(2)  # the library looks once a second
            assert host.goes_on(), f"no further candidate when the clock says {offset}: {host.said[-300:]}"
        assert host.running() == pid or host.codes[0], "the run did not live on"
    finally:
        with host.pause({}):
            pass
    last = json.loads(host.command("status", "--json").stdout)
    assert last["candidates"], last


# libfaketime 0.9.10 makes of a sleep until a moment of the monotonic clock, Python's way, an invalid one.
SLEEP = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest) {
  return syscall(SYS_clock_nanosleep, clock, flags, until, rest) == 0 ? 0 : errno;
}
"""


def _faked(clock: Path) -> Mapping[str, str]:
    words = ["faketime", "-m", "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]
    library = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    sleep = clock.with_suffix(".so")
    words = ["cc", "-shared", "-fPIC", "-o", str(sleep), "-x", "c", "-"]
    subprocess.run(words, input=SLEEP, capture_output=True, text=True, check=True)
    return {
        "LD_PRELOAD": f"{sleep}:{library}",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def unlock(_: World, host: Host) -> None:
    """Every lock file goes while a run holds it. A second run may then begin, and harms nobody."""
    host.running()
    for path in _locks(host):
        path.unlink(missing_ok=True)
    with host.expecting(1):
        host.command("run", "--json", "--candidates", "3", "--jobs", "1", codes={0, 1, 5})
        host.running()


def _locks(host: Host) -> Iterator[Path]:
    for folder in ("evogit", "refs"):
        yield from (host.at / ".git" / folder).rglob("*.lock")


def litter(_: World, host: Host) -> None:
    """Locks on refs, as a crash of the machine leaves them: a run says so, the next one or a repair removes them."""
    host.running()
    (journal, *_others) = _own(host, "refs/evogit/main/journal/")
    (agent, *_others) = _own(host, "refs/heads/evogit/main/")
    locks = [host.at / ".git" / f"{name}.lock" for name in (journal, agent, "packed-refs")]
    before = host.codes[1]
    with host.expecting(1):
        for path in locks:
            path.write_bytes(b"")
            os.utime(path, (time.time() - 3600,) * 2)
        assert wait(lambda: host.codes[1] > before), f"no run ends at a locked journal: {dict(host.codes)}"
        assert "evogit clean" in host.said, host.said
        host.running()  # the next one removes what is so old
        assert not any(path.exists() for path in locks), locks
        with host.pause():
            for path in locks:
                path.write_bytes(b"")
                os.utime(path, (time.time() - 3600,) * 2)
            mended = host.command("fsck", "--repair")
        for path in locks:
            assert not path.exists(), f"{path} is still there: {mended.stdout}"
            assert path.name in mended.stdout, mended.stdout
        host.running()


def _own(host: Host, prefix: str) -> list[str]:
    name = (host.at / ".git/evogit/host").read_text().strip()
    return [ref for ref in run_git("for-each-ref", "--format=%(refname)", prefix, cwd=host.at).split() if name in ref]


def collect(world: World, host: Host) -> None:
    """``git gc --prune=now`` here in the middle of everything, and ``git gc`` on the remote.

    With --prune=now Git itself removes what is just being pushed, between its objects and its ref (git-gc(1), NOTES).
    """
    host.running()
    for at, words in ((host.at, ["--prune=now"]), (world.origin, [])):
        # A second garbage collector or a repack at the same time makes Git give up: then it did nothing.
        subprocess.run(["git", "gc", "-q", *words], cwd=at, check=False, capture_output=True)


def forbid(_: World, host: Host) -> None:
    """The evaluator loses its execute permission, where it is at work and in the checkout: no score changes by that."""
    judge = host.at / ".evogit/tasks/numbers/judge.py"
    at_work = [*Path("/dev/shm").glob(f"evogit-{host.running()}-*"), host.at / ".git/evogit/main/scratch"]
    for path in [path for folder in at_work for path in folder.rglob("judge.py")]:
        with contextlib.suppress(FileNotFoundError):
            path.chmod(0o644)
    assert host.goes_on(), "no further candidate after the evaluator at work lost its permission"
    with host.pause():
        judge.chmod(0o644)
        try:
            host.command("run", "--json", "--candidates", "5", "--jobs", "1")
        finally:
            judge.chmod(0o755)
    said = run_git("log", "--format=%s", "--glob=refs/evogit/main/journal/", cwd=host.at)
    assert "another evaluator" not in said, "the run begins anew with a script that has another mode"
    failed = [line for line in said.splitlines() if line.startswith("failed")]
    assert not failed, failed


FAULTS: Mapping[str, Fault] = {
    "kill -9": kill,
    "remote cut off": cut,
    "disk full": fill,
    "corrupt loose object": corrupt,
    "clock jumps a day": jump,
    "lock files deleted": unlock,
    "stale lock files left": litter,
    "git gc --prune=now": collect,
    "evaluator not executable": forbid,
}


def unable(world: World, fault: str) -> str:
    """Why a fault cannot be tried here, or nothing."""
    if fault == "disk full" and world.small is None:
        return "no tmpfs can be mounted here (root may, where the container allows it)"
    if fault == "clock jumps a day" and shutil.which("faketime") is None:
        return f"needs faketime, which {NOT_INSTALLED} (on Debian: apt install faketime)"
    if fault == "clock jumps a day" and shutil.which("cc") is None:
        return f"needs a C compiler, which {NOT_INSTALLED} (on Debian: apt install gcc libc6-dev)"
    return ""
