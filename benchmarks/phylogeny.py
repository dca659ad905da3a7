"""What the phylogeny costs on synthetic histories, next to networkx and to Git processes doing the same.

A history is made in a real repository by ``git fast-import``: 64 lineages, every third commit a crossover. Each way is
measured in a process of its own, so that its peak memory is its own. Where another way would take minutes it is
measured on fewer questions and the figure is scaled; those are marked with ~. networkx is given the edges, read by us.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

HEADS = 64
TESTS = 1000
GOALS = {
    100_000: {"load, s": 1.0, "append, µs": 10.0, "64-head distances, s": 0.1, "svg, s": 3.0, "html, s": 10.0},
    1_000_000: {"load, s": 6.0, "memory of the load, MiB": 300.0},
}
NETWORKX_LIMIT = 100_000  # larger graphs take it gigabytes
SAMPLES = 5

T = TypeVar("T")


def stream(commits: int, seed: int = 1) -> Iterator[str]:
    """The history as commands for fast-import."""
    rng = random.Random(seed)
    tips = [1] * HEADS
    for i in range(1, commits + 1):
        lane = rng.randrange(HEADS)
        parents = [tips[lane]] if i > 1 else []
        if i % 3 == 0 and (mate := rng.choice(tips)) not in parents:
            parents.append(mate)
        lines = [f"commit refs/heads/lane{lane:02d}", f"mark :{i}"]
        lines += [f"committer Lane {lane} <lane@example.org> {1_700_000_000 + i // 20} +0000", "data 1", "x"]
        lines += [f"{'merge' if rank else 'from'} :{parent}" for rank, parent in enumerate(parents)]
        yield "\n".join([*lines, "", ""])
        tips[lane] = i


def make_repository(folder: Path, commits: int) -> Path:
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    importing = subprocess.Popen(["git", "-C", str(folder), "fast-import", "--quiet", "--force"], stdin=subprocess.PIPE)
    assert importing.stdin is not None
    with importing.stdin as pipe:
        for commit in stream(commits):
            pipe.write(commit.encode())
    if importing.wait():
        raise SystemExit(f"git fast-import failed with {importing.returncode}")
    return folder


def timed(work: Callable[[], T]) -> tuple[float, T]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def peak() -> float:
    """Peak memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# One size, in a process of its own


def ours(repository: Path) -> dict[str, float]:
    """Load, then ask."""
    from evogit.evolution.lineage import read_history
    from evogit.store.repository import find

    objects = find(repository).objects()
    before = peak()
    load, history = timed(lambda: read_history(objects))
    found = {"load, s": load, "memory of the load, MiB": peak() - before}
    heads = sorted(history.living)[:HEADS]
    rng = random.Random(2)
    pairs = [(rng.randrange(len(history)), rng.choice(heads)) for _ in range(TESTS)]
    history.reached(heads[:1])  # the lists that sweeps run on, made at the first question
    found["1,000 ancestor tests, s"] = timed(lambda: history.are_ancestors(pairs))[0]
    found["64-head distances, s"] = timed(lambda: history.all_distances(heads))[0]
    found["one MRCA, s"] = timed(lambda: history.mrca(*heads[:2]))[0]
    found["memory in all, MiB"] = peak()
    return found


def growing(repository: Path) -> dict[str, float]:
    """The graph a run keeps: appended to, and asked for a crossover's common ancestor now and then."""
    from evogit.evolution.lineage import read_history
    from evogit.phylogeny.graph import Phylogeny
    from evogit.store.repository import find

    history = read_history(find(repository).objects())
    names = [history.oid(i) for i in range(len(history))]
    parents = [[names[p] for p in history.parents(i)] for i in range(len(history))]
    graph = Phylogeny()

    def append() -> None:
        for oid, above in zip(names, parents, strict=True):
            graph.add(oid, above)

    spent, _ = timed(append)
    tips = [history.oid(i) for i in sorted(history.living)]
    for tip in tips:
        graph.is_ancestor(names[0], tip)  # a run has the masks of the living
    new = [(f"{k:040x}", tips[k % len(tips)], tips[(7 * k + 1) % len(tips)]) for k in range(200)]

    def cross() -> None:
        for oid, receiver, mate in new:
            graph.common_ancestor(receiver, mate)
            graph.add(oid, [receiver, mate])
            graph.is_ancestor(receiver, oid)

    return {
        "append, µs": spent / len(names) * 1e6,
        "append a crossover, masks kept, µs": timed(cross)[0] / len(new) * 1e6,
    }


