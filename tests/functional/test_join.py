"""Joining a run from a remote or a file: nothing else is to be set up."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import run_git
from tests.functional.test_engine import evogit, status
from tests.functional.test_sync import champion, clone, origin  # noqa: F401


def test_join_a_remote_and_go_on(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    one = clone(str(origin), tmp_path / "one")
    run_git("rm", "-q", ".evogit/config.toml", cwd=one)
    run_git("commit", "-qm", "No configuration", cwd=one)
    run_git("push", "-q", "origin", "HEAD", cwd=one)
    evogit(one, "run", "--task", "fit", "--candidates", "20", "--agents", "tinker:3", "--quiet", "--remote", "origin")
    found = json.loads(evogit(tmp_path, "join", str(origin), "two", "--json"))
    two = tmp_path / "two"
    assert (found["run"], found["candidates"], found["hosts"]) == ("main", 20, 1)
    assert 'agents = "tinker:3"' in (two / ".evogit/config.toml").read_text()
    assert champion(two) == champion(one)
    evogit(two, "run", "--candidates", "10", "--quiet")
    evogit(one, "sync")
    assert status(one)["candidates"] == status(two)["candidates"] == 30
    assert len(status(one)["hosts"]) == 2
    assert len([a for a in status(two)["agents"] if a["host"] == (two / ".git/evogit/host").read_text().strip()]) == 3
    evogit(two, "run", "--candidates", "1", "--quiet", "--remote", "origin")
    assert "exists and is not empty" in evogit(tmp_path, "join", str(origin), "two", code=1)
    assert "no run 'other'; there are: main" in evogit(tmp_path, "join", str(origin), "x", "--run", "other", code=2)
    assert "cannot clone" in evogit(tmp_path, "join", str(tmp_path / "nowhere"), "y", code=1)


def test_a_run_travels_in_files_without_a_network(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    one = clone(str(origin), tmp_path / "one")
    evogit(one, "run", "--candidates", "15", "--quiet")
    evogit(one, "bundle", str(tmp_path / "first.bundle"))
    evogit(tmp_path, "join", "first.bundle", "two")
    two = tmp_path / "two"
    assert "tinker:4" in (two / ".evogit/config.toml").read_text(), "what is committed is left as it is"
    assert champion(two) == champion(one)
    base = run_git("rev-parse", "HEAD", cwd=one)
    assert run_git("rev-parse", "HEAD", cwd=two) == base
    evogit(two, "run", "--candidates", "10", "--quiet")
    evogit(two, "bundle", str(tmp_path / "back.bundle"), "--since", str(tmp_path / "first.bundle"))
    assert (tmp_path / "back.bundle").stat().st_size < (tmp_path / "first.bundle").stat().st_size
    assert "taken in" in evogit(one, "join", str(tmp_path / "back.bundle"))
    assert status(one)["candidates"] == status(two)["candidates"] == 25
    assert champion(one) == champion(two)
    assert "clean" in evogit(one, "fsck")
    assert json.loads(evogit(one, "join", str(tmp_path / "back.bundle"), "--json"))["entries"] == 0
    (tmp_path / "bad.bundle").write_text("no bundle")
    assert "not a Git bundle" in evogit(one, "join", str(tmp_path / "bad.bundle"), code=2)
