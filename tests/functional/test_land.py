"""`land` on a real run: a clean branch with a true message, and nothing else touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evogit.evolution.session import sitting
from evogit.store.repository import find
from tests.conftest import run_git
from tests.functional.test_decisions import evogit
from tests.functional.test_engine import evogit as evolve
from tests.functional.test_engine import project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "p"
    root.mkdir()
    project(root)
    evolve(root, "run", "--deterministic", "--candidates", "60", "--seed", "3", "--quiet")
    return root


@pytest.fixture
def ran(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "p", symlinks=True))


def said(at: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, *arguments, "--json", code=code))
    return found


def photograph(at: Path) -> dict[str, str]:
    """All that landing must leave alone: checkout, index, HEAD, stash and the user's branches."""
    refs = run_git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/stash", cwd=at)
    kept = "\n".join(line for line in refs.splitlines() if "/evogit/" not in line and "/land/" not in line)
    return {
        "status": run_git("status", "--porcelain", cwd=at),
        "head": run_git("symbolic-ref", "HEAD", cwd=at) + run_git("rev-parse", "HEAD", cwd=at),
        "index": (at / ".git/index").read_bytes().hex(),
        "program": (at / "program.py").read_text(),
        "refs": kept,
    }


def test_a_dirty_checkout_and_its_branch_are_left_alone(ran: Path) -> None:
    (ran / "notes.txt").write_text("mine\n")
    run_git("add", "notes.txt", cwd=ran)
    run_git("stash", "--quiet", cwd=ran)
    (ran / "program.py").write_text("VALUE = 'dirty'\n")
    (ran / "staged.txt").write_text("staged\n")
    run_git("add", "staged.txt", cwd=ran)
    before, best = photograph(ran), said(ran, "best")
    found = said(ran, "land", "best", "--onto", "main", "--pr-body", "pr.md", "--repeats", "2")
    (ran / "pr.md").rename(ran.parent / "pr.md")
    assert photograph(ran) == before
    branch = f"land/main-{best['commit'][:10]}"
    assert (found["landed"], found["branch"], found["moved"]) == (True, branch, False)
    assert run_git("rev-parse", branch, cwd=ran) == found["commit"]
    assert run_git("rev-parse", f"{branch}^", cwd=ran) == run_git("rev-parse", "main", cwd=ran)
    assert run_git("rev-parse", f"{branch}^{{tree}}", cwd=ran) == run_git(
        "rev-parse", f"{best['commit']}^{{tree}}", cwd=ran
    )
    message = run_git("log", "-1", "--format=%B", branch, cwd=ran)
    assert message.startswith("Compute 3x + 7\n")
    for words in ("score: -150 -> ", "Steps (", "Measured again 2 times", "evogit replay", "Co-authored-by: tinker-"):
        assert words in message
    assert run_git("log", "-1", "--format=%an", branch, cwd=ran) == "Ada Author"
    body = (ran.parent / "pr.md").read_text()
    assert "| score | -150 |" in body
    assert "60 candidates of 4 agents" in body
    assert "## Steps" in body
    assert "branch land/" in evogit(ran, "land", "best", "--onto", "main", code=2)
    assert "clean" in evogit(ran, "fsck")
    assert "decided: land" in evogit(ran, "show", "best")


def test_a_dry_run_and_refusals_write_nothing(ran: Path) -> None:
    run_git("branch", "topic/a", cwd=ran)
    refs = run_git("for-each-ref", cwd=ran)
    assert "would verify" in evogit(ran, "land", "best", "--dry-run")
    for arguments, words in (
        (("--branch", "main"), "exists already"),
        (("--branch", "main", "--move-branch"), "checked out"),
        (("--branch", "evogit/x"), "belongs to the runs"),
        (("--branch", "a..b"), "no name for a branch"),
        (("--onto", "no-such"), "no such branch"),
        (("--minimize", "--history"), "Leave one out"),
        (("--branch", "main/x"), "leaves no room"),
        (("--branch", "topic"), "leaves no room"),
        (("--pr-body", "no/such/pr.md"), "Nothing was landed"),
    ):
        assert words in evogit(ran, "land", "best", *arguments, code=2)
    assert run_git("for-each-ref", cwd=ran) == refs


def test_the_true_lineage_under_a_merge(ran: Path) -> None:
    best = said(ran, "best")["commit"]
    found = said(ran, "land", "best", "--history", "--branch", "evolved", "--repeats", "1")
    parents = run_git("rev-list", "--parents", "-1", "evolved", cwd=ran).split()[1:]
    assert parents == [run_git("rev-parse", "main", cwd=ran), best]
    other = said(ran, "land", "best", "--branch", "evolved", "--move-branch", "--repeats", "1")
    assert other["commit"] != found["commit"]
    assert run_git("rev-parse", "evolved", cwd=ran) == other["commit"]


