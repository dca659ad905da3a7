"""Programs as agents, with shell scripts in the place of coding tools: what they may see, change, and cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import run_git
from tests.fitting import KEY, objects_with, project, status

EDIT = "sed -i 's/return 0/return 3 * x + 7/' program.py"


def run(at: Path, script: str, *, options: str = "", candidates: int = 1, tokens: int = 2000) -> str:
    """A run whose only agent is the shell script `script`, with the task fit; its output."""
    agents = at / ".evogit/agents"
    agents.mkdir(exist_ok=True)
    command = json.dumps(["sh", "-c", script, "tool", "{folder}", "{prompt}"])
    (agents / "tool.md").write_text(
        f"---\nname: tool\noperator: command\noptions:\n  command: {command}\n  environment: [OPENAI_API_KEY]\n"
        f"{options}\n---\nMake it compute this: {{{{ goal }}}}\n{{{{ text }}}}\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "evogit",
            "-C",
            str(at),
            "run",
            "--agents",
            "tool:1",
            "--deterministic",
            "-q",
            "--candidates",
            str(candidates),
            "--max-tokens",
            str(tokens),
        ],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, "OPENAI_API_KEY": KEY, "SECRET_OF_MINE": "hunter22222"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bug in EvoGit" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def at(tmp_path: Path) -> Path:
    return project(tmp_path / "project", "http://127.0.0.1:9/v1")


def evidence(at: Path, name: str) -> str:
    ref = run_git("for-each-ref", "--format=%(objectname)", "refs/evogit/main/journal", cwd=at).splitlines()[0]
    for line in run_git("log", "--first-parent", "--format=%H", ref, cwd=at).splitlines():
        names = run_git("ls-tree", "--name-only", line, cwd=at).splitlines()
        if name in names:
            return run_git("show", f"{line}:{name}", cwd=at)
    raise AssertionError(f"no {name}")


def test_what_a_program_changes_is_the_candidate(at: Path) -> None:
    run(at, f"grep -q 'Compute 3x' \"$2\" && {EDIT} && echo more > new.py && git add -A && git commit -qm done")
    found = status(at)
    assert (found["accepted"], found["best"]["score"]) == (1, 0.0)
    assert run_git("diff", "--name-only", "HEAD", found["best"]["commit"], cwd=at).split() == ["new.py", "program.py"]
    assert (
        "clean"
        in subprocess.run(
            [sys.executable, "-m", "evogit", "-C", str(at), "fsck"], capture_output=True, text=True, check=True
        ).stdout
    )


def test_it_sees_a_repository_of_its_own_and_named_variables_only(at: Path) -> None:
    run(at, f"env; git log --oneline; git remote -v; ls -a {at}; ls $HOME; pwd; {EDIT}")
    said = evidence(at, "reply.md")
    assert "OPENAI_API_KEY=***" in said
    assert "hunter22222" not in said
    assert "start" in said
    assert "origin" not in said
    assert f"HOME={os.environ['HOME']}" not in said
    assert objects_with(at, KEY) == []


@pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="needs bubblewrap")
def test_with_bubblewrap_the_user_s_repository_is_not_there_and_the_machine_is_read_only(at: Path) -> None:
    target = at / "stolen"
    run(at, f"cat {at}/program.py && echo SEEN; touch /usr/evogit-was-here && echo WRITTEN; touch {target}; {EDIT}")
    said = evidence(at, "reply.md")
    assert "SEEN" not in said
    assert "WRITTEN" not in said
    assert not target.exists()


def test_protected_paths_and_odd_files_are_ignored_and_said(at: Path) -> None:
    run(at, f"ln -s /etc/passwd link.py; mkfifo pipe.py; echo x > notes.txt; {EDIT}")
    assert status(at)["accepted"] == 1
    said = evidence(at, "ignored.txt")
    assert "link.py: not a regular file" in said
    assert "pipe.py: not a regular file" in said
    assert "notes.txt: outside what may change" in said


def test_a_program_that_never_ends_is_killed_with_all_it_started(at: Path) -> None:
    begun = time.time()
    run(at, "(setsid sleep 4711 &) ; sleep 4711", options="  deadline: 1", tokens=100)
    found = status(at)
    assert found["candidates"] == 0
    assert found["rejected"]["timeout"] >= 1
    left = [p for p in psutil.process_iter(["cmdline", "create_time"]) if "4711" in (p.info["cmdline"] or [])]
    assert [p for p in left if p.info["create_time"] > begun] == []


def test_no_change_a_failure_and_a_missing_program_are_counted(at: Path) -> None:
    run(at, "echo thinking", tokens=100)
    assert status(at)["rejected"] == {"no-op": status(at)["rejected"]["no-op"]}
    run(at, "echo broken >&2; exit 3", tokens=200)
    assert status(at)["rejected"]["unanswered"] >= 1


def test_what_it_says_it_used_is_counted(at: Path) -> None:
    run(
        at,
        f"echo 'used 1.2k in, 300 out, $0.25'; {EDIT}",
        options=("  usage: 'used (?P<input>[\\d.k]+) in, (?P<output>\\d+) out, \\$(?P<cost>[\\d.]+)'"),
    )
    found = status(at)
    assert (found["tokens"], found["cost"]) == (1500, 0.25)


def test_nothing_stays_behind(at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    run(at, EDIT)
    assert list((tmp_path / "tmp").glob("evogit-program-*")) == []
