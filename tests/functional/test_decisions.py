"""What people decide of a run: by commands, by plain Git, while it goes on and afterwards."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evogit.cli.main import run
from tests.conftest import run_git
from tests.functional.test_engine import EVALUATE, project
from tests.functional.test_engine import evogit as evolve


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "p"
    root.mkdir()
    project(root)
    evolve(root, "run", "--candidates", "120", "--deterministic", "--seed", "1", "--quiet")
    return root


@pytest.fixture
def ran(finished: Path, tmp_path: Path) -> Path:
    """A repository with a finished run of 120 candidates."""
    return Path(shutil.copytree(finished, tmp_path / "p", symlinks=True))


def evogit(at: Path, *arguments: str, code: int = 0) -> str:
    """One command line in this process; what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = run([arguments[0], "-C", str(at), *arguments[1:]])
    assert ended == code, f"{arguments}: {ended}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue() if code == 0 else err.getvalue() or out.getvalue()


def said(at: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, *arguments, "--json", code=code))
    return found


def status(at: Path) -> dict[str, Any]:
    return said(at, "status")


def agents(at: Path) -> dict[str, str]:
    return {agent["name"]: agent["commit"] for agent in status(at)["agents"]}


def is_ancestor(at: Path, a: str, b: str) -> bool:
    return subprocess.run(["git", "merge-base", "--is-ancestor", a, b], cwd=at, check=False).returncode == 0


def test_promote_marks_a_branch_and_is_taken_back(ran: Path) -> None:
    best = said(ran, "best")["commit"]
    tried = said(ran, "promote", "best", "--name", "v1", "--dry-run")
    assert (tried["dry_run"], tried["branch"]) == (True, "evogit/main/promoted/v1")
    assert "promoted" not in run_git("for-each-ref", cwd=ran)
    assert said(ran, "promote", "best", "--name", "v1", "-m", "readable")["entry"]
    assert run_git("rev-parse", "evogit/main/promoted/v1", cwd=ran) == best
    assert status(ran)["decisions"]["promoted"] == {best: "v1"}
    (made,) = status(ran)["decisions"]["made"]
    assert (made["decision"], made["author"], made["reason"]) == ("promote", "Ada Author", "readable")
    assert "Ada Author decided: promote: readable" in evogit(ran, "show", "best")
    other = next(commit for commit in agents(ran).values() if commit != best)
    assert "another name" in evogit(ran, "promote", other, "--name", "v1", code=2)
    evogit(ran, "restore", best)
    assert status(ran)["decisions"]["promoted"] == {}
    assert "promoted" not in run_git("for-each-ref", cwd=ran)
    assert "nothing was decided" in evogit(ran, "restore", best, code=2)
    assert "clean" in evogit(ran, "fsck")


def test_promoted_versions_become_parents_more_often(ran: Path) -> None:
    chosen = min(agents(ran).values())
    evogit(ran, "promote", chosen)
    evolve(ran, "run", "--candidates", "60", "--deterministic", "--seed", "2", "--quiet")
    children = [row for row in rows(ran) if row["parents"] and row["parents"][0] == chosen]
    assert len(children) >= 20


def rows(at: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in evogit(at, "log", "--json", "-n", "1000").splitlines()]


def test_a_pruned_line_dies_and_its_agents_go_to_living_relatives(ran: Path) -> None:
    best = said(ran, "best")
    outcome = said(ran, "prune", "best", "-m", "hard-codes the answer")
    gone = {name for name, commit in agents(ran).items() if is_ancestor(ran, best["commit"], commit)}
    assert {name.partition("/")[2] for name in outcome["moving"]} == gone
    assert said(ran, "best")["commit"] != best["commit"]
    evolve(ran, "run", "--candidates", "80", "--deterministic", "--seed", "2", "--quiet")
    assert not any(is_ancestor(ran, best["commit"], commit) for commit in agents(ran).values())
    assert said(ran, "best")["commit"] != best["commit"]
    pruned_tree = run_git("rev-parse", f"{best['commit']}^{{tree}}", cwd=ran)
    assert pruned_tree not in {run_git("rev-parse", f"{c}^{{tree}}", cwd=ran) for c in agents(ran).values()}
    assert "clean" in evogit(ran, "fsck")


