"""`python -m benchmarks.long 100000`: does a run stay as fast, as small and as clean as it began?

One run of many candidates in one repository, with the engine's own packing. Every tenth of it is a row: rate, resident
memory, open files, child processes, bytes of ``.git``. Then each limit, passed or failed; exit code 1 if one is failed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from benchmarks.__main__ import make_repository, make_task, resume_seconds
from evogit.catalog import load_agent
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator
from evogit.evolution import events, session
from evogit.evolution.budget import Budget
from evogit.evolution.engine import REPACK_AT, Engine
from evogit.evolution.fsck import check
from evogit.evolution.session import Plan
from evogit.store.repository import Repository, checked_out

SLOWER = 0.8  # the last tenth's rate over the first's
TICK = 0.01  # seconds: the kernel counts processor time in these
LARGER = 300e6  # bytes of .git
OPEN = 2 * REPACK_AT + 64  # files: packs between two repacks, and what the evaluator holds
HEAVIER = 0.5  # KiB of memory a candidate may leave behind: its place in the phylogeny, its tree and its score


@dataclass(frozen=True)
class Row:
    """What was seen after so many candidates since the row before.

    `rate` is wall-clock candidates per second, `work` candidates per second of processor time, of this process and its
    children, which others on the machine slow down less; `cost` is this process's own milliseconds per candidate.
    Sizes in bytes: `memory` is this process's own, `mapped` are pages of pack files, which the kernel takes back when
    it needs them.
    """

    candidates: int
    seconds: float
    rate: float
    work: float
    cost: float
    memory: int
    mapped: int
    files: int
    children: int
    git: int


@dataclass
class Watcher:
    """Counts candidates and looks at this process and its repository after every `every` of them."""

    git_dir: Path
    every: int
    rows: list[Row] = field(default_factory=list)
    count: int = 0
    _begun: float = field(default_factory=time.perf_counter)
    _last: float = field(default_factory=time.perf_counter)
    _spent: float = field(default_factory=time.process_time)
    _worked: float = field(default_factory=lambda: worked(psutil.Process()))

    def hear(self, event: events.Event) -> None:
        if not isinstance(event, events.Candidate):
            return
        self.count += 1
        if self.count % self.every:
            return
        now = time.perf_counter()
        me = psutil.Process()
        row = Row(
            self.count,
            now - self._begun,
            self.every / (now - self._last),
            self.every / max(TICK, worked(me) - self._worked),
            (time.process_time() - self._spent) / self.every * 1e3,
            *resident(),
            me.num_fds(),
            len(me.children(recursive=True)),
            bytes_below(self.git_dir),
        )
        self.rows.append(row)
        print(shown(row), file=sys.stderr, flush=True)
        # Looking is no part of it.
        self._last, self._spent, self._worked = time.perf_counter(), time.process_time(), worked(me)


def worked(process: psutil.Process) -> float:
    """Processor seconds of a process and all its children so far, ended ones included."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def resident() -> tuple[int, int]:
    """This process's resident memory: its own, and what is mapped from files."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped, shared = (int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile", "RssShmem"))
    return own, mapped + shared


def bytes_below(folder: Path) -> int:
    """Bytes that files below `folder` take, those that vanish meanwhile left out."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def shown(row: Row) -> str:
    return (
        f"{row.candidates:>10,}{row.seconds:>8.0f} s{row.rate:>7.0f}/s{row.work:>7.0f}/CPU s{row.cost:>6.2f} ms each"
        f"{row.memory / 2**20:>6.0f} MiB own{row.mapped / 2**20:>6.0f} MiB mapped"
        f"{row.files:>5} files{row.children:>3} children{row.git / 1e6:>7.1f} MB"
    )


def leftovers(repo: Repository, shared: set[str]) -> list[str]:
    """What should be gone once a run has ended: workspaces, keep files, partial packs, locks on refs."""
    packs = repo.common_dir / "objects/pack"
    found = [str(path) for path in (*packs.glob("*.keep"), *packs.glob("tmp_*"), *packs.glob(".tmp*"))]
    found += [str(path) for path in (repo.common_dir / "refs").rglob("*.lock")]
    scratch = repo.run_folder("main") / "scratch"
    found += [str(path) for path in scratch.iterdir()] if scratch.is_dir() else []
    return found + sorted(shared_memory() - shared)


def shared_memory() -> set[str]:
    memory = Path("/dev/shm")
    return {str(path) for path in memory.glob(f"evogit-{os.getpid()}-*")} if memory.is_dir() else set()


