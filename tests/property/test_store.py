"""Properties of objects, packs, journals and ancestry, with Git as the reference."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import Clock, compose, parse
from evogit.store.objects import EMPTY_TREE, Identity, Objects
from evogit.store.repository import find
from tests.conftest import run_git

NAMES = st.sampled_from(["a", "a.b", "a0", "b", "a-", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ADA = Identity("Ada", "ada@example.org", 1_700_000_000)


def fresh(folder: str) -> Objects:
    run_git("init", "-q", ".", cwd=Path(folder))
    return find(Path(folder)).objects()


def without_clashes(files: dict[str, bytes]) -> dict[str, bytes]:
    """Only files none of which is a folder of another."""
    return {p: d for p, d in files.items() if not any(q.startswith(p + "/") for q in files)}


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(PATHS, st.binary(max_size=8), max_size=8),
    st.dictionaries(PATHS, st.none() | st.binary(max_size=8), max_size=6),
)
def test_edited_trees_are_gits(files: dict[str, bytes], changes: dict[str, bytes | None]) -> None:
    files = without_clashes(files)
    after: dict[str, bytes] = dict(files)
    for path, data in changes.items():
        if data is None:
            after.pop(path, None)
        else:
            after[path] = data
    if without_clashes(after) != after:
        return
    with tempfile.TemporaryDirectory() as folder:
        objects = fresh(folder)
        tree = objects.edit(EMPTY_TREE, files)
        edited = objects.edit(tree, changes)
        objects.put_commit(edited, [], ADA, "x")
        objects.flush()
        root = Path(folder)
        for path, data in after.items():
            oid = objects.put_blob(data)
            run_git("update-index", "--add", "--cacheinfo", f"100644,{oid},{path}", cwd=root)
        assert edited == run_git("write-tree", cwd=root)
        assert set(objects.listing(edited)) == set(after)
        expected = {p for p in files.keys() | after.keys() if files.get(p) != after.get(p)}
        assert set(objects.diff(tree, edited)) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(min_size=1).map(lambda k: "x" + k), JSON, max_size=4), st.integers(0, 10**6))
def test_entries_are_read_as_they_were_written(subject: str, data: dict[str, Any], sequence: int) -> None:
    subject = subject.encode("utf-8", "replace").decode()
    message = compose("evaluated", subject, "host-0", sequence, Clock(12345, 6), data)
    entry = parse("0" * 40, EMPTY_TREE, ("1" * 40, "2" * 40), message)
    assert (entry.kind, entry.writer, entry.sequence, entry.clock) == ("evaluated", "host-0", sequence, Clock(12345, 6))
    assert entry.data == data
    assert entry.candidate == ("2" * 40 if sequence else "1" * 40)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9), st.integers(2, 25))
def test_ancestry_is_gits(seed: int, count: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        objects = fresh(folder)
        graph = Phylogeny(mask_limit=3)
        commits: list[str] = []
        for number in range(count):
            parents = rng.sample(commits, min(len(commits), rng.choice((0, 1, 1, 2, 2))))
            commit = objects.put_commit(EMPTY_TREE, parents, ADA, f"{number}")
            graph.add(commit, parents)
            commits.append(commit)
        objects.flush()
        root = Path(folder)
        run_git("hash-object", "-t", "tree", "-w", "/dev/null", cwd=root)
        for _ in range(6):
            a, b = rng.choice(commits), rng.choice(commits)
            graph.retain(rng.sample(commits, 2))
            bases = _lines(root, "merge-base", "--all", a, b)
            shared = graph.common_ancestor(a, b)
            assert (shared in bases) if bases else shared is None
            assert graph.is_ancestor(a, b) == (a in _lines(root, "rev-list", b))
            assert graph.distance(a, b) == int(run_git("rev-list", "--count", f"{a}...{b}", cwd=root))


def _lines(root: Path, *arguments: str) -> list[str]:
    import subprocess

    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.split()


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 50))
def test_the_clock_never_goes_back(first: int, now: int, ticks: int) -> None:
    clock = Clock(first)
    for _ in range(ticks):
        later = clock.next(now)
        assert later > clock
        clock = later
