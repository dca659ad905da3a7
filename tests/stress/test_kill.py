"""kill -9 at random instants, two runs at once, many beside each other: no invariant broken, nothing acknowledged lost.

EVOGIT_KILLS sets how many kills (a dozen unless told otherwise; the README's figure is from 50).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import run_git

TASK = """direction = "maximize"
evolve = ["*.json"]
[evaluation]
function = "evaluate.py:evaluate"
deadline = 10
"""
EVALUATE = """import json


def evaluate(folder):
    return -sum(abs(1000.0 * (i + 1) - x) for i, x in enumerate(json.loads((folder / "n.json").read_text())))
"""
CONFIG = """[run]
task = "numbers"
[population]
agents = [{name = "dial", count = 6}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a task of numbers, cheap to evaluate."""
    root = tmp_path / "project"
    (root / ".evogit/tasks/numbers").mkdir(parents=True)
    (root / ".evogit/tasks/numbers/task.toml").write_text(TASK)
    (root / ".evogit/tasks/numbers/goal.md").write_text("Bring the numbers near their targets.\n")
    (root / ".evogit/tasks/numbers/evaluate.py").write_text(EVALUATE)
    (root / ".evogit/config.toml").write_text(CONFIG)
    (root / "n.json").write_text("[1.0, 2.0, 3.0, 4.0, 5.0]\n")
    run_git("init", "-q", cwd=root)
    run_git("add", "-A", cwd=root)
    run_git("commit", "-qm", "start", cwd=root)
    return root


def command(project: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "evogit", "-C", str(project), *arguments]


def start(project: Path, output: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            command(project, "run", "--json", *arguments), stdout=file, stderr=subprocess.PIPE, start_new_session=True
        )


def acknowledged(output: Path) -> set[str]:
    """Commits of the candidate events that were printed whole."""
    commits = set()
    for line in output.read_text().splitlines():
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "candidate":
            commits.add(event["commit"])
    return commits


def journaled(project: Path) -> set[str]:
    """Every candidate that some journal names, as Git itself sees it."""
    refs = run_git("for-each-ref", "--format=%(refname)", "refs/evogit/", cwd=project).split()
    return {
        parent
        for ref in refs
        for line in run_git("log", "--first-parent", "--format=%P", ref, cwd=project).splitlines()
        for parent in line.split()
    }


def fsck(project: Path) -> None:
    done = subprocess.run(command(project, "fsck"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def leftovers(project: Path) -> list[str]:
    """Processes that still mention the project in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(project) in line and process.pid != os.getpid():
            found.append(line)
    return found


@pytest.mark.longest
@pytest.mark.timeout(600)
def test_killed_at_random_instants_nothing_acknowledged_is_lost(project: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    seen: set[str] = set()
    for attempt in range(int(os.environ.get("EVOGIT_KILLS", "8"))):
        output = tmp_path / f"events-{attempt}.jsonl"
        process = start(project, output)
        limit = time.monotonic() + 60
        while not acknowledged(output) and time.monotonic() < limit and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.6)
        os.kill(process.pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, errors.decode()
        seen |= acknowledged(output)
        assert seen, "the run was killed before it had done anything"
        fsck(project)
    resumed = subprocess.run(
        command(project, "run", "--json", "--candidates", "20"), capture_output=True, text=True, timeout=120
    )
    assert resumed.returncode == 0, resumed.stderr
    assert seen <= journaled(project)
    fsck(project)
    subprocess.run(command(project, "clean"), check=True, capture_output=True, timeout=60)
    limit = time.monotonic() + 20
    while leftovers(project) and time.monotonic() < limit:
        time.sleep(0.1)
    assert leftovers(project) == []
    assert not list((project / ".git/objects/pack").glob("*.keep"))
    assert run_git("status", "--porcelain", cwd=project) == ""


@pytest.mark.timeout(300)
def test_a_second_run_is_refused_and_one_alongside_takes_part(project: Path, tmp_path: Path) -> None:
    first = start(project, tmp_path / "first.jsonl", "--seconds", "60")
    limit = time.monotonic() + 60
    while not acknowledged(tmp_path / "first.jsonl") and time.monotonic() < limit:
        time.sleep(0.05)
    second = subprocess.run(command(project, "run", "--candidates", "5"), capture_output=True, text=True, timeout=60)
    assert second.returncode == 5, second.stdout + second.stderr
    assert "--alongside" in second.stderr
    assert "Traceback" not in second.stderr
    beside = subprocess.run(
        command(project, "run", "--alongside", "--json", "--candidates", "30"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert beside.returncode == 0, beside.stderr
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130
    writers = run_git("for-each-ref", "--format=%(refname)", "refs/evogit/main/journal/", cwd=project).split()
    assert len(writers) == 2
    assert acknowledged(tmp_path / "first.jsonl") <= journaled(project)
    fsck(project)


@pytest.mark.timeout(300)
def test_eight_alongside_each_other_lose_nothing(project: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"writer-{n}.jsonl" for n in range(8)]
    processes = [start(project, output, "--alongside", "--seconds", "6", "--jobs", "1") for output in outputs]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors.decode()
    writers = run_git("for-each-ref", "--format=%(refname)", "refs/evogit/main/journal/", cwd=project).split()
    assert len(writers) == 8
    everything = set().union(*(acknowledged(output) for output in outputs))
    assert everything
    assert everything <= journaled(project)
    fsck(project)
