"""`make bench`: what the framework itself costs, with a trivial evaluator, on real Git, real processes, a real disk.

Every third step is a crossover, so that the history is criss-cross. Process time is this process's CPU time, without
the evaluations' own; rates are wall-clock, end to end, with the sandbox the machine has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evogit.catalog import Task, load_agent, load_task_folder
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator
from evogit.evolution import events, session
from evogit.evolution.budget import Budget
from evogit.evolution.engine import Engine
from evogit.evolution.session import Plan, read_population
from evogit.store import repository
from evogit.store.repository import Repository

EVALUATE = '''"""A trivial evaluator: how far the numbers are from a far target."""
import json


def evaluate(folder):
    numbers = json.loads((folder / "numbers.json").read_text())
    return -sum(abs(1e6 * (i + 1) - x) for i, x in enumerate(numbers))
'''

TASK = """direction = "maximize"
evolve = ["*.json"]
[evaluation]
function = "evaluate.py:evaluate"
preload = ["json"]
deadline = 10
"""


@dataclass
class Measured:
    """One run: seconds since the start and process seconds at each candidate."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def rate(self, first: int, last: int) -> float:
        """Candidates per second between two candidates."""
        return (last - first) / (self.wall[last] - self.wall[first])

    def cost(self, first: int, last: int) -> float:
        """Process milliseconds per candidate between two candidates."""
        return (self.cpu[last] - self.cpu[first]) / (last - first) * 1e3


def make_task(folder: Path) -> Task:
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(TASK)
    (folder / "goal.md").write_text("Bring the numbers near their targets.\n")
    (folder / "evaluate.py").write_text(EVALUATE)
    return load_task_folder(folder)


def make_repository(folder: Path, files: int) -> Repository:
    numbers = json.dumps([float(i) for i in range(20)], indent=1).encode()
    content = {
        f"package{i % 20:02d}/module{i:04d}.py": (f"VALUE = {i}\n".encode() * 20, False) for i in range(files - 1)
    }
    return repository.create(folder, {"numbers.json": (numbers, False), **content}, "start")


def evolve(repo: Repository, task: Task, candidates: int, jobs: int, tier: str) -> Measured:
    """Run `candidates` candidates of the `paper` policy with eight `dial` agents."""
    agent = load_agent("dial", None)
    plan = Plan(
        "main", ((agent, 8),), task=task, policy="paper", jobs=jobs, budget=Budget(candidates=candidates), seed=1
    )
    measured = Measured()
    chosen = sandbox.choose("auto" if tier == "auto" else "limits")
    begun, spent = time.perf_counter(), time.process_time()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Candidate):
            measured.wall.append(time.perf_counter() - begun)
            measured.cpu.append(time.process_time() - spent)

    async def run(opened: session.Session) -> None:
        scratch = repo.run_folder("main")
        async with Evaluator(
            opened.task, opened.objects, jobs=jobs, sandbox=chosen, scratch=scratch, overlay=opened.overlay
        ) as evaluator:
            await Engine(opened, evaluator, listen).run()

    with session.opened(repo, plan) as opened:
        asyncio.run(run(opened))
    return measured


def git_size(repo: Repository) -> int:
    """Bytes of the packed repository."""
    subprocess.run(["git", "-C", str(repo.git_dir), "repack", "-adq"], check=True)
    out = subprocess.run(
        ["git", "-C", str(repo.git_dir), "count-objects", "-v"], check=True, capture_output=True, text=True
    ).stdout
    sizes = dict(line.split(": ") for line in out.splitlines())
    return (int(sizes["size-pack"]) + int(sizes["size"])) * 1024


def resume_seconds(repo: Repository) -> float:
    begun = time.perf_counter()
    read_population(repo.objects(), "main")
    return time.perf_counter() - begun


def bench(folder: Path, files: int, candidates: int, jobs: int, tier: str) -> dict[str, float]:
    """Measure one repository size; keys are the rows of the table."""
    task = make_task(folder / f"task-{files}")
    repo = make_repository(folder / f"repository-{files}", files)
    before = git_size(repo)
    measured = evolve(repo, task, candidates, jobs, tier)
    last = len(measured.wall) - 1
    window = min(1000, last // 4)
    early, late = measured.rate(window // 2, window // 2 + window), measured.rate(last - window, last)
    return {
        "process ms per candidate": measured.cost(0, last),
        "candidates/s": measured.rate(0, last),
        f"candidates/s around {window}": early,
        f"candidates/s around {last + 1}": late,
        "early over late": early / late,
        "bytes per candidate, packed": (git_size(repo) - before) / candidates,
        "seconds to resume": resume_seconds(repo),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=20_000, help="on the small repository; a fifth on the large")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sandbox", choices=["auto", "limits"], default="auto")
    parser.add_argument("--folder", type=Path, help="where the repositories go (default: the temporary folder)")
    parser.add_argument("--agents", type=int, default=500, help="model-driven agents in flight (0: leave that out)")
    parser.add_argument("--cluster", type=int, default=420, help="evaluations on a Ray cluster (0: leave that out)")
    parser.add_argument("--hosts", type=int, default=1000, help="that share a remote (0: leave that out)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="evogit-bench-", dir=asked.folder))
    try:
        rows = {
            files: bench(folder, files, count, asked.jobs, asked.sandbox)
            for files, count in ((10, asked.candidates), (2000, max(200, asked.candidates // 5)))
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps(rows))
        return 0
    tier = sandbox.choose(asked.sandbox).name
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, sandbox {tier}")
    for files, row in rows.items():
        print(f"\n{files} files, {asked.jobs} jobs")
        for name, value in row.items():
            print(f"  {name:<32}{value:>12,.2f}")
    if asked.agents:
        from benchmarks.agents import main as crowd

        print()
        crowd(asked.agents, 8 * asked.agents)
    if asked.cluster:
        from benchmarks.cluster import main as cluster

        print()
        cluster(asked.cluster)
    if asked.hosts:
        from benchmarks.sync import main as exchange

        print()
        exchange(["--hosts", "10", "100", str(asked.hosts)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