def test_a_pruned_version_is_restored_after_git_gc(ran: Path) -> None:
    before = said(ran, "best")
    best = before["commit"]
    evogit(ran, "prune", "best")
    evolve(ran, "run", "--candidates", "20", "--deterministic", "--seed", "2", "--quiet")
    run_git("reflog", "expire", "--expire=now", "--all", cwd=ran)
    run_git("gc", "--quiet", "--prune=now", cwd=ran)
    evogit(ran, "restore", best, "-m", "it was right after all")
    assert status(ran)["decisions"]["pruned"] == []
    assert said(ran, "best")["score"] >= before["score"]
    evolve(ran, "run", "--candidates", "60", "--deterministic", "--seed", "3", "--quiet")
    assert any(row["parents"][:1] == [best] for row in rows(ran)[:80])
    assert "clean" in evogit(ran, "fsck")


def test_prune_lineage_goes_back_to_where_it_parted(ran: Path) -> None:
    best = said(ran, "best")["commit"]
    base = run_git("rev-parse", "main", cwd=ran)
    outcome = said(ran, "prune", "best", "--lineage", "--since", "base", "--dry-run")
    assert is_ancestor(ran, outcome["commit"], best)
    assert run_git("rev-parse", f"{outcome['commit']}^", cwd=ran) == base
    assert "began" in evogit(ran, "prune", "base", code=2)
    assert "--lineage" in evogit(ran, "prune", "best", "--since", "base", code=2)


def test_an_exclusive_promotion_is_followed_by_everybody(ran: Path) -> None:
    chosen = min(agents(ran).values())
    outcome = said(ran, "promote", chosen, "--exclusive")
    assert len(outcome["moving"]) == len([c for c in agents(ran).values() if not is_ancestor(ran, chosen, c)])
    evolve(ran, "run", "--candidates", "40", "--deterministic", "--seed", "2", "--quiet")
    assert all(is_ancestor(ran, chosen, commit) for commit in agents(ran).values())
    assert "clean" in evogit(ran, "fsck")


def test_a_pinned_version_stays_after_its_agents_have_left(ran: Path) -> None:
    standing = set(agents(ran).values())
    left = next(p for row in rows(ran) for p in row["parents"] if p not in standing)
    evogit(ran, "pin", left, "-m", "another idea")
    evogit(ran, "promote", min(agents(ran).values()), "--exclusive")
    evolve(ran, "run", "--candidates", "30", "--deterministic", "--seed", "4", "--quiet")
    assert left in [guest["commit"] for guest in status(ran)["guests"]]
    assert status(ran)["decisions"]["pinned"] == [left]
    evogit(ran, "restore", left)
    assert left not in [guest["commit"] for guest in status(ran)["guests"]]


def test_guidance_and_goals_are_on_record(ran: Path) -> None:
    assert said(ran, "guide", "keep it short", "--dry-run")["id"] is None
    assert json.loads(evogit(ran, "guide", "--json")) == []
    given = said(ran, "guide", "keep it short", "--agent", "tinker", "-m", "it grows")
    assert said(ran, "guide", "--withdraw", given["id"][:8], "--dry-run")["holds"] is True
    assert [row["text"] for row in json.loads(evogit(ran, "guide", "--list", "--json"))] == ["keep it short"]
    said(ran, "guide", "--withdraw", given["id"][:8])
    assert [row["holds"] for row in json.loads(evogit(ran, "guide", "--json"))] == [False]
    assert "--list" in evogit(ran, "guide", "--withdraw", "ffff", code=2)
    (ran / "stage-2.md").write_text("Compute 3x + 7 in one line.\n")
    assert said(ran, "goal", "edit", "--file", "stage-2.md", "--dry-run")["entry"] is None
    assert said(ran, "goal", "edit", "--file", "stage-2.md", "-m", "next")["stage"] == 1
    assert "as it was" in evogit(ran, "goal", "edit", "--file", "stage-2.md", code=2)
    evolve(ran, "run", "--candidates", "10", "--deterministic", "--seed", "2", "--quiet")
    shown = said(ran, "goal", "--history")
    assert shown["goal"] == "Compute 3x + 7.\n"
    assert [(s["text"], s["author"], s["candidates"]) for s in shown["stages"]] == [
        ("Compute 3x + 7 in one line.", "Ada Author", 10)
    ]


