"""`make stress`: hosts that share one remote, while what can break is broken. Then: was anything acknowledged lost?

Every host is a clone of its own that runs ``evogit run`` and ``evogit sync`` in turn, as from cron. Each fault is done
to running hosts; after it the host must be whole (``evogit fsck``, after ``--repair`` where objects were damaged), have
everything it ever acknowledged on its ``--json`` stream in its journals, and evaluate further candidates.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.conftest import hermetic_environment, run_git
from tests.stress.test_kill import CONFIG, TASK, journaled

_T = TypeVar("_T")

JUDGE = """#!/usr/bin/env python3
import json, os
numbers = json.load(open("n.json"))
score = -sum(abs(1000.0 * (i + 1) - x) for i, x in enumerate(numbers))
with open(os.environ["EVOGIT_RESULT"], "w") as file:
    json.dump({"score": score}, file)
"""
WAIT = 120.0  # seconds for what takes one or two on an idle machine
EXPECTED = {0, 1, -signal.SIGKILL}
"""Exit codes of `run` and `sync`: fine, told why not (remote away, disk full, damaged), killed by us."""


@dataclass
class Host:
    """One clone that evolves and exchanges, over and over, in a thread; `pause` holds it between two commands."""

    at: Path
    wrapper: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    codes: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    said: str = ""
    """The error output of the last command that failed."""
    process: subprocess.Popen[str] | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One evogit command here; what its event stream acknowledged is remembered, also if it is killed."""
        line = [*self.wrapper, sys.executable, "-m", "evogit", "-C", str(self.at), *words]
        with subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as done:
            self.process = done if words[0] == "run" else None
            output, errors = done.communicate(timeout=4 * WAIT)
            self.process = None
        for event in filter(None, map(event_of, output.splitlines())):
            if event.get("event") == "candidate":
                self.acknowledged.add(str(event["commit"]))
        self.said = errors[-400:] if done.returncode else self.said
        return subprocess.CompletedProcess(line, done.returncode, output, errors)

    def live(self) -> None:
        while not self.ended.is_set():
            for words in (("run", "--json", "--seconds", "2", "--jobs", "1"), ("sync",)):
                with self.turn:
                    done = self.command(*words)
                self.codes[done.returncode] += 1
                if done.returncode not in EXPECTED:
                    self.errors.append(f"{words[0]} exited {done.returncode}: {done.stderr[-400:]}")
                time.sleep(0.01)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        with self.turn:
            yield

    def running(self) -> int | None:
        """The process id of a run that is under way, once there is one."""
        return wait(lambda: self.process.pid if self.process is not None else None)

    def goes_on(self) -> bool:
        """Whether a further candidate is acknowledged."""
        before = len(self.acknowledged)
        return bool(wait(lambda: len(self.acknowledged) > before))


@dataclass
class Tally:
    """What became of one kind of fault."""

    tried: int = 0
    survived: int = 0
    lost: int = 0
    notes: list[str] = field(default_factory=list)


