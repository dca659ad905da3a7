"""A real Ray cluster of two nodes: the same results as here, a node killed in the middle, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Git

pytestmark = pytest.mark.xdist_group("ray")

ROOT = Path(__file__).parents[2]
WAIT = 120

EVALUATE = '''"""How far the numbers are from a far target; a number below zero takes as many seconds."""
import json
import time


def evaluate(folder):
    time.sleep(json.loads((folder / "pause.json").read_text()))
    numbers = json.loads((folder / "numbers.json").read_text())
    return -sum(abs(1e6 * (i + 1) - x) for i, x in enumerate(numbers))
'''

TASK = """direction = "maximize"
evolve = ["numbers.json"]
[evaluation]
function = "evaluate.py:evaluate"
deadline = 100
"""


@dataclass
class Nodes:
    """The cluster, and the process that holds it."""

    process: subprocess.Popen[str]
    address: str

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(word, file=self.process.stdin, flush=True)
        assert json.loads(self.process.stdout.readline()) == {"did": word}

    def evaluating(self) -> list[int]:
        """Fork servers and candidates on all nodes."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "inside/__main__.py" in " ".join(process.cmdline()):
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        return found


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="needs Ray, which is not installed: pip install 'evogit[ray]'")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/raycluster.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        address = json.loads(process.stdout.readline())["address"]
        yield Nodes(process, address)
    finally:
        process.communicate(timeout=WAIT)


def make(folder: Path, git: Git, pause: float = 0.0) -> Path:
    task = folder / ".evogit/tasks/numbers"
    task.mkdir(parents=True)
    (task / "task.toml").write_text(TASK)
    (task / "goal.md").write_text("Bring the numbers near their targets.\n")
    (task / "evaluate.py").write_text(EVALUATE)
    (folder / "numbers.json").write_text(json.dumps([float(i) for i in range(20)], indent=1))
    (folder / "pause.json").write_text(json.dumps(pause))
    (folder / "package").mkdir()
    for number in range(30):
        (folder / f"package/module{number}.py").write_text(f"VALUE = {number}\n")
    git("init", "--quiet", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "Start", cwd=folder)
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evogit", *arguments]


def environment(address: str) -> dict[str, str]:
    return {**os.environ, "EVOGIT_ENGINE_KIND": "ray", "EVOGIT_ENGINE_ADDRESS": address}


def run(folder: Path, *arguments: str, address: str = "") -> tuple[list[dict[str, Any]], str]:
    """The events of one run, and what it says beside them."""
    done = subprocess.run(
        command("run", "--json", "--agents", "dial:4", *arguments),
        cwd=folder,
        env=environment(address) if address else None,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_the_same_champion_as_here(tmp_path: Path, git: Git, nodes: Nodes) -> None:
    """And each tree and blob is shipped once: as many objects as Git counts in all the trees that were evaluated."""
    options = ("--deterministic", "--seed", "7", "--candidates", "40")
    (here, _), (there, said) = (
        run(make(tmp_path / name, git), *options, address=address)
        for name, address in (("here", ""), ("there", nodes.address))
    )
    first, last = here[-1], there[-1]
    assert first["accepted"] > 3
    assert (last["best_commit"], last["best_score"]) == (first["best_commit"], first["best_score"])
    assert said == ""
    engine = last["engine"]
    commits = [event["commit"] for event in there if event["event"] == "candidate"]
    listed = git(
        "rev-list", "--objects", "--no-object-names", *[f"{c}^{{tree}}" for c in commits], cwd=tmp_path / "there"
    )
    start = git("rev-list", "--objects", "--no-object-names", "HEAD^{tree}", cwd=tmp_path / "there")
    assert engine["shipped"] == len(set(listed.split()) | set(start.split()))
    assert engine["peak"] == 1
    assert last["engine"]["lost"] == 0
