"""The command line: exit codes, options before and after a command, JSON, clear errors, bare places."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_repository, run_git


def evogit(*arguments: str, at: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evogit", *arguments],
        cwd=at,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a finished run of 15 candidates, made once; nobody changes it."""
    repo = make_repository(tmp_path_factory.mktemp("finished") / "repo")
    made = evogit("init", "--goal", "Answer 42", "--command", "python bench.py", "--evolve", "src/*.py", at=repo)
    assert made.returncode == 0, made.stderr
    done = evogit("run", "--candidates", "15", "--agents", "tinker:3", "--seed", "1", "--deterministic", "-q", at=repo)
    assert done.returncode == 0, done.stderr
    return repo


@pytest.fixture
def ran(finished: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(finished, tmp_path / "repo", symlinks=True))


def test_a_start_loads_only_what_its_command_needs(ran: Path) -> None:
    """A command reads its own modules when it is called; one that did it at import cost every start half a second."""
    script = "import sys; from evogit.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    heavy = {"git", "networkx", "numpy", "openai", "plotly", "pygit2", "rich"}

    def loaded(*arguments: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ran, capture_output=True, text=True)
        assert done.returncode == 0
        return heavy & set(done.stderr.split())

    assert loaded("--version") == loaded("log", "--help") == set()
    assert loaded("status") == {"git", "pygit2"}
    assert "networkx" not in loaded("log")