def event_of(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None  # cut off by a kill: nobody has read it
    return found if isinstance(found, dict) else None


def wait(look: Callable[[], _T | None]) -> _T | None:
    limit = time.monotonic() + WAIT
    while time.monotonic() < limit:
        if found := look():
            return found
        time.sleep(0.05)
    return None


class Chaos:
    """The world that is broken: a remote, hosts, and on a small file system of its own, where that can be, the last."""

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.origin = folder / "origin.git"
        self.table: dict[str, Tally] = {}
        seeded = folder / "seed"
        task = seeded / ".evogit/tasks/numbers"
        task.mkdir(parents=True)
        (task / "task.toml").write_text(TASK.replace('function = "evaluate.py:evaluate"', 'command = ["./judge.py"]'))
        (task / "goal.md").write_text("Bring the numbers near their targets.\n")
        (task / "judge.py").write_text(JUDGE)
        (task / "judge.py").chmod(0o755)
        (seeded / ".evogit/config.toml").write_text(CONFIG)
        (seeded / "n.json").write_text("[1.0, 2.0, 3.0, 4.0, 5.0]\n")
        run_git("init", "-q", cwd=seeded)
        run_git("add", "-A", cwd=seeded)
        run_git("commit", "-qm", "start", cwd=seeded)
        run_git("clone", "-q", "--bare", str(seeded), str(self.origin), cwd=folder)
        self.small = self._small_disk()
        places = [folder / f"host-{n}" for n in range(count - 1)] + [(self.small or folder) / "host-last"]
        self.hosts = [Host(place) for place in places]
        for host in self.hosts:
            run_git("clone", "-q", str(self.origin), str(host.at), cwd=folder)

    def _small_disk(self) -> Path | None:
        place = self.folder / "small"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(place)], capture_output=True, check=False
        )
        return place if done.returncode == 0 else None

    def close(self) -> None:
        if self.small is not None:
            subprocess.run(["umount", "-l", str(self.small)], check=False)

    def break_things(self, faults: Sequence[str], rounds: int) -> None:
        """Each fault `rounds` times, in a random order, while every host lives."""
        threads = [threading.Thread(target=host.live) for host in self.hosts]
        for thread in threads:
            thread.start()
        try:
            lively = wait(lambda: all(host.acknowledged for host in self.hosts))
            assert lively, f"not every host has begun: {[(host.codes, host.said) for host in self.hosts]}"
            todo = [fault for fault in faults for _ in range(rounds)]
            self.rng.shuffle(todo)
            for fault in todo:
                tally = self.table.setdefault(fault, Tally())
                host = self.hosts[-1] if fault == "full disk" else self.rng.choice(self.hosts)
                why = self.unable(fault)
                if why:
                    tally.notes = [f"skipped: {why}"]
                    continue
                tally.tried += 1
                begun = time.monotonic()
                try:
                    self.faults()[fault](host)
                    ok, lost, note = self.judge(host)
                except AssertionError as error:
                    ok, lost, note = False, 0, str(error)[:300]
                took = time.monotonic() - begun
                print(f"{fault}: {'survived' if ok else note} ({took:.0f} s)", file=sys.stderr, flush=True)
                tally.survived += ok
                tally.lost += lost
                tally.notes += [note] if note else []
        finally:
            for host in self.hosts:
                host.ended.set()
            for thread in threads:
                thread.join()

    def unable(self, fault: str) -> str:
        if fault == "full disk" and self.small is None:
            return "no tmpfs can be mounted here (root may)"
        if fault == "clock jumps a day" and shutil.which("faketime") is None:
            return "faketime is not installed"
        return ""

    def judge(self, host: Host) -> tuple[bool, int, str]:
        """Whether the host is whole and goes on, how many acknowledged candidates are gone, and what was wrong."""
        with host.pause():
            checked = host.command("fsck")
            lost = len(host.acknowledged - journaled(host.at))
        if checked.returncode:
            return False, lost, f"fsck: {checked.stdout[-300:]}"
        goes_on = host.goes_on()
        return goes_on, lost, "" if goes_on else f"no further candidate; {host.errors[-1:]}"

    def faults(self) -> dict[str, Callable[[Host], None]]:
        return {
            "kill -9": self.kill,
            "remote cut off": self.cut,
            "full disk": self.fill,
            "corrupt loose object": self.corrupt,
            "clock jumps a day": self.jump,
            "lock files deleted": self.unlock,
            "git gc --prune=now": self.collect,
            "evaluator not executable": self.forbid,
        }

    # The faults

    def kill(self, host: Host) -> None:
        pid = host.running()
        time.sleep(self.rng.random())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or -1, signal.SIGKILL) if pid else None

    def cut(self, host: Host) -> None:
        away = self.folder / "away.git"
        self.origin.rename(away)
        try:
            with host.pause():
                done = host.command("sync")
            assert done.returncode == 1, f"sync without a remote exited {done.returncode}: {done.stderr}"
            assert host.goes_on(), "a host that is cut off evolves no longer"
        finally:
            away.rename(self.origin)

    def fill(self, host: Host) -> None:
        assert self.small is not None
        filler = self.small / "filler"
        host.running()
        try:
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            with host.pause():
                done = host.command("run", "--json", "--seconds", "3", "--jobs", "1")
            assert done.returncode == 1, f"a full disk exits {done.returncode}: {done.stderr}"
            assert "bug" not in done.stderr, done.stderr
        finally:
            filler.unlink()

    def corrupt(self, host: Host) -> None:
        with host.pause():
            host.command("sync")
            packs, aside = host.at / ".git/objects/pack", host.at / ".git/aside"
            packs.rename(aside)
            packs.mkdir()
            for pack in sorted(aside.glob("*.pack")):
                with pack.open("rb") as file:
                    subprocess.run(["git", "unpack-objects", "-q"], cwd=host.at, stdin=file, check=True)
            shutil.rmtree(aside)
            ref = self.rng.choice(run_git("for-each-ref", "--format=%(refname)", "refs/evogit/", cwd=host.at).split())
            oid = self.rng.choice(run_git("rev-list", "--first-parent", "-20", ref, cwd=host.at).split())
            victim = host.at / ".git/objects" / oid[:2] / oid[2:]
            victim.chmod(0o644)
            victim.write_bytes(victim.read_bytes()[:20] + b"bad sector")
            assert host.command("fsck").returncode == 1, "a corrupt entry is not found"
            mended = host.command("fsck", "--repair")
            assert mended.returncode == 0, mended.stdout + mended.stderr

    def jump(self, host: Host) -> None:
        with host.pause():
            for offset in ("+1d", "-1d"):
                host.wrapper = ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", offset]
                done = host.command("run", "--json", "--candidates", "5", "--jobs", "1")
                host.wrapper = []
                assert done.returncode == 0, done.stderr
            done = host.command("run", "--json", "--candidates", "5", "--jobs", "1")
            assert done.returncode == 0, done.stderr

    def unlock(self, host: Host) -> None:
        host.running()
        for path in (*(host.at / ".git/evogit").rglob("*.lock"), *(host.at / ".git/refs").rglob("*.lock")):
            path.unlink(missing_ok=True)

    def collect(self, host: Host) -> None:
        host.running()
        for at in (host.at, self.origin):
            subprocess.run(["git", "gc", "-q", "--prune=now"], cwd=at, check=False, capture_output=True)

    def forbid(self, host: Host) -> None:
        judge = host.at / ".evogit/tasks/numbers/judge.py"
        judge.chmod(0o644)
        try:
            with host.pause():
                done = host.command("run", "--json", "--candidates", "5", "--jobs", "1")
            # What is evaluated with is the task as recorded, laid out afresh: the checkout's own mode plays no part.
            assert done.returncode in (0, 1), done.stderr
            assert "bug in EvoGit" not in done.stderr, done.stderr
        finally:
            judge.chmod(0o755)

    def ending(self) -> Tally:
        """Everybody exchanges until all know everything: what was acknowledged anywhere is on the remote."""
        for _ in range(2):
            for host in self.hosts:
                host.command("sync")
        there = journaled(self.origin)
        tally = Tally(len(self.hosts))
        for host in self.hosts:
            tally.lost += len(host.acknowledged - there)
            done = host.command("fsck")
            fine = done.returncode == 0 and not host.errors
            tally.survived += fine
            tally.notes += [] if fine else [done.stdout[-200:], *host.errors[:2]]
        return tally


