"""A remote that has lost objects: every host says so and goes on, and an empty one in its place is filled by them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import run_git
from tests.functional.test_engine import evogit
from tests.functional.test_remote_runs import folded
from tests.functional.test_sync import clone, origin, sync  # noqa: F401

SAID = "origin has lost objects of this run"


def lose(at: Path, revision: str) -> None:
    oid = run_git("rev-parse", revision, cwd=at)
    (at / "objects" / oid[:2] / oid[2:]).unlink()


def run(at: Path, *words: str) -> tuple[set[str], str]:
    """Candidates that a run over the remote acknowledged, and what it said besides."""
    command = [sys.executable, "-m", "evogit", "-C", str(at), "run", "--remote", "origin", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    said = [event["text"] for event in events if event["event"] == "notice"]
    return {event["commit"] for event in events if event["event"] == "candidate"}, "\n".join([done.stderr, *said])


def refs_of(at: Path, *patterns: str) -> dict[str, str]:
    found = run_git("for-each-ref", "--format=%(refname) %(objectname)", *patterns, cwd=at)
    return dict(line.split() for line in found.splitlines())


def test_an_empty_remote_is_filled_by_all_hosts(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    one, other, new = clone(str(origin), tmp_path / "one"), clone(str(origin), tmp_path / "other"), tmp_path / "new.git"
    known = run(one, "--candidates", "8", "--seed", "1")[0] | run(other, "--candidates", "8", "--seed", "2")[0]
    first, second = (next(iter(refs_of(at, "refs/heads/evogit").values())) for at in (one, other))
    evogit(one, "promote", first, "--name", "v1")
    run_git("tag", "evogit/main/pin/this", first, cwd=one)
    run_git("branch", "evogit/main/human/mine", second, cwd=other)
    for at in (one, other):
        sync(at)
    lose(origin, next(iter(refs_of(one, "refs/evogit"))))
    for at in (one, other):
        found, said = run(at, "--candidates", "4", "--seed", "3")
        assert len(found) == 4
        assert SAID in said
        known |= found
    run_git("init", "-q", "--bare", str(new), cwd=tmp_path)
    for at in (one, other):
        run_git("remote", "set-url", "origin", str(new), cwd=at)
    for at in (one, other, one):
        sync(at)
    assert folded(one) == folded(other)
    for at in (one, other):
        assert refs_of(at, "refs/evogit") == refs_of(new, "refs/evogit")
        assert "clean" in evogit(at, "fsck")
    assert known <= set(run_git("rev-list", "--all", cwd=new).split()), "acknowledged, so it is at the new remote"
    shared = ("refs/heads/evogit", "refs/tags")
    assert refs_of(one, *shared).items() | refs_of(other, *shared).items() == refs_of(new, *shared).items()
    assert {"refs/heads/evogit/main/human/mine", "refs/heads/evogit/main/promoted/v1"} <= refs_of(new, *shared).keys()


def test_who_joins_is_told_of_a_lost_file(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    """Who has it already needs nothing of it and notices nothing."""
    host = clone(str(origin), tmp_path / "host")
    evogit(host, "run", "--candidates", "8", "--quiet", "--remote", "origin")
    lose(origin, f"{next(iter(refs_of(host, 'refs/evogit')))}^2:program.py")
    assert SAID in evogit(tmp_path, "join", str(origin), str(tmp_path / "third"), code=1)
    sync(host)


def test_a_running_host_fills_the_remote_that_is_put_in_its_place(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    host, new = clone(str(origin), tmp_path / "host"), tmp_path / "new.git"
    evogit(host, "run", "--candidates", "8", "--quiet", "--remote", "origin")
    lose(origin, next(iter(refs_of(host, "refs/evogit"))))
    words = ["run", "--remote", "origin", "--sync-every", "200ms", "--seconds", "100s", "--jobs", "1", "--json"]
    command = [sys.executable, "-m", "evogit", "-C", str(host), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if SAID in line:
                break
        run_git("init", "-q", "--bare", str(new), cwd=tmp_path)
        run_git("remote", "set-url", "origin", str(new), cwd=host)
        for _ in process.stdout:
            if run_git("for-each-ref", "refs/evogit", cwd=new):
                break
        process.terminate()
        process.communicate(timeout=120)
    ours = ("refs/evogit", "refs/heads/evogit")
    assert refs_of(host, *ours) == refs_of(new, *ours)
    run_git("fsck", cwd=new)