COMMANDS = ["new", "init", "run", "status", "log", "show", "diff", "best"]
COMMANDS += ["agents", "config", "fsck", "clean", "archive", "drop", "doctor", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_takes_the_shared_options(command: str, tmp_path: Path) -> None:
    done = evogit(command, "--help", at=tmp_path)
    assert done.returncode == 0
    assert "-C DIR" in done.stdout
    assert "--run NAME" in done.stdout


def test_usage_errors_are_2_and_name_the_nearest(tmp_path: Path) -> None:
    for arguments in (
        ["statsu"],
        ["run", "--no-such-option"],
        ["status", "-C", "/no/such/folder"],
        ["best", "--run", "a b"],
    ):
        done = evogit(*arguments, at=tmp_path)
        assert done.returncode == (1 if "best" in arguments else 2), done
        assert "Traceback" not in done.stderr
    assert "status" in evogit("statsu", at=tmp_path).stderr


@pytest.mark.parametrize("command", ["status", "log", "best", "diff", "run", "fsck", "clean"])
def test_outside_a_repository_it_says_what_to_type(command: str, tmp_path: Path) -> None:
    done = evogit(command, at=tmp_path)
    assert done.returncode == 1
    assert "evogit new" in done.stderr


def test_where_git_is_missing_it_says_how_to_install_it(repo: Path) -> None:
    for command in ("status", "doctor", "tasks"):
        done = evogit(command, at=repo, env={"PATH": "/nowhere"})
        assert (done.returncode, "apt install git" in done.stderr) == (1, True), done.stderr


def test_queries_without_a_run_say_what_to_type(repo: Path) -> None:
    for command in ("status", "log", "best", "diff"):
        done = evogit(command, at=repo)
        assert done.returncode == 2
        assert "evogit run" in done.stderr


def test_a_run_without_a_task_or_with_a_wrong_one(repo: Path) -> None:
    done = evogit("run", at=repo)
    assert (done.returncode, "evogit init" in done.stderr) == (2, True)
    done = evogit("run", "--task", "online-bin-pakcing", at=repo)
    assert done.returncode in (1, 2)
    assert "online-bin-packing" in done.stderr


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    run_git("init", "-q", cwd=tmp_path)
    done = evogit("run", "--task", "online-bin-packing", at=tmp_path)
    assert done.returncode == 2
    assert "git commit" in done.stderr


def test_c_and_run_may_stand_before_or_after(ran: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    before = evogit("-C", str(ran), "--run", "main", "status", "--json", at=outside)
    after = evogit("status", "--json", "-C", str(ran), "--run", "main", at=outside)
    assert before.stdout == after.stdout
    assert json.loads(after.stdout)["candidates"] == 15


def test_json_has_what_scripts_need(ran: Path) -> None:
    status = json.loads(evogit("status", "--json", at=ran).stdout)
    assert {"run", "task", "candidates", "accepted", "rejected", "agents", "best", "seconds"} <= status.keys()
    assert {"name", "commit", "score"} <= status["agents"][0].keys()
    rows = [json.loads(line) for line in evogit("log", "--json", "-n", "99", at=ran).stdout.splitlines()]
    assert len(rows) == 15
    only = [json.loads(x) for x in evogit("log", "--json", "--status", "accepted", at=ran).stdout.splitlines()]
    assert len(only) == status["accepted"]
    shown = json.loads(evogit("show", rows[0]["commit"], "--json", at=ran).stdout)
    assert shown["commit"] == rows[0]["commit"]
    assert json.loads(evogit("tasks", "--json", at=ran).stdout)
    assert json.loads(evogit("agents", "tinker", "--json", at=ran).stdout)["arms"]
    assert json.loads(evogit("fsck", "--json", at=ran).stdout)["clean"]
    assert "evaluation.jobs" in json.loads(evogit("config", "--json", at=ran).stdout)


def test_show_and_diff_are_readable(ran: Path) -> None:
    best = json.loads(evogit("best", "--json", at=ran).stdout)
    shown = evogit("show", "best", "--diff", at=ran).stdout
    assert best["commit"] in shown
    assert "EvoGit-Score" in shown
    assert evogit("diff", "base", "base", at=ran).stdout == ""
    assert evogit("show", "no-such-thing", at=ran).returncode == 2


def test_checkout_never_overwrites(ran: Path) -> None:
    assert evogit("best", "--checkout", "out", at=ran).returncode == 0
    assert (ran / "out/src/program.py").is_file()
    again = evogit("best", "--checkout", "out", at=ran)
    assert (again.returncode, "not empty" in again.stderr) == (2, True)


def test_init_asks_nothing_when_it_cannot_and_overwrites_nothing(ran: Path) -> None:
    done = evogit("init", at=ran)
    assert (done.returncode, "--goal" in done.stderr) == (2, True)
    again = evogit("init", "--goal", "g", "--command", "python bench.py", "--evolve", "src/*.py", at=ran)
    assert (again.returncode, "already holds a task" in again.stderr) == (2, True)


def test_mistakes_in_files_are_named(ran: Path) -> None:
    config = ran / ".evogit/config.toml"
    config.write_text(config.read_text() + "[budgte]\ncandidates = 3\n")
    done = evogit("run", at=ran)
    assert done.returncode == 1
    assert "config.toml" in done.stderr
    assert "budget" in done.stderr


def test_a_bare_repository_continues_a_run(ran: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    run_git("clone", "-q", "--mirror", str(ran), str(bare), cwd=tmp_path)
    done = evogit("run", "--candidates", "5", "--agents", "tinker:2", "-q", at=bare)
    assert done.returncode == 0, done.stderr
    assert json.loads(evogit("status", "--json", at=bare).stdout)["candidates"] == 20
    assert evogit("fsck", at=bare).returncode == 0


def test_fsck_finds_a_journal_that_was_rewritten(ran: Path) -> None:
    [ref] = run_git("for-each-ref", "--format=%(refname)", "refs/evogit/", cwd=ran).split()
    tip = run_git("rev-parse", ref, cwd=ran)
    tree = run_git("rev-parse", f"{tip}^{{tree}}", cwd=ran)
    message = run_git("log", "-1", "--format=%B", tip, cwd=ran)
    forged = run_git("commit-tree", tree, "-p", f"{tip}~3", "-m", message, cwd=ran)
    run_git("update-ref", ref, forged, cwd=ran)
    done = evogit("fsck", at=ran)
    assert done.returncode == 1
    assert "broken" in done.stdout


def test_secrets_of_the_environment_go_nowhere(repo: Path) -> None:
    key = "sk-very-secret-0123456789"
    (repo / "bench.py").write_text("import os, sys\nprint(dict(os.environ))\n" + (repo / "bench.py").read_text())
    run_git("commit", "-qam", "print the environment", cwd=repo)
    evogit("init", "--goal", "g", "--command", "python bench.py", "--evolve", "src/*.py", at=repo)
    done = evogit("run", "--candidates", "5", "--json", at=repo, env={"OPENAI_API_KEY": key})
    assert done.returncode == 0, done.stderr
    assert key not in done.stdout + done.stderr
    for oid in run_git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", cwd=repo).split():
        assert key not in run_git("cat-file", "-p", oid, cwd=repo)


def test_doctor_explains(tmp_path: Path) -> None:
    done = evogit("doctor", "--json", at=tmp_path)
    names = {check["name"] for check in json.loads(done.stdout)}
    assert {"Git", "sandbox bubblewrap", "sandbox landlock", "fork server", "disk"} <= names


def test_a_closed_pipe_is_quiet(ran: Path) -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m evogit log -n 100 --json | head -1",
        shell=True,
        cwd=ran,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stderr == ""