def test_the_goal_is_edited_in_the_persons_editor(ran: Path) -> None:
    editor = ran.parent / "editor"
    editor.write_text('#!/bin/sh\necho "Compute it faster." > "$1"\n')
    editor.chmod(0o755)
    script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    command = [sys.executable, "-m", "evogit", "goal", "edit", "-C", str(ran)]
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        env={**os.environ, "EDITOR": str(editor)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "stage 1 is open" in done.stdout, done
    assert "no terminal" in evogit(ran, "goal", "edit", code=2)


BETTER = "VALUE = 7\n\n\ndef answer(x):\n    y = 3 * x + VALUE\n    return y\n"


def test_a_person_adopts_a_commit_a_branch_and_a_patch(ran: Path) -> None:
    base = run_git("rev-parse", "main", cwd=ran)
    (ran / "program.py").write_text(BETTER.replace("VALUE = 7", "VALUE = 6"))
    run_git("stash", "--quiet", cwd=ran)
    mine = run_git("rev-parse", "stash@{0}", cwd=ran)
    tree = run_git("rev-parse", f"{mine}^{{tree}}", cwd=ran)
    commit = run_git("commit-tree", tree, "-p", base, "-m", "By hand", cwd=ran)
    assert said(ran, "adopt", commit, "--dry-run")["dry_run"] is True
    found = said(ran, "adopt", commit, "-m", "an idea")
    assert (found["status"], found["score"], found["outside"]) == ("ok", -10.0, [])
    patch = (
        "--- a/program.py\n+++ b/program.py\n@@ -1,6 +1,6 @@\n-VALUE = 6\n+VALUE = 7\n \n \n def answer(x):\n"
        "     y = 3 * x + VALUE\n     return y\n"
    )
    (ran / "my.patch").write_text(patch)
    found = said(ran, "adopt", "my.patch", "--onto", commit)
    assert found["score"] == 0.0
    assert said(ran, "best")["score"] == 0.0
    assert run_git("log", "-1", "--format=%an %s", found["commit"], cwd=ran) == "Ada Author Apply a patch"
    assert "does not apply" in evogit(ran, "adopt", "my.patch", "--onto", found["commit"], code=2)
    assert "neither" in evogit(ran, "adopt", "no-such-thing", code=2)
    evolve(ran, "run", "--candidates", "60", "--deterministic", "--seed", "2", "--quiet")
    assert any(set(row["parents"]) & {commit, found["commit"]} for row in rows(ran)[:60])
    assert run_git("status", "--porcelain", "--untracked-files=no", cwd=ran) == ""
    assert "clean" in evogit(ran, "fsck")


def test_a_commit_that_fails_is_not_adopted(ran: Path) -> None:
    before = status(ran)["decisions"]["adopted"]
    patch = "--- a/program.py\n+++ b/program.py\n@@ -1,3 +1,3 @@\n-VALUE = 1\n+VALUE = (\n \n \n"
    (ran / "bad.patch").write_text(patch)
    evogit(ran, "adopt", "bad.patch", "--onto", "base", "--json", code=1)
    assert status(ran)["decisions"]["adopted"] == before


# Plain Git, and running processes


@contextlib.contextmanager
def running(at: Path) -> Iterator[None]:
    """A run in the background that goes on until the block ends; it must end well."""
    command = [sys.executable, "-m", "evogit", "-C", str(at), "run", "--json", "--seconds", "170"]
    log, errors = at.parent / "run.log", at.parent / "run.err"
    with log.open("w") as out, errors.open("w") as err, subprocess.Popen(command, stdout=out, stderr=err) as process:
        try:
            until(lambda: '"started"' in log.read_text())
            yield
            assert process.poll() is None, errors.read_text()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
            assert "Traceback" not in errors.read_text()
        finally:
            process.kill()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it; a slow machine gets much time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.3)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A repository with a finished run whose evaluations take a while, so that a run goes on but stays small."""
    root = tmp_path / "slow"
    root.mkdir()
    project(root, evaluate="import time\n" + EVALUATE.replace("space = {}", "space = {}; time.sleep(0.1)"))
    evolve(root, "run", "--candidates", "40", "--deterministic", "--seed", "1", "--quiet")
    return root


def test_decisions_take_effect_in_a_running_process(slow: Path) -> None:
    with running(slow):
        best = said(slow, "best")["commit"]
        said(slow, "prune", best, "-m", "not like this")
        until(lambda: not any(is_ancestor(slow, best, commit) for commit in agents(slow).values()))
        chosen = min(agents(slow).values())
        given = said(slow, "guide", "shorter")["id"]
        said(slow, "promote", chosen, "--name", "good")
        (slow / "next.md").write_text("Compute 3x + 7, in one line.\n")
        said(slow, "goal", "edit", "--file", "next.md")
        said(slow, "guide", "--withdraw", given)
        until(lambda: said(slow, "goal")["stages"][0]["candidates"] > 0)
        until(lambda: any(row["parents"][:1] == [chosen] for row in rows(slow)[:200]))
        said(slow, "promote", chosen, "--exclusive")
        until(lambda: all(is_ancestor(slow, chosen, commit) for commit in agents(slow).values()))
    assert "clean" in evogit(slow, "fsck")


def test_any_git_client_decides_by_tags_and_branches(slow: Path, tmp_path: Path) -> None:
    best = said(slow, "best")["commit"]
    other = tmp_path / "clone"
    run_git("clone", "--quiet", str(slow), str(other), cwd=tmp_path)
    (other / "program.py").write_text(BETTER)
    run_git("checkout", "--quiet", "-b", "mine", cwd=other)
    run_git("commit", "--quiet", "-am", "By hand", cwd=other)
    mine = run_git("rev-parse", "HEAD", cwd=other)
    run_git("tag", "-m", "too clever", "evogit/main/prune/clever", best, cwd=other)
    run_git("tag", "evogit/main/prune-it/typo", best, cwd=other)
    run_git("push", "--quiet", "origin", "--tags", "mine:evogit/main/human/ada", cwd=other)
    assert status(slow)["decisions"]["waiting"] == ["evogit/main/prune-it/typo", "evogit/main/prune/clever"]
    with running(slow):
        until(lambda: mine in status(slow)["decisions"]["adopted"])
        chosen = min(c for c in agents(slow).values() if c != mine)
        run_git("fetch", "--quiet", "origin", "refs/heads/evogit/*:refs/heads/evogit/*", cwd=other)
        run_git("tag", "evogit/main/promote/v2", chosen, cwd=other)
        run_git("tag", "evogit/main/pin/keep", chosen, cwd=other)
        run_git("tag", "evogit/main/restore/again", best, cwd=other)
        run_git("push", "--quiet", "origin", "--tags", cwd=other)
        until(lambda: chosen in status(slow)["decisions"]["promoted"])
        until(lambda: best not in status(slow)["decisions"]["pruned"])
    made = status(slow)["decisions"]["made"]
    assert sorted(row["decision"] for row in made) == ["adopt", "pin", "promote", "prune", "restore"]
    (prune,) = [row for row in made if row["decision"] == "prune"]
    assert (prune["author"], prune["reason"]) == ("Carl Committer", "too clever")
    assert status(slow)["decisions"]["waiting"] == ["evogit/main/prune-it/typo"]
    assert "clean" in evogit(slow, "fsck")