FAULTS = (
    *("kill -9", "remote cut off", "full disk", "corrupt loose object", "clock jumps a day"),
    *("lock files deleted", "git gc --prune=now", "evaluator not executable"),
)


def stress(folder: Path, hosts: int, rounds: int, seed: int, faults: Sequence[str] = FAULTS) -> dict[str, Tally]:
    chaos = Chaos(folder, hosts, seed)
    try:
        chaos.break_things(faults, rounds)
        chaos.table["all hosts at the end"] = chaos.ending()
        acknowledged = sum(len(host.acknowledged) for host in chaos.hosts)
        codes = sum((host.codes for host in chaos.hosts), Counter[int]())
        chaos.table["all hosts at the end"].notes += [f"{acknowledged} acknowledged, exit codes {dict(codes)}"]
        return chaos.table
    finally:
        chaos.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="how often each fault")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-stress-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        os.environ.update(hermetic_environment(home))
        (Path(folder) / "world").mkdir()
        table = stress(Path(folder) / "world", asked.hosts, asked.rounds, asked.seed)
    print(f"{asked.hosts} hosts, seed {asked.seed}\n{'fault':<28}{'tried':>6}{'survived':>9}{'lost':>6}")
    for fault, tally in table.items():
        print(f"{fault:<28}{tally.tried:>6}{tally.survived:>9}{tally.lost:>6}  {'; '.join(tally.notes)}")
    if asked.json:
        asked.json.write_text(json.dumps({name: vars(tally) for name, tally in table.items()}, indent=1) + "\n")
    return 0 if all(t.lost == 0 and t.survived == t.tried for t in table.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
