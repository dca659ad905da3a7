"""What a cluster adds to one evaluation: the same trees by `local` and by Ray, in turn, in one process on one machine.

Each evaluation is of a tree that was never seen and differs in one file, asked for when the one before is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.__main__ import make_repository, make_task
from evogit.evaluation import sandbox
from evogit.evaluation.engines import Evaluates
from evogit.evaluation.engines.cluster import ClusterEvaluator
from evogit.evaluation.engines.ray import RayCluster
from evogit.evaluation.evaluator import Evaluator
from evogit.store.objects import Objects
from evogit.values import Oid

ROOT = Path(__file__).parent.parent
BATCH = 20  # evaluations on one engine before it is the other's turn


@contextlib.contextmanager
def nodes() -> Iterator[str]:
    """A Ray cluster of two nodes on this machine; its address."""
    program = [sys.executable, str(ROOT / "tests/raycluster.py")]
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["address"])
        finally:
            process.communicate()


def children(objects: Objects, start: Oid, count: int) -> list[Oid]:
    """So many trees, each with other numbers."""
    return [objects.edit(start, {"numbers.json": json.dumps([float(n)] * 20).encode()}) for n in range(count)]


async def timed(engine: Evaluates, trees: list[Oid]) -> list[float]:
    """Milliseconds of each, one after another."""
    spent = []
    for tree in trees:
        begun = time.perf_counter()
        found = await engine.evaluate(tree)
        spent.append((time.perf_counter() - begun) * 1e3)
        assert found.ok, found
    return spent


async def compare(folder: Path, address: str, files: int, count: int) -> dict[str, float]:
    """Median milliseconds of an evaluation on either engine, and what the cluster shipped for each."""
    task = make_task(folder / f"task-{files}")
    repository = make_repository(folder / f"repository-{files}", files)
    objects = repository.objects()
    head = objects.resolve("HEAD")
    assert head is not None
    trees = children(objects, objects.commit(head).tree, count)
    chosen = await asyncio.to_thread(sandbox.choose)
    need = {"CPU": 1.0}
    spent: dict[str, list[float]] = {"local": [], "ray": []}
    async with (
        Evaluator(task, objects, jobs=1, sandbox=chosen, scratch=folder / "scratch") as here,
        ClusterEvaluator(task, objects, RayCluster(address, need), need=need, jobs=1) as there,
    ):
        await timed(here, trees[:BATCH])
        await timed(there, trees[:BATCH])
        before = there.tally.shipped
        for at in range(BATCH, count, BATCH):
            batch = trees[at : at + BATCH]
            spent["local"] += await timed(here, batch)
            spent["ray"] += await timed(there, batch)
        shipped = there.tally.shipped - before
    local, ray = statistics.median(spent["local"]), statistics.median(spent["ray"])
    return {
        "local, ms per evaluation": local,
        "ray, ms per evaluation": ray,
        "ray adds, ms": ray - local,
        "ray over local": ray / local,
        "objects shipped per evaluation": shipped / (count - BATCH),
    }


def main(count: int = 420) -> int:
    with tempfile.TemporaryDirectory(prefix="evogit-bench-") as folder, nodes() as address:
        print("an evaluation here and on a Ray cluster of two nodes on this machine, one at a time")
        for files in (10, 2000):
            print(f"\n{files} files")
            for name, value in asyncio.run(compare(Path(folder), address, files, count)).items():
                print(f"  {name:<32}{value:>12,.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
