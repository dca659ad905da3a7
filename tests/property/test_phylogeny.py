"""Ancestry, with Git and networkx as references, on random histories with merges, octopuses and wrong clocks."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.evolution.lineage import read_history
from evogit.phylogeny.graph import Phylogeny
from evogit.phylogeny.history import History, from_edges
from evogit.store.commitgraph import read_commits
from evogit.store.repository import find
from tests.conftest import run_git

SEEDS = st.integers(0, 10**9)


def random_parents(rng: random.Random, count: int) -> list[list[int]]:
    """Parents before children; roots, chains, merges of up to four, mostly of recent commits."""
    parents: list[list[int]] = []
    for i in range(count):
        recent = list(range(max(0, i - 6), i))
        parents.append(rng.sample(recent, min(len(recent), rng.choice((0, 1, 1, 1, 2, 2, 3, 4)) if i else 0)))
    return parents


def import_history(root: Path, rng: random.Random, parents: list[list[int]], begin: int = 0) -> list[str]:
    """Commit the history by ``git fast-import``, a branch on each commit; the ids in the order of `parents`."""
    run_git("init", "-q", "--bare", ".", cwd=root)
    lines = []
    for i, above in enumerate(parents):
        when = 1_700_000_000 + rng.randrange(3 * len(parents))  # children may seem older than their parents
        lines += [f"commit refs/heads/b{i}", f"mark :{i + 1}", f"committer Ada <ada@example.org> {when} +0000"]
        lines += [f"data {len(str(i))}", str(i)]
        lines += [f"{'merge' if k else 'from'} :{p + 1}" for k, p in enumerate(above)]
        lines.append("")
    marks = root / "marks"
    subprocess.run(
        ["git", "fast-import", "--quiet", f"--export-marks={marks}"],
        input="\n".join(lines).encode(),
        cwd=root,
        check=True,
    )
    oids = dict(line.split() for line in marks.read_text().splitlines())
    return [oids[f":{i + 1}"] for i in range(begin, len(parents))]


@contextmanager
def history_in_git(seed: int, count: int) -> Iterator[tuple[Path, list[list[int]], list[str], random.Random]]:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        parents = random_parents(rng, count)
        yield Path(folder), parents, import_history(Path(folder), rng, parents), rng


def git_says(root: Path, *arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_a_history_answers_as_git_does(seed: int, count: int) -> None:
    with history_in_git(seed, count) as (root, _, oids, rng):
        history = read_history(find(root).objects())
        assert sorted(history.oid(i) for i in range(len(history))) == sorted(oids)
        assert all(p < i for i in range(len(history)) for p in history.parents(i))
        heads = rng.sample(range(len(history)), min(8, len(history)))
        distances = history.all_distances(heads)
        _, shared = git_says(root, "merge-base", "--octopus", "--all", *(history.oid(i) for i in heads))
        assert sorted(history.oid(i) for i in history.mrca(*heads)) == sorted(shared)
        for _ in range(6):
            a, b = rng.choice(range(len(heads))), rng.choice(range(len(heads)))
            one, other = history.oid(heads[a]), history.oid(heads[b])
            _, bases = git_says(root, "merge-base", "--all", one, other)
            assert sorted(history.oid(i) for i in history.mrca(heads[a], heads[b])) == sorted(bases)
            status, _ = git_says(root, "merge-base", "--is-ancestor", one, other)
            assert history.is_ancestor(heads[a], heads[b]) == (status == 0)
            assert [history.is_ancestor(heads[a], heads[b])] == history.are_ancestors([(heads[a], heads[b])])
            _, [between] = git_says(root, "rev-list", "--count", f"{one}...{other}")
            assert distances[a, b] == int(between) == history.distance(heads[a], heads[b])
            _, above = git_says(root, "rev-list", "--first-parent", other)
            assert [history.oid(i) for i in history.first_parent_path(heads[b])] == above
            _, parents = git_says(root, "rev-list", "--parents", "-n1", other)
            assert [history.oid(i) for i in history.parents(heads[b])] == parents[1:]


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(2, 40))
def test_a_phylogeny_that_grows_answers_as_a_history(seed: int, count: int) -> None:
    rng = random.Random(seed)
    parents = random_parents(rng, count)
    oids = [f"{rng.getrandbits(160):040x}" for _ in range(count)]
    history, graph = from_edges(oids, parents), Phylogeny(mask_limit=3)
    for oid, above in zip(oids, parents, strict=True):
        graph.add(oid, [oids[p] for p in above])
        graph.retain(rng.sample(oids[: len(graph)], min(2, len(graph))))
    heads = rng.sample(range(count), min(5, count))
    assert graph.all_distances([oids[i] for i in heads]) == history.all_distances(heads).tolist()
    assert set(graph.tips()) == {oids[i] for i in history.tips()}
    for i in range(count):
        assert graph.generation(oids[i]) == history.generations[i]
        assert list(graph.parents(oids[i])) == [oids[c] for c in history.parents(i)]
        assert list(graph.children(oids[i])) == [oids[c] for c in history.children(i)]
        assert list(graph.first_parent_path(oids[i])) == [oids[c] for c in history.first_parent_path(i)]
    for _ in range(10):
        a, b = rng.randrange(count), rng.randrange(count)
        assert graph.is_ancestor(oids[a], oids[b]) == history.is_ancestor(a, b)
        assert graph.ancestors(oids[a]) == {oids[i] for i in np.flatnonzero(history.ancestors(a))}
        best = {oids[i] for i in history.mrca(a, b)}
        assert set(graph.common_ancestors(oids[a], oids[b])) == best
        one = graph.common_ancestor(oids[a], oids[b])
        assert one in best if best else one is None
        assert graph.distance(oids[a], oids[b]) == history.distance(a, b)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 30), st.sampled_from(["single", "split", "stale", "none"]))
def test_every_way_to_read_commits_gives_the_same(seed: int, count: int, kind: str) -> None:
    with history_in_git(seed, count) as (root, _, oids, rng):
        objects = find(root).objects()
        tips = rng.sample(oids, min(3, count))
        floor = rng.sample(oids, 1)
        plain = [read_commits(objects, tips), read_commits(objects, tips, floor)]
        some = "".join(f"{oid}\n" for oid in rng.sample(oids, (count + 1) // 2))
        write = ["git", "commit-graph", "write"]
        if kind in ("split", "stale"):
            subprocess.run([*write, "--stdin-commits", "--split=no-merge"], input=some.encode(), cwd=root, check=True)
        if kind in ("single", "split"):
            subprocess.run(
                [*write, "--reachable", *(["--split=no-merge"] if kind == "split" else [])], cwd=root, check=True
            )
        singly = rng.choice((0, 1, count // 2, 100))  # fewer than there are: Git lists them
        again = [read_commits(objects, tips, singly=singly), read_commits(objects, tips, floor, singly)]
        for before, after in zip(plain, again, strict=True):
            for name in ("oids", "offsets", "targets", "times", "generations"):
                assert (getattr(before, name) == getattr(after, name)).all(), name


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(2, 20), SEEDS)
def test_a_damaged_commit_graph_file_is_ignored(seed: int, count: int, damage: int) -> None:
    with history_in_git(seed, count) as (root, _, oids, _):
        objects = find(root).objects()
        plain = read_commits(objects, oids)
        run_git("commit-graph", "write", "--reachable", cwd=root)
        file = root / "objects/info/commit-graph"
        data = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(data[: damage % len(data)])
        assert (read_commits(objects, oids).oids == plain.oids).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 40))
def test_a_history_answers_as_networkx_does(seed: int, count: int) -> None:
    rng = random.Random(seed)
    parents = random_parents(rng, count)
    history = from_edges([f"{i:040x}" for i in range(count)], parents)
    graph = history.to_networkx()
    assert nx.is_directed_acyclic_graph(graph)
    lengths = {root: nx.single_source_shortest_path_length(graph, root) for root in graph if not graph.in_degree(root)}
    for i in range(count):
        oid = history.oid(i)
        assert {history.oid(int(k)) for k in np.flatnonzero(history.ancestors(i))} == nx.ancestors(graph, oid) | {oid}
        assert {history.oid(int(k)) for k in np.flatnonzero(history.descendants(i))} == nx.descendants(graph, oid) | {
            oid
        }
        assert sorted(history.oid(c) for c in history.children(i)) == sorted(graph.successors(oid))
        assert any(oid in reached for reached in lengths.values())
        heads = rng.sample(range(count), rng.randint(1, min(5, count)))
        words, everyone = history.reached(heads), (1 << len(heads)) - 1
        assert Counter(history.apart(heads)) == Counter(word for word in words if word not in (0, everyone))
    assert {history.oid(i) for i in history.tips()} == {oid for oid in graph if not graph.out_degree(oid)}
    assert int(history.generations.max()) == nx.dag_longest_path_length(
        graph, weight="no such attribute", default_weight=1
    )


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_a_part_keeps_its_edges_and_its_marks(seed: int, count: int) -> None:
    rng = random.Random(seed)
    parents = random_parents(rng, count)
    oids = [f"{rng.getrandbits(160):040x}" for _ in range(count)]
    living = frozenset(rng.sample(range(count), count // 2))
    history = from_edges(oids, parents, promoted={count - 1: "good"}, living=living, base=0, best=count - 1)
    mask = np.array([rng.random() < 0.6 for _ in range(count)])
    part = history.restrict(mask)
    assert _edges(part) == {(a, b) for a, b in _edges(history) if mask[history.index(a)] and mask[history.index(b)]}
    assert {part.oid(i) for i in part.living} == {oids[i] for i in history.living if mask[i]}
    assert (part.base is None) == (not mask[0])
    assert list(part.promoted.values()) == (["good"] if mask[count - 1] else [])
    assert [part.oid(part.index(oid)) for oid in oids if mask[oids.index(oid)]] == [
        o for o in oids if mask[oids.index(o)]
    ]


def _edges(history: History) -> set[tuple[str, str]]:
    return {(history.oid(p), history.oid(i)) for i in range(len(history)) for p in history.parents(i)}


def test_the_edge_of_a_shallow_clone_is_a_root(tmp_path: Path) -> None:
    rng = random.Random(1)
    whole = tmp_path / "whole"
    whole.mkdir()
    import_history(whole, rng, [[], [0], [1], [2], [3]])
    run_git("clone", "-q", "--bare", "--depth=2", "--branch=b4", f"file://{whole}", "part", cwd=tmp_path)
    objects = find(tmp_path / "part").objects()
    history = read_history(objects)
    assert [history.parents(i) for i in range(len(history))] == [[], [0]]
    listed = read_commits(objects, [history.oid(1)], singly=0)
    assert (listed.offsets.tolist(), listed.targets.tolist()) == ([0, 0, 1], [0])


def test_nothing_to_read_is_said() -> None:
    assert len(from_edges([], [])) == 0
    assert from_edges([], []).tips() == []