def evolve(repo: Repository, folder: Path, candidates: int, jobs: int, tier: str) -> Watcher:
    """Run `candidates` candidates with eight agents that change numbers, every third a crossover."""
    task, agent = make_task(folder / "task"), load_agent("dial", None)
    plan = Plan(
        "main", ((agent, 8),), task=task, policy="paper", jobs=jobs, budget=Budget(candidates=candidates), seed=1
    )
    chosen = sandbox.choose("auto" if tier == "auto" else "limits")
    watcher = Watcher(repo.git_dir, max(1, candidates // 10))

    async def run(opened: session.Session) -> None:
        async with Evaluator(
            opened.task,
            opened.objects,
            jobs=jobs,
            sandbox=chosen,
            scratch=repo.run_folder("main") / "scratch",
            overlay=opened.overlay,
        ) as evaluator:
            await Engine(opened, evaluator, watcher.hear).run()

    with session.opened(repo, plan) as opened:
        asyncio.run(run(opened))
    return watcher


def limits(watcher: Watcher, repo: Repository, files: int, shared: set[str]) -> dict[str, tuple[bool, str]]:
    """Each limit: whether it held, and the figures."""
    rows, me = watcher.rows, psutil.Process()
    first, last = rows[0], rows[-1]
    grown = (last.memory - first.memory) / 1024 / max(1, last.candidates - first.candidates)
    most = max(row.files for row in rows)
    gc.collect()  # libgit2's handles hang on objects that refer to each other
    after = me.num_fds()
    git, left, report = bytes_below(repo.git_dir), leftovers(repo, shared), check(repo)
    children, worktrees = me.children(recursive=True), len(list((repo.common_dir / "worktrees").glob("*")))
    return {
        "rate at the end over the start": (
            last.rate / first.rate >= SLOWER,
            f"{last.rate / first.rate:.2f} >= {SLOWER}",
        ),
        "rate by processor time at the end over the start": (
            last.work / first.work >= SLOWER,
            f"{last.work / first.work:.2f} >= {SLOWER} ({last.work:.0f} a processor second)",
        ),
        "process time at the end over the start": (
            first.cost / last.cost >= SLOWER,
            f"{last.cost:.2f} ms a candidate, {first.cost:.2f} at the start",
        ),
        "memory grows by": (grown <= HEAVIER, f"{grown:.2f} <= {HEAVIER} KiB a candidate"),
        "open files while it runs": (most <= OPEN, f"{most} <= {OPEN}"),
        "children while it runs": (
            last.children <= first.children + 1,
            f"{last.children} <= {first.children} + 1 of Git",
        ),
        "repository": (max(git, *(row.git for row in rows)) <= LARGER, f"{git / 1e6:.1f} MB at the end, at most 300"),
        "open files afterwards": (after <= files, f"{after} <= {files} before"),
        "processes afterwards": (not children, f"{len(children)} children"),
        "worktrees afterwards": (worktrees == 0 and len(checked_out(repo)) == 1, f"{worktrees} beside the checkout"),
        "files afterwards": (not left, ", ".join(left[:3]) or "nothing left behind"),
        "fsck": (
            report.clean and report.candidates >= watcher.count,
            f"{report.candidates:,} candidates, {report.entries:,} entries",
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", type=int, nargs="?", default=100_000)
    parser.add_argument("--files", type=int, default=10, help="in the repository")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sandbox", choices=["auto", "limits"], default="auto")
    parser.add_argument("--folder", type=Path, help="where the repository goes (default: the temporary folder)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="evogit-long-", dir=asked.folder))
    try:
        repo = make_repository(folder / "repository", asked.files)
        # What is opened once and kept is no leak, so a short run comes first.
        evolve(make_repository(folder / "first", asked.files), folder / "warm", 10, asked.jobs, asked.sandbox)
        gc.collect()
        files, shared = psutil.Process().num_fds(), shared_memory()
        watcher = evolve(repo, folder, asked.candidates, asked.jobs, asked.sandbox)
        found = limits(watcher, repo, files, shared)
        resumed = resume_seconds(repo)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    passed = all(held for held, _ in found.values())
    if asked.json:
        rows = [asdict(row) for row in watcher.rows]
        table = {name: {"held": held, "figures": text} for name, (held, text) in found.items()}
        print(json.dumps({"rows": rows, "limits": table, "seconds to resume": resumed, "passed": passed}))
        return 0 if passed else 1
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {asked.files} files")
    for row in watcher.rows:
        print(shown(row))
    for name, (held, text) in found.items():
        print(f"{'passed' if held else 'FAILED'}  {name}: {text}")
    print(f"resuming takes {resumed:.1f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
