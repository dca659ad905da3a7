"""A real Ray cluster of two nodes: the same results as here, a node killed in the middle, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Git

ROOT = Path(__file__).parents[2]
WAIT = 120
EVALUATING = "inside/__main__.py"  # fork servers and candidates
WORKER = "ray::Station"  # holds its node's processors
SECRET = "sk-that-never-leaves-the-host"

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

    def environments(self) -> list[str]:
        """Of every process on all nodes."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                found.append(repr(process.environ()) + repr(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def processes(self, *words: str) -> list[int]:
        """Those on all nodes that have any of `words` in their command line."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
                if any(word in line for word in words):
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
    engine = {"EVOGIT_ENGINE_KIND": "ray", "EVOGIT_ENGINE_ADDRESS": address}
    return {**os.environ, **engine, "OPENAI_API_KEY": SECRET}


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
    assert_empty(nodes)
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


def start(folder: Path, address: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", "--json", "--agents", "dial:6", *arguments),
        cwd=folder,
        env=environment(address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_node_killed_in_the_middle(tmp_path: Path, git: Git, nodes: Nodes) -> None:
    """The run goes on, on the other node, and on one that joins; whatever was told of is in the record."""
    assert_empty(nodes)
    folder = make(tmp_path / "repo", git, pause=0.2)
    running = start(folder, nodes.address, "--candidates", "60")
    assert running.stdout is not None
    events = []
    for line in running.stdout:
        events.append(json.loads(line))
        told = sum(event["event"] == "candidate" for event in events)
        if told == 5 and events[-1]["event"] == "candidate":
            nodes.say("kill")
            nodes.say("add")
    _, said = running.communicate(timeout=WAIT)
    assert running.returncode == 0, said
    begun, ended = events[0], events[-1]
    assert begun["jobs"] == len(begun["engine"]["nodes"]) == 2
    assert ended["candidates"] == 60
    engine = ended["engine"]
    assert engine["lost"] == 1
    assert engine["peak"] in (2, 3)  # 3 where the new node is there before the lost one is missed
    assert engine["retried"] >= 1  # its only slot was never idle
    notes = [event["text"] for event in events if event["event"] == "notice"]
    assert any("is lost" in text for text in notes), notes
    assert said == ""
    commits = {event["commit"] for event in events if event["event"] == "candidate"}
    kept = git("log", "--format=%H", "--glob=refs/evogit", "--glob=refs/heads/evogit", cwd=folder).split()
    assert commits <= set(kept)
    checked = subprocess.run(command("fsck"), cwd=folder, capture_output=True, text=True, timeout=WAIT, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert_empty(nodes)


def assert_empty(nodes: Nodes) -> None:
    """No evaluation, no server that could begin one, and no worker is left on any node."""
    until(lambda: not nodes.processes(EVALUATING, WORKER))


def until(condition: Callable[[], object]) -> None:
    """Wait for it; a slow machine gets much time."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


@pytest.mark.parametrize(("signals", "code"), [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGKILL,), -9)])
def test_nothing_runs_on_after_the_end(
    signals: tuple[int, ...], code: int, tmp_path: Path, git: Git, nodes: Nodes
) -> None:
    """Evaluations of minutes end with the run that asked for them, however that ends."""
    assert_empty(nodes)
    folder = make(tmp_path / "repo", git)
    slow = EVALUATE.replace("    return", "    time.sleep(0 if sum(numbers) == 190 else 90)\n    return")
    (folder / ".evogit/tasks/numbers/evaluate.py").write_text(slow)
    running = start(folder, nodes.address, "--candidates", "5")
    try:
        end_and_look(running, signals, code, nodes)
    finally:
        running.kill()  # whatever failed: it would hold the nodes of the tests that follow


def end_and_look(running: subprocess.Popen[str], signals: tuple[int, ...], code: int, nodes: Nodes) -> None:
    assert running.stdout is not None
    line = next((line for line in running.stdout if json.loads(line)["event"] == "started"), "")
    assert line, running.communicate(timeout=WAIT)
    until(lambda: nodes.processes(EVALUATING) and nodes.processes(WORKER))
    time.sleep(1)  # the start is evaluated by now, its children take longer than this test
    environments = nodes.environments()
    assert environments
    assert not any(SECRET in text for text in environments)
    *first, last = signals
    for number in first:
        running.send_signal(number)
        assert running.stderr is not None
        assert any("again ends at once" in line for line in running.stderr)
    running.send_signal(last)
    _, said = running.communicate(timeout=WAIT)
    assert running.returncode == code, said
    assert_empty(nodes)


@pytest.mark.parametrize(
    ("address", "code", "text"),
    [
        ("127.0.0.1:1", 1, "no Ray cluster answers at 127.0.0.1:1"),
        ("ray://somewhere:10001", 2, "expected HOST:PORT"),
    ],
)
def test_a_wrong_address(address: str, code: int, text: str, tmp_path: Path, git: Git) -> None:
    folder = make(tmp_path / "repo", git)
    done = subprocess.run(
        command("run"), cwd=folder, env=environment(address), capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_ray(tmp_path: Path, git: Git) -> None:
    folder = make(tmp_path / "repo", git)
    program = "import sys; sys.modules['ray'] = None; from evogit.cli.main import run; sys.exit(run(['run']))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment("auto"),
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install 'evogit[ray]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
