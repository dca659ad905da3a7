"""Whole runs through the command line: founding, resuming, determinism, policies, epochs, protection, clear errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_git

SEED = "VALUE = 1\n\n\ndef answer(x):\n    y = x + VALUE\n    return y\n"
EVALUATE = """
def evaluate(folder, epoch=0, stage="main"):
    space = {}
    exec((folder / "program.py").read_text(), space)
    wrong = sum(abs(space["answer"](x) - (3 * x + 7)) for x in range(10))
    return {"score": -float(wrong), "metrics": {"epoch": epoch, "validation": float(stage == "validation")}}
"""


def evogit(at: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "evogit", "-C", str(at), *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "bug in EvoGit" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def project(root: Path, *, task: str = "", agents: str = "tinker:4", evaluate: str = EVALUATE) -> Path:
    """A repository with a program and a task; `task` are more lines of its [evaluation] table."""
    folder = root / ".evogit/tasks/fit"
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(
        'direction = "maximize"\nevolve = ["program.py"]\n'
        f'[evaluation]\nfunction = "evaluate.py:evaluate"\ndeadline = 5\n{task}\n'
        '[vocabulary]\nnames = ["x"]\nnumbers = [3, 7]\n'
    )
    (folder / "goal.md").write_text("Compute 3x + 7.\n")
    (folder / "evaluate.py").write_text(evaluate)
    (root / ".evogit/config.toml").write_text(f'[run]\ntask = "fit"\n[population]\nagents = "{agents}"\n')
    (root / "program.py").write_text(SEED)
    run_git("init", "-q", cwd=root)
    run_git("add", "-A", cwd=root)
    run_git("commit", "-qm", "start", cwd=root)
    return root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "p"
    root.mkdir()
    return project(root)


def status(at: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, "status", "--json"))
    return found


def test_a_run_improves_resumes_and_is_whole(place: Path) -> None:
    evogit(place, "run", "--candidates", "150", "--seed", "1", "--quiet")
    first = status(place)
    assert first["candidates"] == 150
    assert first["accepted"] + sum(n for r, n in first["rejected"].items() if r not in SKIPPED) == 150
    evogit(place, "run", "--candidates", "100", "--seed", "2", "--quiet")
    second = status(place)
    assert second["candidates"] == 250
    assert second["best"]["score"] >= first["best"]["score"] > -185
    assert {agent["name"] for agent in second["agents"]} == {"tinker-1", "tinker-2", "tinker-3", "tinker-4"}
    assert "clean" in evogit(place, "fsck")
    assert run_git("status", "--porcelain", cwd=place) == ""
    best = json.loads(evogit(place, "best", "--json", "--checkout", str(place / "../champion")))
    assert {"commit", "score", "metrics", "agent", "branch", "candidates"} <= best.keys()
    space: dict[str, Any] = {}
    exec((place / "../champion/program.py").read_text(), space)
    assert -sum(abs(space["answer"](x) - (3 * x + 7)) for x in range(10)) == best["score"]
    message = run_git("log", "-1", "--format=%B", best["commit"], cwd=place)
    for trailer in ("EvoGit-Run: main", "EvoGit-Agent: tinker-", "EvoGit-Operator: ", "EvoGit-Score: "):
        assert trailer in message


SKIPPED = {"no-op", "invalid", "duplicate", "protected", "conflict"}


@pytest.mark.parametrize("policy", ["paper", "tournament", "greedy", "best-of-n"])
def test_every_policy_runs(place: Path, policy: str) -> None:
    evogit(place, "run", "--policy", policy, "--candidates", "60", "--seed", "3", "--quiet")
    assert status(place)["candidates"] == 60
    assert "clean" in evogit(place, "fsck")


def test_the_same_seed_gives_the_same_commit_ids(tmp_path: Path) -> None:
    champions, refs = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        at = project(
            tmp_path / name, task="epoch_every = 25\n[evaluation.validation]\nfunction = 'evaluate.py:evaluate'"
        )
        evogit(at, "run", "--deterministic", "--seed", "5", "--candidates", "80", "--quiet")
        champions.append(json.loads(evogit(at, "best", "--json"))["commit"])
        refs.append(run_git("for-each-ref", "--format=%(refname) %(objectname)", cwd=at))
    assert champions[0] == champions[1]
    assert refs[0] == refs[1]
    other = tmp_path / "three"
    other.mkdir()
    project(other, task="epoch_every = 25\n[evaluation.validation]\nfunction = 'evaluate.py:evaluate'")
    evogit(other, "run", "--deterministic", "--seed", "6", "--candidates", "80", "--quiet")
    assert run_git("for-each-ref", "--format=%(refname) %(objectname)", cwd=other) != refs[0]


def test_epochs_turn_and_champions_are_validated(tmp_path: Path) -> None:
    at = project(
        tmp_path,
        task="epoch_every = 20\n[evaluation.validation]\nname = 'validation'\nfunction = 'evaluate.py:evaluate'",
    )
    lines = evogit(at, "run", "--json", "--candidates", "70", "--seed", "1").splitlines()
    seen = [json.loads(line) for line in lines]
    assert [e["epoch"] for e in seen if e["event"] == "epochturned"] == [1, 2, 3]
    assert {e["epoch"] for e in seen if e["event"] == "candidate"} == {0, 1, 2, 3}
    best = json.loads(evogit(at, "best", "--json"))
    assert best["validated"]
    assert best["metrics"]["validation"] == 1.0
    assert "clean" in evogit(at, "fsck")


def test_a_changed_evaluator_invalidates_every_score(place: Path) -> None:
    evogit(place, "run", "--deterministic", "--candidates", "30", "--seed", "1", "--quiet")
    before = status(place)["best"]["score"]
    path = place / ".evogit/tasks/fit/evaluate.py"
    path.write_text(path.read_text().replace('"score": -float(wrong)', '"score": -float(wrong) - 1000'))
    evogit(place, "run", "--candidates", "1", "--quiet")
    after = status(place)["best"]["score"]
    assert after <= before - 900
    assert "clean" in evogit(place, "fsck")


def test_an_identical_program_is_never_run_twice(tmp_path: Path) -> None:
    log = "import os\n" + EVALUATE.replace(
        "    space = {}", "    print('TREE', hash((folder / 'program.py').read_text()))\n    space = {}"
    )
    at = project(tmp_path, evaluate=log)
    evogit(at, "run", "--candidates", "120", "--seed", "1", "--quiet")
    printed: list[str] = []
    for ref in run_git("for-each-ref", "--format=%(refname)", "refs/evogit/", cwd=at).split():
        for entry in run_git("log", "--first-parent", "--format=%H", ref, cwd=at).split():
            if "stdout.txt" in run_git("ls-tree", "--name-only", entry, cwd=at).split():
                printed.append(run_git("cat-file", "-p", f"{entry}:stdout.txt", cwd=at))
    evaluated = [text for text in printed if text.startswith("TREE")]
    accepted_again = status(at)["accepted"]
    assert len(evaluated) - len(set(evaluated)) <= accepted_again


def test_the_start_must_pass_its_own_evaluation(tmp_path: Path) -> None:
    at = project(tmp_path, evaluate="def evaluate(folder):\n    raise ValueError('the bench is broken')\n")
    said = evogit(at, "run", "--candidates", "5", code=1)
    assert "the bench is broken" in said
    assert "starting version" in said


def test_an_evaluator_that_cannot_be_loaded_is_said_to_be(tmp_path: Path) -> None:
    at = project(tmp_path, evaluate="import nonexistent_module\n")
    assert "nonexistent_module" in evogit(at, "run", "--candidates", "5", code=1)


def test_first_interrupt_ends_gracefully(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "evogit", "-C", str(place), "run", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"candidate"' in line:
            break
    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert json.loads(rest.splitlines()[-1])["reason"] == "interrupted"
    assert "clean" in evogit(place, "fsck")


def test_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    slow = "import time\n" + EVALUATE.replace(
        "    space = {}",
        "    time.sleep(0 if 'y = x + VALUE\\n' in (folder / 'program.py').read_text() else 60)\n    space = {}",
    )
    at = project(tmp_path, evaluate=slow, task="")
    (at / ".evogit/tasks/fit/task.toml").write_text(
        (at / ".evogit/tasks/fit/task.toml").read_text().replace("deadline = 5", "deadline = 100")
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "evogit", "-C", str(at), "run", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert any(b"again ends at once" in line for line in process.stderr)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert "clean" in evogit(at, "fsck")
    cleaned = evogit(at, "clean")  # whoever else was killed on this machine may have left something
    assert f"evogit-{process.pid}-" not in cleaned
    assert str(at) not in cleaned


def test_a_branch_that_a_person_moved_is_followed(place: Path) -> None:
    evogit(place, "run", "--candidates", "40", "--seed", "1", "--quiet")
    agent = status(place)["agents"][0]
    branch = f"refs/heads/evogit/main/{agent['host']}/{agent['name']}"
    (place / "program.py").write_text(SEED.replace("x + VALUE", "3 * x + 7"))
    run_git("commit", "-qam", "by hand", cwd=place)
    mine = run_git("rev-parse", "HEAD", cwd=place)
    run_git("update-ref", branch, mine, cwd=place)
    evogit(place, "run", "--candidates", "20", "--seed", "2", "--quiet")
    assert "clean" in evogit(place, "fsck")
    assert status(place)["best"]["score"] == 0.0


def test_protected_files_come_from_the_start(tmp_path: Path) -> None:
    """A command evaluation in the repository itself; its benchmark is protected."""
    at = tmp_path
    (at / "src").mkdir()
    (at / "src/program.py").write_text("def answer():\n    return 40\n")
    (at / "bench.py").write_text(
        "import json, os, sys\nsys.path.insert(0, 'src')\nfrom program import answer\n"
        "json.dump({'score': -abs(42 - float(answer()))}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    run_git("init", "-q", cwd=at)
    run_git("add", "-A", cwd=at)
    run_git("commit", "-qm", "start", cwd=at)
    said = evogit(
        at, "init", "--goal", "Answer 42", "--command", "python bench.py", "--evolve", "**/*.py", "--name", "answer"
    )
    assert "task.toml" in said
    evogit(at, "run", "--deterministic", "--candidates", "40", "--agents", "tinker:2", "--seed", "1", "--quiet")
    assert status(at)["best"]["score"] > -2
    changed = run_git("diff", "--name-only", "HEAD", json.loads(evogit(at, "best", "--json"))["commit"], cwd=at)
    assert changed == "src/program.py"


def test_an_apparent_win_on_a_noisy_score_is_measured_again(tmp_path: Path) -> None:
    """Luck is not banked: the score that counts is the mean of two measurements, and both are on record."""
    noise = EVALUATE.replace("def evaluate", "import os\n\ndef evaluate").replace(
        '"score": -float(wrong)', '"score": -float(wrong) + int.from_bytes(os.urandom(2), "big") / 1000'
    )
    at = project(tmp_path, task="noisy = true", evaluate=noise)
    evogit(at, "run", "--candidates", "60", "--seed", "1", "--quiet")
    rows = [json.loads(line) for line in evogit(at, "log", "--json", "--status", "accepted", "-n", "99").splitlines()]
    assert rows
    shown = json.loads(evogit(at, "show", rows[0]["commit"], "--json"))
    samples = shown["entries"][0]["samples"]
    assert len(samples) == 2
    assert rows[0]["score"] == pytest.approx(sum(samples) / 2)
    assert "clean" in evogit(at, "fsck")
