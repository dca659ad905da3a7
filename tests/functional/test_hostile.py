"""Hostile candidates: each is contained, counted and explained, and the next candidate notices nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from evogit.catalog import Task, load_task_folder
from evogit.errors import SandboxError
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.sandbox import Sandbox
from evogit.store import repository
from evogit.store.objects import Objects
from evogit.values import Evaluation

CONTAINING: list[sandbox.Tier] = ["bubblewrap", "landlock"]
LIMITS = """
[limits]
memory = "200M"
processes = 20
file_size = "8M"
output = "64K"
disk = "32M"
"""
TRUSTED = """
import importlib.util, sys

def evaluate(folder):
    spec = importlib.util.spec_from_file_location("candidate", folder / "candidate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return float(module.answer())
"""
COMMAND = """
import json, os, subprocess, sys

result = os.environ.pop("EVOGIT_RESULT")
out = subprocess.run([sys.executable, "-c", "import candidate; print('answer', float(candidate.answer()))"],
                     capture_output=True, text=True, env={"PYTHONPATH": "."})
sys.stderr.write(out.stderr[-2000:])
if out.returncode:
    sys.exit(1)
json.dump({"score": float(out.stdout.rsplit("answer ", 1)[1])}, open(result, "w"))
"""
HONEST = "def answer():\n    return 7\n"


def tier(name: sandbox.Tier) -> Sandbox:
    try:
        return sandbox.probe(name)
    except SandboxError as error:
        pytest.skip(str(error))


def make_task(folder: Path, kind: str) -> Task:
    folder.mkdir()
    how = 'function = "judge.py:evaluate"' if kind == "function" else 'command = ["python", "judge.py"]'
    (folder / "task.toml").write_text(
        f'direction = "maximize"\nevolve = ["*.py"]\n[evaluation]\n{how}\ndeadline = 3\n{LIMITS}'
    )
    (folder / "goal.md").write_text("Answer.\n")
    (folder / "judge.py").write_text(TRUSTED if kind == "function" else COMMAND)
    return load_task_folder(folder)


class Bench:
    """A repository of candidates and a way to score them."""

    def __init__(self, place: Path, kind: str, chosen: Sandbox) -> None:
        self.task = make_task(place / "task", kind)
        self.repo = repository.create(place / "repo", {"candidate.py": (HONEST.encode(), False)}, "start")
        self.objects: Objects = self.repo.objects()
        head = self.objects.resolve("HEAD")
        assert head is not None
        self.base = self.objects.commit(head).tree
        self.chosen = chosen
        self.scratch = place / "scratch"

    async def scores(self, *codes: str, together: bool = False) -> list[Evaluation]:
        trees = [self.objects.edit(self.base, {"candidate.py": code.encode()}) for code in codes]
        async with Evaluator(
            self.task, self.objects, jobs=2 if together else 1, sandbox=self.chosen, scratch=self.scratch
        ) as evaluator:
            if together:
                return await asyncio.gather(*map(evaluator.evaluate, trees))
            return [await evaluator.evaluate(tree) for tree in trees]


@contextmanager
def nothing_left() -> Iterator[None]:
    """No process and no workspace of this process's stays behind."""
    yield
    gone, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=5)
    assert [p.name() for p in alive] == [], gone
    assert not any(Path("/dev/shm").glob(f"evogit-{os.getpid()}-*"))