def pictures(repository: Path, formats: Sequence[str] = ("svg", "html")) -> dict[str, float]:
    """The commands as a user types them, start of Python included."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="evogit-bench-") as folder:
        command = [sys.executable, "-m", "evogit", "-C", str(repository)]
        jobs = {"graph, s": ["graph"]}
        jobs |= {f"{kind}, s": ["export", "--format", kind, "-o", f"{folder}/picture.{kind}"] for kind in formats}
        for name, words in jobs.items():
            begun = time.perf_counter()
            if subprocess.run([*command, *words], capture_output=True, check=False).returncode == 0:
                found[name] = time.perf_counter() - begun
    return found


def networkx_does(repository: Path) -> dict[str, float]:
    """The same questions to a networkx graph, on a few of them."""
    import networkx as nx

    from evogit.evolution.lineage import read_history
    from evogit.store.repository import find

    history = read_history(find(repository).objects())
    edges = [(p, i) for i in range(len(history)) for p in history.parents(i)]
    before = peak()
    graph: nx.DiGraph[int] = nx.DiGraph()
    load, _ = timed(lambda: graph.add_edges_from(edges))
    heads, rng = sorted(history.living)[:HEADS], random.Random(2)
    pairs = [(rng.randrange(len(history)), rng.choice(heads)) for _ in range(SAMPLES)]
    tests, _ = timed(lambda: [nx.has_path(graph, a, b) for a, b in pairs])

    def distances() -> None:
        for a, b in itertools.islice(itertools.pairwise(heads), SAMPLES):
            len(nx.ancestors(graph, a) ^ nx.ancestors(graph, b))

    between, _ = timed(distances)
    return {
        "load, s": load,
        "memory of the load, MiB": peak() - before,
        "~1,000 ancestor tests, s": tests / SAMPLES * TESTS,
        # One set of ancestors for each head, then a symmetric difference for each pair.
        "~64-head distances, s": between / SAMPLES * HEADS / 2,
        "one MRCA, s": timed(lambda: nx.lowest_common_ancestor(graph, heads[0], heads[1]))[0],
    }


def git_does(repository: Path) -> dict[str, float]:
    """The same questions to Git, a process each."""
    git = ["git", "-C", str(repository)]

    def run(*words: str) -> str:
        return subprocess.run([*git, *words], capture_output=True, text=True, check=False).stdout

    load, _ = timed(lambda: run("rev-list", "--all", "--parents", "--topo-order"))
    heads = run("for-each-ref", "--format=%(objectname)", "refs/heads").split()[:HEADS]
    some = run("rev-list", "--all", "--max-count=2000").split()[:: 2000 // SAMPLES][:SAMPLES]
    tests, _ = timed(lambda: [run("merge-base", "--is-ancestor", oid, heads[0]) for oid in some])
    pairs = list(itertools.pairwise(heads))[:SAMPLES]
    between, _ = timed(lambda: [run("rev-list", "--count", f"{a}...{b}") for a, b in pairs])
    return {
        "load, s": load,
        "~1,000 ancestor tests, s": tests / len(some) * TESTS,
        "~64-head distances, s": between / len(pairs) * HEADS * (HEADS - 1) / 2,
        "one MRCA, s": timed(lambda: run("merge-base", "--all", *heads[:2]))[0],
    }


WAYS: dict[str, Callable[[Path], dict[str, float]]] = {
    "ours": ours,
    "growing": growing,
    "pictures": pictures,
    "networkx": networkx_does,
    "git": git_does,
}


def in_process(way: str, repository: Path) -> dict[str, float]:
    """One way's figures, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.phylogeny", "--measure", way, str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def bench(folder: Path, commits: int) -> dict[str, dict[str, float]]:
    """Way → figure → value, for one size. "without file" is the load before Git has written its commit-graph file."""
    repository = make_repository(folder / f"history-{commits}", commits)
    table: dict[str, dict[str, float]] = {"EvoGit": {}}
    bare = in_process("ours", repository)
    table["EvoGit"] |= {f"{name} (no commit-graph file)": bare[name] for name in ("load, s", "memory of the load, MiB")}
    subprocess.run(["git", "-C", str(repository), "commit-graph", "write", "--reachable"], check=True)
    for way in ("ours", "growing", "pictures"):
        table["EvoGit"] |= in_process(way, repository)
    table["Git"] = in_process("git", repository)
    if commits <= NETWORKX_LIMIT:
        table["networkx"] = in_process("networkx", repository)
    return table


def show(results: dict[int, dict[str, dict[str, float]]]) -> None:
    for commits, table in results.items():
        ways = list(table)
        names = list(dict.fromkeys(name.removeprefix("~") for way in ways for name in table[way]))
        print(f"\n{commits:,} commits" + " " * 32 + "".join(f"{way:>12}" for way in ways) + "        goal")
        for name in names:
            cells = []
            for way in ways:
                exact, scaled = table[way].get(name), table[way].get(f"~{name}")
                cells.append(f"{exact:,.4g}" if exact is not None else f"~{scaled:,.4g}" if scaled is not None else "")
            goal = GOALS.get(commits, {}).get(name)
            print(f"  {name:<46}" + "".join(f"{cell:>12}" for cell in cells) + (f"    ≤ {goal:g}" if goal else ""))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="commits, separated by commas")
    parser.add_argument("--folder", type=Path, help="where the repositories go (default: the temporary folder)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "REPOSITORY"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.measure:
        print(json.dumps(WAYS[asked.measure[0]](Path(asked.measure[1]))))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="evogit-bench-", dir=asked.folder))
    results: dict[int, dict[str, dict[str, float]]] = {}
    try:
        for commits in map(int, asked.sizes.split(",")):
            results[commits] = bench(folder, commits)
            shutil.rmtree(folder / f"history-{commits}", ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps(results))
    else:
        show(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
