"""`archive`, `drop` and `clean`: a run leaves in one file that brings it back, or for good, never by accident."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from evogit.store.repository import RunLock, find
from tests.conftest import run_git
from tests.functional.test_engine import evogit, project, status


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("run"))
    evogit(root, "run", "--candidates", "25", "--deterministic", "--seed", "1", "--quiet")
    evogit(root, "--run", "other", "run", "--candidates", "5", "--deterministic", "--seed", "1", "--quiet")
    evogit(root, "promote", "best", "--name", "v1", "-m", "good")
    return root


@pytest.fixture
def ran(made: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", str(made), str(tmp_path / "run")], check=True)
    return tmp_path / "run"


def photograph(at: Path, run: str = "main") -> list[str]:
    lines = run_git("for-each-ref", cwd=at).splitlines()
    return [line for line in lines if f"evogit/{run}/" in line]


def test_an_archive_brings_the_run_back(ran: Path, tmp_path: Path) -> None:
    before, others, known = photograph(ran), photograph(ran, "other"), status(ran)
    dry = json.loads(evogit(ran, "archive", "main", "--dry-run", "--json"))
    assert not dry["removed"]
    assert photograph(ran) == before
    file = tmp_path / "main.bundle"
    found = json.loads(evogit(ran, "archive", "main", "-o", str(file), "--json"))
    assert found["removed"]
    assert found["candidates"] == 25
    assert found["decisions"] == 1
    assert found["people"] == ["refs/heads/evogit/main/promoted/v1"]
    assert photograph(ran) == []
    assert photograph(ran, "other") == others
    assert not (ran / ".git/evogit/main").exists()
    run_git("bundle", "verify", "-q", str(file), cwd=ran)
    assert "no run 'main'" in evogit(ran, "status", code=2)
    run_git("gc", "-q", "--prune=now", cwd=ran)
    run_git("fetch", "-q", str(file), "refs/*:refs/*", cwd=ran)  # as the message says
    assert photograph(ran) == before
    assert status(ran) == known
    assert "clean" in evogit(ran, "fsck")
    evogit(ran, "run", "--candidates", "5", "--quiet")
    assert status(ran)["candidates"] == 30


def test_nothing_is_removed_when_the_file_cannot_be_written(ran: Path, tmp_path: Path) -> None:
    before = photograph(ran)
    assert "No such file" in evogit(ran, "archive", "-o", str(tmp_path / "no/such.bundle"), code=1)
    (tmp_path / "there").write_text("mine")
    assert "exists already" in evogit(ran, "archive", "-o", str(tmp_path / "there"), code=2)
    assert (tmp_path / "there").read_text() == "mine"
    assert photograph(ran) == before


def test_drop_says_what_goes_and_asks(ran: Path) -> None:
    before = photograph(ran)
    said = evogit(ran, "drop", "main", code=2)
    assert "25 candidates" in said
    assert "promoted/v1" in said
    assert "--yes" in said
    evogit(ran, "drop", "main", "--dry-run")
    assert photograph(ran) == before
    found = json.loads(evogit(ran, "drop", "main", "--yes", "--json"))
    assert found["removed"]
    assert found["refs"] == len(before)
    assert found["bytes"] > 1000
    assert photograph(ran) == []
    assert photograph(ran, "other")
    assert "no run 'main'" in evogit(ran, "drop", "main", "--yes", code=2)
    assert "clean" in evogit(ran, "fsck")


@pytest.mark.parametrize("row", ["writers", "reviewers"])
@pytest.mark.parametrize("words", [["archive"], ["drop", "--yes"], ["drop", "--dry-run"]])
def test_a_run_that_somebody_holds_stays(ran: Path, row: str, words: list[str]) -> None:
    before = photograph(ran)
    lock = RunLock(find(ran), "main", "writers" if row == "writers" else "reviewers")
    lock.acquire(alongside=True)
    try:
        assert "holds run" in evogit(ran, *words, code=5)
    finally:
        lock.release()
    assert photograph(ran) == before


def test_a_checked_out_branch_stays(ran: Path) -> None:
    run_git("switch", "-q", "evogit/main/promoted/v1", cwd=ran)
    assert "git switch" in evogit(ran, "drop", "--yes", code=2)
    assert photograph(ran)


def test_clean_finds_workspaces_and_locks_of_the_dead(ran: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    work = ran / f".git/evogit/main/scratch/evogit-{dead.pid}-abc"
    (work / "slots").mkdir(parents=True)
    living = ran / f".git/evogit/main/scratch/evogit-{os.getpid()}-abc"
    living.mkdir()
    lock = ran / ".git/refs/evogit/main/journal/x-0.lock"
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)
    removed = json.loads(evogit(ran, "clean", "--json"))["removed"]
    assert {str(work), str(lock)} <= set(removed)
    assert not work.exists()
    assert living.exists()
    assert not lock.exists()


def test_a_run_removes_locks_of_the_dead_and_names_what_removes_young_ones(ran: Path) -> None:
    journal = run_git("for-each-ref", "--format=%(refname)", "refs/evogit/main/journal/local-0", cwd=ran)
    lock = ran / ".git" / f"{journal}.lock"
    lock.touch()
    assert "evogit clean" in evogit(ran, "run", "--deterministic", "--candidates", "3", code=1)
    os.utime(lock, (time.time() - 3600,) * 2)
    evogit(ran, "run", "--deterministic", "--candidates", "3", "--quiet")
    assert not lock.exists()
    assert "clean" in evogit(ran, "fsck")


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [("y\r", 0, "removed run main"), ("n\r", 1, "nothing was removed"), ("\r", 1, "nothing was removed"),
     ("\x03", 130, "interrupted"), ("\x04", 130, "interrupted")],
    ids=["yes", "no", "nothing", "ctrl-c", "end-of-file"],
)  # fmt: skip
def test_drop_asks_on_a_terminal(ran: Path, answer: str, code: int, said: str) -> None:
    """Only a yes removes anything; what goes is told before the question."""
    before = photograph(ran)
    words = ["-m", "evogit", "-C", str(ran), "drop", "main"]
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, words, dimensions=(40, 200), encoding="utf-8", timeout=150, env=os.environ
    )
    child.expect_exact("25 candidates")
    child.expect_exact("promoted/v1")
    child.expect_exact("Remove run 'main' for good? [y/N]: ")
    child.send(answer)
    # A signal that comes between the question and the wait for its answer is heard only with the next one.
    while child.expect_exact([said, pexpect.TIMEOUT], timeout=5):
        child.send(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert photograph(ran) == ([] if code == 0 else before)
    assert photograph(ran, "other")
    assert (ran / ".git/evogit/main").exists() == (code != 0)


def test_drop_without_a_terminal_needs_to_be_told(ran: Path) -> None:
    """A yes on standard input that is no terminal is no confirmation."""
    before = photograph(ran)
    done = subprocess.run(
        [sys.executable, "-m", "evogit", "-C", str(ran), "drop", "main"],
        input="y\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "evogit drop main --yes" in done.stderr
    assert photograph(ran) == before