# What it does, the code, the statuses it may end with. All must be explained and none may be scored.
ATTACKS = {
    "fork bomb": (
        "import os\ndef answer():\n    while True:\n        os.fork()\n",
        {"timeout", "failed", "crashed", "memory"},
    ),
    "endless loop": ("def answer():\n    while True:\n        pass\n", {"timeout"}),
    "endless output": (
        "import os\ndef answer():\n    while True:\n        os.write(1, b'x' * 4096)\n",
        {"output", "timeout", "failed", "memory"},
    ),
    "memory hog": ("def answer():\n    return len([bytes(1 << 20) for _ in range(4000)])\n", {"memory", "failed"}),
    "deep recursion": ("def answer():\n    return answer()\n", {"failed"}),
    "recursion without a limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef answer():\n    f = lambda: f()\n    return f()\n",
        {"failed", "crashed", "memory", "timeout"},
    ),
    "sys.exit": ("import sys\ndef answer():\n    sys.exit(0)\n", {"failed"}),
    "os._exit": ("import os\ndef answer():\n    os._exit(0)\n", {"failed"}),
    "segmentation fault": ("import ctypes\ndef answer():\n    ctypes.string_at(0)\n", {"crashed", "failed"}),
    "not a number": ("def answer():\n    return float('nan')\n", {"no-result"}),
    "infinite": ("def answer():\n    return float('inf')\n", {"no-result", "failed"}),
    "a large file": (
        "def answer():\n    with open('/tmp/x', 'wb') as f:\n        for _ in range(100): f.write(bytes(1 << 20))\n"
        "    return 1e9\n",
        {"failed", "crashed"},
    ),
    "syntax error": ("def answer(:\n", {"failed"}),
    "waiting for ever": ("import time\ndef answer():\n    time.sleep(1000)\n", {"timeout"}),
    "ignoring signals": (
        "import signal, time\ndef answer():\n    for s in (1, 2, 3, 13, 14, 15):\n"
        "        signal.signal(s, signal.SIG_IGN)\n"
        "    while True:\n        time.sleep(1)\n",
        {"timeout"},
    ),
}


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("name", [*CONTAINING, "limits"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_contained_counted_and_explained(tmp_path: Path, attack: str, name: sandbox.Tier, kind: str) -> None:
    if attack == "fork bomb" and name != "bubblewrap":
        pytest.skip("without namespaces the process watch needs room that a test machine shares with other tests")
    code, statuses = ATTACKS[attack]
    bench = Bench(tmp_path, kind, tier(name))
    with nothing_left():
        bad, good = asyncio.run(bench.scores(code, HONEST))
    assert bad.status in statuses, (bad.status, bad.feedback, bad.stderr)
    assert bad.score is None
    assert bad.feedback.strip()
    assert good.score == 7.0, (good.status, good.feedback, good.stderr)


# What it tries to reach or do; the score tells how far it came: 7 means that it was kept from it.
PRIVATE = {
    "the user's home": (
        "def answer():\n    try:\n        return 1e9 if open({secret!r}).read() else 7\n    except OSError:\n"
        "        return 7\n"
    ),
    "the environment": ("import os\ndef answer():\n    return 1e9 if 'hunter2' in str(dict(os.environ)) else 7\n"),
    "other processes' environments": (
        "import glob\ndef answer():\n    for p in glob.glob('/proc/[0-9]*/environ'):\n        try:\n"
        "            if b'hunter2' in open(p, 'rb').read(): return 1e9\n        except OSError: pass\n    return 7\n"
    ),
    "the network": (
        "import socket\ndef answer():\n    try:\n        socket.create_connection(('127.0.0.1', {port}), 1)\n"
        "    except OSError:\n        return 7\n    return 1e9\n"
    ),
    "files outside": (
        "def answer():\n    try:\n        open({outside!r}, 'w').write('x')\n    except OSError:\n        return 7\n"
        "    return 1e9\n"
    ),
    "its own evaluator": (
        "import glob, sys\ndef answer():\n    for p in ['judge.py', *glob.glob('/dev/shm/evogit-*/*/judge.py')] + "
        "[m.__file__ for n, m in list(sys.modules.items()) if n == 'judge']:\n        try:\n"
        "            open(p, 'w').write('def evaluate(folder): return 1e9')\n        except OSError: pass\n"
        "    return 7\n"
    ),
}


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("name", CONTAINING)
@pytest.mark.parametrize("what", PRIVATE)
def test_cannot_reach(
    tmp_path: Path, what: str, name: sandbox.Tier, kind: str, hermetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2")
    secret, outside = hermetic / "secret.txt", tmp_path / "outside.txt"
    secret.write_text("hunter2")
    outside.write_text("mine")
    reached: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        thread = threading.Thread(target=_accept, args=(listener, reached), daemon=True)
        thread.start()
        code = PRIVATE[what].format(secret=str(secret), port=listener.getsockname()[1], outside=str(outside))
        (tmp_path / "bench").mkdir()
        bench = Bench(tmp_path / "bench", kind, tier(name))
        with nothing_left():
            bad, good = asyncio.run(bench.scores(code, HONEST))
        listener.close()
    assert bad.score in (7.0, None), (bad.status, bad.feedback)
    assert good.score == 7.0
    assert outside.read_text() == "mine"
    assert reached == []


def _accept(listener: socket.socket, reached: list[object]) -> None:
    try:
        connection, address = listener.accept()
    except OSError:
        return
    connection.close()
    reached.append(address)


POISON = {
    "a file in the folder": "open('json.py', 'w').write('raise SystemExit')\nopen('left', 'w').write('x')\n",
    "a file in /tmp": "open('/tmp/left', 'w').write('x')\n",
    "shared memory": "open('/dev/shm/left', 'w').write('x')\n",
    "imports": "import sys, json, math\nsys.modules['math'] = json\nmath.pi = 3\njson.loads = None\n",
    "its own file": "import os\nos.unlink('candidate.py')\nos.symlink('/etc/passwd', 'candidate.py')\n",
    "unreadable folders": "import os\nos.makedirs('a/b')\nos.chmod('a/b', 0)\nos.chmod('a', 0)\n",
    "a daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True:\n"
        "            try: open('left', 'w').write('x')\n            except OSError: pass\n"
        "            time.sleep(0.01)\n"
        "    os._exit(0)\n"
    ),
    "everybody killed": "import os, signal\nos.kill(-1, signal.SIGKILL)\n",
    "the parent killed": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n",
}
LOOK = (
    "import os, sys, math, json\n"
    "def answer():\n"
    "    clean = not any(map(os.path.exists, ('left', '/tmp/left', '/dev/shm/left')))\n"
    "    clean = clean and not os.path.exists('json.py') and not os.path.exists('a') and callable(json.loads)\n"
    "    clean = clean and math.__name__ == 'math' and math.pi > 3.1 and not os.path.islink('candidate.py')\n"
    "    return 7 if clean else -1\n"
)


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("name", CONTAINING)
@pytest.mark.parametrize("poison", POISON)
def test_the_next_candidate_notices_nothing(tmp_path: Path, poison: str, name: sandbox.Tier, kind: str) -> None:
    body = "def poison():\n" + "".join(f"    {line}\n" for line in POISON[poison].splitlines())
    code = body + "\ndef answer():\n    try:\n        poison()\n    except OSError:\n        pass\n    return 1\n"
    bench = Bench(tmp_path, kind, tier(name))
    with nothing_left():
        results = asyncio.run(bench.scores(code, LOOK, HONEST))
    assert results[1].score == 7.0, (results[0], results[1])
    assert results[2].score == 7.0


@pytest.mark.parametrize("name", CONTAINING)
def test_a_neighbour_is_neither_seen_nor_signalled(tmp_path: Path, name: sandbox.Tier) -> None:
    killer = (
        "import os, signal, time\ndef answer():\n    end = time.monotonic() + 1\n    while time.monotonic() < end:\n"
        "        for pid in range(2, 400):\n            if pid != os.getpid():\n                try: os.kill(pid, 9)\n"
        "                except OSError: pass\n    return 1\n"
    )
    patient = "import time\ndef answer():\n    time.sleep(1.2)\n    return 7\n"
    bench = Bench(tmp_path, "function", tier(name))
    with nothing_left():
        results = asyncio.run(bench.scores(killer, patient, together=True))
    assert results[1].score == 7.0, results


@pytest.mark.parametrize("name", CONTAINING)
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import os\ndef answer():\n    os.write(1, b'{\"score\": 1e9}')\n    os._exit(0)\n", "failed"),
        (
            "import os\ndef answer():\n    for fd in range(3, 256):\n        try: os.write(fd, b'{\"score\": 1e9}')\n"
            "        except OSError: pass\n    os._exit(0)\n",
            "forged",
        ),
    ],
)
def test_a_forged_score_does_not_count(tmp_path: Path, code: str, status: str, name: sandbox.Tier) -> None:
    bench = Bench(tmp_path, "function", tier(name))
    with nothing_left():
        bad, good = asyncio.run(bench.scores(code, HONEST))
    assert (bad.status, bad.score) == (status, None)
    assert good.score == 7.0


@pytest.mark.parametrize("name", CONTAINING)
def test_a_disk_filler_ends_at_the_limit(tmp_path: Path, name: sandbox.Tier) -> None:
    if name != "bubblewrap":
        pytest.skip("only mounts of its own bound what a candidate writes in all; Landlock bounds each file")
    code = (
        "def answer():\n    for n in range(100):\n        with open(f'/tmp/{n}', 'wb') as f: f.write(bytes(1 << 20))\n"
        "    return 1e9\n"
    )
    before = shutil.disk_usage("/dev/shm").used
    bench = Bench(tmp_path, "function", tier(name))
    with nothing_left():
        bad, good = asyncio.run(bench.scores(code, HONEST))
    assert bad.status == "failed"
    assert "No space left" in bad.feedback
    assert good.score == 7.0
    assert shutil.disk_usage("/dev/shm").used - before < 64 << 20
