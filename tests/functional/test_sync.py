"""`evogit sync`: hosts that share a Git remote and nothing else come to the same record."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evogit.phylogeny.graph import Phylogeny
from tests.conftest import run_git
from tests.functional.test_engine import evogit, project, status


def clone(origin: str, at: Path) -> Path:
    run_git("clone", "-q", origin, str(at), cwd=at.parent)
    return at


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    (tmp_path / "seed").mkdir()
    seed = project(tmp_path / "seed")
    run_git("clone", "-q", "--bare", str(seed), str(tmp_path / "origin.git"), cwd=tmp_path)
    return tmp_path / "origin.git"


def champion(at: Path) -> dict[str, Any]:
    """What hosts agree on of the best; which branch stands on it is each repository's own."""
    found: dict[str, Any] = status(at)["best"]
    del found["branch"]
    return found


NOTHING_NEW = {"entries": 0, "pushed": [], "complaints": [], "copied": False, "notes": []}


def sync(at: Path, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, "sync", "--json", code=code)) if not code else {}
    return found


def test_hosts_that_met_agree(tmp_path: Path, origin: Path) -> None:
    one, other = clone(str(origin), tmp_path / "one"), clone(str(origin), tmp_path / "other")
    users = run_git("for-each-ref", "refs/heads/main", "refs/remotes", cwd=one)
    evogit(one, "run", "--candidates", "30", "--seed", "1", "--quiet")
    assert sync(one)["pushed"]
    assert sync(other)["entries"] > 30
    evogit(other, "run", "--candidates", "90", "--seed", "2", "--policy", "paper", "--quiet")
    trees = [
        tuple(found)
        for line in run_git("log", "--format=%B", "--glob=refs/evogit/main/journal/", cwd=other).splitlines()
        if line.startswith("{") and (found := key(json.loads(line)))
    ]
    assert len(trees) == len(set(trees)), "no tree is evaluated where its journal has been seen"
    evogit(one, "run", "--candidates", "30", "--seed", "3", "--quiet")
    sync(other)
    sync(one)
    assert sync(other)["entries"] > 0
    first, second = status(one), status(other)
    assert first["candidates"] == second["candidates"] == 150
    assert champion(one) == champion(other)
    assert first["rejected"] == second["rejected"]
    places = [
        {(agent["host"], agent["name"]): agent["commit"] for agent in found["agents"]} for found in (first, second)
    ]
    # An agent without an accepted child is on no record yet: only its own host has its branch.
    both = places[0].keys() & places[1].keys()
    assert both, (first, second)
    assert {name: places[0][name] for name in both} == {name: places[1][name] for name in both}
    for at in (one, other):
        assert sync(at) == {**NOTHING_NEW, "remote": "origin"}
        assert "clean" in evogit(at, "fsck")
    assert run_git("for-each-ref", "refs/heads/main", "refs/remotes", cwd=one) == users


def key(entry: dict[str, Any]) -> tuple[str, int] | None:
    """What an evaluation of a failed or worse candidate is known by; accepted duplicates are looked up, not run."""
    decided = entry["kind"] == "evaluated" and entry.get("decision") not in (None, "accepted")
    return (str(entry["tree"]), int(entry.get("epoch", 0))) if decided else None


def test_decisions_travel_and_a_cut_off_host_says_so(tmp_path: Path, origin: Path) -> None:
    one, other = clone(str(origin), tmp_path / "one"), clone(str(origin), tmp_path / "other")
    evogit(one, "run", "--candidates", "10", "--seed", "1", "--quiet")
    best = status(one)["best"]["commit"]
    run_git("tag", "evogit/main/pin/this", best, cwd=one)
    sync(one)
    sync(other)
    assert run_git("rev-parse", "refs/tags/evogit/main/pin/this", cwd=other) == best
    origin.rename(tmp_path / "away.git")
    assert "cannot fetch from origin" in evogit(other, "sync", code=1)
    assert "no remote 'nowhere'" in evogit(other, "sync", "--remote", "nowhere", code=2)
    assert "a:b" not in evogit(other, "sync", "--remote", "https://a:b@example.invalid/x", code=2)


