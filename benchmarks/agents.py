"""Many model-driven agents at once: the event loop's lag and the framework's own cost, against a slow local server."""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.__main__ import make_repository, make_task
from evogit.catalog import load_agent
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.sandbox import Sandbox
from evogit.evolution import events, session
from evogit.evolution.budget import Budget
from evogit.evolution.engine import Engine
from evogit.evolution.session import Plan
from evogit.models.desk import Desk
from evogit.models.openai import connect
from evogit.tables import ModelTable
from evogit.variation.making import Workshop

ROOT = Path(__file__).parents[1]
TICK = 0.005  # seconds between two looks at the loop's lag


@contextmanager
def server(latency: float) -> Iterator[str]:
    """A scripted model in a process of its own; its base URL."""
    command = [sys.executable, "-m", "benchmarks.slowmodel", "--latency", str(latency)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.kill()


async def _measure(agents: int, candidates: int, latency: float, folder: Path, chosen: Sandbox) -> None:
    task = make_task(folder / "task")
    repository = make_repository(folder / "repo", 10)
    with server(latency) as url:
        table = ModelTable(model="bench", base_url=url, max_concurrency=agents, timeout=60.0, max_tokens=200)
        desk = Desk({"bench": connect("bench", table, {})}, {"bench": table}, time.monotonic)
        coder = replace(load_agent("coder", None), models={"bench": 1.0})
        plan = Plan("main", ((coder, agents),), task, jobs=2, seed=1, budget=Budget(candidates=candidates))
        lags: list[float] = []
        walls: list[float] = []

        def listen(event: events.Event) -> None:
            if isinstance(event, events.Candidate):
                walls.append(time.perf_counter())

        async def watch() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(TICK)
                lags.append(time.perf_counter() - before - TICK)

        with session.opened(repository, plan) as opened:
            scratch = folder / "scratch"
            async with Evaluator(task, opened.objects, jobs=2, sandbox=chosen, scratch=scratch) as evaluator:
                engine = Engine(opened, evaluator, listen, Workshop(desk, opened.editable, {}))
                watching = asyncio.create_task(watch())
                begun, cpu = time.perf_counter(), time.process_time()
                finished = await engine.run()
                seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
                watching.cancel()
        await desk.close()
    lags.sort()
    p99 = lags[math.ceil(0.99 * len(lags)) - 1] * 1e3
    middle = walls[len(walls) // 4 :]
    steady = (len(middle) - 1) / (middle[-1] - middle[0])
    print(
        f"{agents} agents in flight, {latency:g} s latency: {finished.candidates} candidates in {seconds:.1f} s, "
        f"{finished.candidates / seconds:.0f}/s overall, {steady:.0f}/s after the first quarter (the latency allows "
        f"{agents / latency:.0f}/s); {cpu / max(1, finished.candidates) * 1e3:.2f} ms process time a candidate; "
        f"loop lag p50 {lags[len(lags) // 2] * 1e3:.1f} ms, p99 {p99:.1f} ms, worst {lags[-1] * 1e3:.0f} ms"
    )
    print(f"rejected: {dict(finished.rejected)}")


def main(agents: int = 500, candidates: int = 4000, latency: float = 2.0) -> None:
    """Print the figures. Raises nothing of its own."""
    with tempfile.TemporaryDirectory(prefix="evogit-bench-") as place:
        asyncio.run(_measure(agents, candidates, latency, Path(place), sandbox.choose("auto")))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