def test_onto_a_branch_that_has_moved(ran: Path) -> None:
    (ran / "other.txt").write_text("new\n")
    run_git("add", "other.txt", cwd=ran)
    run_git("commit", "-qm", "Something else", cwd=ran)
    found = said(ran, "land", "best", "--repeats", "1")
    assert (found["landed"], found["moved"]) == (True, True)
    assert found["scores"]["merged"] > found["scores"]["onto"] == -150
    files = run_git("ls-tree", "--name-only", found["branch"], cwd=ran)
    assert "other.txt" in files
    assert "Merged with" in run_git("log", "-1", "--format=%B", found["branch"], cwd=ran)
    lines = (ran / "program.py").read_text().splitlines()
    (ran / "program.py").write_text("\n".join([*lines[:4], "    y = 2 * x", "    return y - 1", ""]))
    run_git("commit", "-qam", "Change the same lines", cwd=ran)
    refs = run_git("for-each-ref", "refs/heads", cwd=ran)
    told = evogit(ran, "land", "best", "--branch", "again", "--repeats", "1", code=1)
    assert "clashes" in told
    assert "program.py:5" in told
    assert run_git("for-each-ref", "refs/heads", cwd=ran) == refs


def test_a_branch_that_has_it_all_and_one_that_breaks_it(ran: Path) -> None:
    start = run_git("rev-parse", "HEAD", cwd=ran)
    (ran / "program.py").write_text(run_git("show", f"{said(ran, 'best')['commit']}:program.py", cwd=ran) + "\n")
    run_git("commit", "-qam", "Take it by hand", cwd=ran)
    assert "already" in evogit(ran, "land", "best", "--repeats", "1", code=1)
    run_git("reset", "-q", "--hard", start, cwd=ran)
    (ran / "program.py").write_text((ran / "program.py").read_text() + "\nraise SystemExit(3)\n")
    run_git("commit", "-qam", "Break it", cwd=ran)
    assert "fails its evaluation" in evogit(ran, "land", "best", "--repeats", "1", code=1)
    assert not run_git("for-each-ref", "refs/heads/land", cwd=ran)
    found = said(ran, "land", "best", "--repeats", "1", "--anyway")
    assert "Landed all the same: merged with" in run_git("log", "-1", "--format=%B", found["branch"], cwd=ran)


def test_a_claim_that_does_not_hold_is_not_landed(ran: Path) -> None:
    (ran / "program.py").write_text("VALUE = 2\n\n\ndef answer(x):\n    return VALUE\n")
    run_git("stash", "--quiet", cwd=ran)
    mine = run_git("commit-tree", "stash@{0}^{tree}", "-p", "main", "-m", "A lie", cwd=ran)
    with sitting(find(ran), "main") as session:
        lie = {"status": "ok", "score": 999.0, "tree": session.objects.commit(mine).tree, "digest": session.digest}
        session.journal.append("evaluated", "a lie", lie | {"host": "liar", "agent": "liar"}, candidate=mine)
        session.journal.publish()
    refs = run_git("for-each-ref", "refs/heads", cwd=ran)
    assert "does not hold" in evogit(ran, "land", mine, code=1)
    assert run_git("for-each-ref", "refs/heads", cwd=ran) == refs
    assert said(ran, "land", mine, "--anyway")["landed"]
    assert "does NOT hold" in run_git("log", "-1", "--format=%B", f"land/main-{mine[:10]}", cwd=ran)


def test_a_minimized_version_lands_with_what_it_was(ran: Path) -> None:
    (ran / "program.py").write_text("VALUE = 7\nSPARE = 1\n\n\ndef answer(x):\n    y = 3 * x + VALUE\n    return y\n")
    run_git("stash", "--quiet", cwd=ran)
    mine = run_git("commit-tree", "stash@{0}^{tree}", "-p", "main", "-m", "By hand", cwd=ran)
    evogit(ran, "adopt", mine)
    found = said(ran, "land", mine, "--minimize", "--repeats", "1")
    assert found["landed"]
    assert "SPARE" not in run_git("show", f"{found['branch']}:program.py", cwd=ran)
    message = run_git("log", "-1", "--format=%B", found["branch"], cwd=ran)
    assert f"Minimized from {mine[:10]}" in message
    assert "Co-authored-by: Ada Author <ada@example.org>" in message