def test_another_copy_of_a_repository_overwrites_nothing(tmp_path: Path, origin: Path) -> None:
    one = clone(str(origin), tmp_path / "one")
    evogit(one, "run", "--candidates", "5", "--seed", "1", "--quiet")
    sync(one)
    subprocess.run(["cp", "-r", str(one), str(tmp_path / "copy")], check=True)
    for at, seed in ((one, "2"), (tmp_path / "copy", "3")):
        evogit(at, "run", "--candidates", "5", "--seed", seed, "--quiet")
    sync(one)
    there = run_git("for-each-ref", "refs/evogit/", cwd=origin)
    copy = tmp_path / "copy"
    old = (one / ".git/evogit/host").read_text().strip()
    acknowledged = set(run_git("rev-list", "--glob=refs/evogit/main/journal", cwd=copy).splitlines())
    mine = run_git("for-each-ref", "--format=%(objectname)", f"refs/heads/evogit/main/{old}", cwd=copy).split()
    assert "this one is" in evogit(copy, "sync")
    new = (copy / ".git/evogit/host").read_text().strip()
    assert new != old
    after = dict(line.split("\t")[::-1] for line in run_git("ls-remote", str(origin), cwd=copy).splitlines())
    assert all(after[line.split()[-1]] == line.split()[0] for line in there.splitlines()), "the other's are untouched"
    found = run_git("for-each-ref", "--format=%(objectname)", f"refs/heads/evogit/main/{new}", cwd=copy).split()
    assert found == mine, "its agents stand where they stood"
    assert status(copy)["candidates"] == 15
    copied = run_git("log", "--format=%B", f"refs/evogit/main/journal/{new}-0", cwd=copy)
    lost = acknowledged - set(run_git("rev-list", "--glob=refs/evogit/main/journal", cwd=copy).splitlines())
    assert all(oid in copied for oid in lost if "EvoGit-Run" not in run_git("log", "-1", "--format=%B", oid, cwd=copy))
    for at in (one, copy, one):
        sync(at)
    assert status(one)["candidates"] == 15
    assert champion(one) == champion(copy)
    assert {row["host"] for row in status(one)["hosts"]} == {old, new}
    for at in (one, copy):
        assert "clean" in evogit(at, "fsck")


def test_a_remote_that_takes_no_pack_is_no_copy_of_this_repository(tmp_path: Path, origin: Path) -> None:
    """An object that is missing here breaks the push, over and over: that is said, and the host keeps its name."""
    host = clone(str(origin), tmp_path / "host")
    evogit(host, "run", "--candidates", "5", "--quiet")
    evogit(host, "sync")
    evogit(host, "run", "--candidates", "5", "--quiet")
    name = (host / ".git/evogit/host").read_text()
    hook = origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert "refused" in evogit(host, "sync", code=1)
    assert (host / ".git/evogit/host").read_text() == name
    hook.unlink()
    evogit(host, "sync")
    assert status(clone_and_sync(origin, tmp_path / "other"))["candidates"] == 10


@pytest.mark.parametrize("first", [("sync",), ("run", "--remote", "origin", "--candidates", "3", "--quiet")])
@pytest.mark.parametrize("killed", [False, True], ids=["ends", "killed"])
def test_exchanges_of_one_host_wait_for_each_other(
    tmp_path: Path, origin: Path, first: tuple[str, ...], killed: bool
) -> None:
    host = clone(str(origin), tmp_path / "host")
    evogit(host, "run", "--candidates", "5", "--quiet")
    begun, go = tmp_path / "begun", tmp_path / "go"
    slow = tmp_path / "upload-pack"
    slow.write_text(f'#!/bin/sh\n: >{begun}\nwhile [ ! -e {go} ]; do sleep 0.05; done\nexec git-upload-pack "$@"\n')
    slow.chmod(0o755)
    run_git("config", "remote.origin.uploadpack", str(slow), cwd=host)
    with start(host, *first) as one:
        wait_for(begun)
        with start(host, "sync") as other:
            assert other.stderr is not None
            assert "waiting for it" in other.stderr.readline()
            if killed:
                one.kill()
                one.wait()
            assert other.poll() is None
            go.touch()
            output, errors = other.communicate(timeout=120)
        assert other.returncode == 0, errors
        assert "refs pushed" in output
        one.communicate(timeout=120)
    assert one.returncode == (-9 if killed else 0)
    assert sync(host) == {**NOTHING_NEW, "remote": "origin"} or first[0] == "run"


def start(at: Path, *words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "evogit", "-C", str(at), *words], stdout=pipe, stderr=pipe, stdin=pipe, text=True
    )


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path} never came")


def clone_and_sync(origin: Path, at: Path) -> Path:
    evogit(clone(str(origin), at), "sync")
    return at


def test_a_parent_may_come_after_its_children() -> None:
    early, late = Phylogeny(), Phylogeny()
    base, a, b, c = (digit * 40 for digit in "0abc")
    edges = {base: (), a: (base,), b: (a,), c: (a, b)}
    for oid in (base, a, b, c):
        early.add(oid, edges[oid])
    for oid in (c, base, b, a):
        late.add(oid, edges[oid])
    for oid in edges:
        assert late.ancestors(oid) == early.ancestors(oid)
        assert set(late.parents(oid)) == set(early.parents(oid))
