"""Hostile candidates: each is contained, counted and explained, and the next candidate notices nothing."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
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

ROOT = Path(__file__).parents[2]
NOBODY = 65534
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
APART = """
def evaluate(folder, candidate):
    return float(candidate.call("candidate.py:answer"))
"""
COMMAND = """
import json, os, subprocess, sys

result = os.environ.pop("EVOGIT_RESULT")
out = subprocess.run([sys.executable, "-c", "import candidate; print('answer', float(candidate.answer()))"],
                     capture_output=True, text=True, env={"PYTHONPATH": ".", "TMPDIR": os.environ["TMPDIR"]})
sys.stderr.write(out.stderr[-2000:])
if out.returncode:
    sys.exit(1)
json.dump({"score": float(out.stdout.rsplit("answer ", 1)[1])}, open(result, "w"))
"""
HONEST = "def answer():\n    return 7\n"


@functools.cache
def tier(name: sandbox.Tier) -> Sandbox:
    try:
        return sandbox.probe(name)
    except SandboxError as error:
        pytest.skip(str(error))


def make_task(folder: Path, kind: str) -> Task:
    folder.mkdir()
    how = 'command = ["python", "judge.py"]' if kind == "command" else 'function = "judge.py:evaluate"'
    (folder / "task.toml").write_text(
        f'direction = "maximize"\nevolve = ["*.py"]\n[evaluation]\n{how}\ndeadline = 3\n{LIMITS}'
    )
    (folder / "goal.md").write_text("Answer.\n")
    (folder / "judge.py").write_text({"function": TRUSTED, "apart": APART, "command": COMMAND}[kind])
    return load_task_folder(folder)


class Bench:
    """A repository of candidates and a way to score them."""

    def __init__(self, place: Path, kind: str, chosen: Sandbox) -> None:
        self.task = make_task(place / "task", kind)
        self.repo = repository.create(
            place / "repo", {"candidate.py": (HONEST.encode(), False), "other.py": (b"x = 1\n", False)}, "start"
        )
        self.objects: Objects = self.repo.objects()
        head = self.objects.resolve("HEAD")
        assert head is not None
        self.base = self.objects.commit(head).tree
        self.chosen = chosen
        self.scratch = place / "scratch"

    async def scores(self, *codes: str, first: int = 1) -> list[Evaluation]:
        """One after another on the same evaluator, the `first` of them side by side."""
        trees = [self.objects.edit(self.base, {"candidate.py": code.encode()}) for code in codes]
        async with Evaluator(
            self.task, self.objects, jobs=first, sandbox=self.chosen, scratch=self.scratch
        ) as evaluator:
            side = await asyncio.gather(*map(evaluator.evaluate, trees[:first]))
            return side + [await evaluator.evaluate(tree) for tree in trees[first:]]


@contextmanager
def nothing_left() -> Iterator[None]:
    """No process and no workspace of this process's stays behind."""
    yield
    gone, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=5)
    assert [p.name() for p in alive] == [], gone
    assert not any(Path("/dev/shm").glob(f"evogit-{os.getpid()}-*"))


# What it does, the code, the statuses it may end with. All must be explained and none may be scored.
ATTACKS = {
    "endless output": (
        "import os\ndef answer():\n    while True:\n        os.write(1, b'x' * 4096)\n",
        {"output", "timeout", "failed", "memory", "crashed"},
    ),
    "memory hog": ("def answer():\n    return len([bytes(1 << 20) for _ in range(4000)])\n", {"memory", "failed"}),
    "deep recursion": ("def answer():\n    return answer()\n", {"failed"}),
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
}
# What ends at the deadline, or earlier by another limit. They run side by side, because each takes so long.
ENDLESS = {
    "loop": "def answer():\n    while True:\n        pass\n",
    "recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef answer():\n    f = lambda: f()\n    return f()\n",
    "waiting": "import time\ndef answer():\n    time.sleep(1000)\n",
    "ignoring signals": (
        "import signal, time\ndef answer():\n    for s in (1, 2, 3, 13, 14, 15):\n"
        "        signal.signal(s, signal.SIG_IGN)\n"
        "    while True:\n        time.sleep(1)\n"
    ),
    "waiting for a child": (
        "import subprocess\ndef answer():\n    subprocess.run(['sleep', '1000'], start_new_session=True)\n"
    ),
}
BOMB = "import os\ndef answer():\n    while True:\n        os.fork()\n"


@pytest.mark.parametrize("kind", ["function", "apart", "command"])
@pytest.mark.parametrize("name", [*CONTAINING, "limits"])
def test_contained_counted_and_explained(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    bench = Bench(tmp_path, kind, tier(name))
    codes = [each for code, _ in ATTACKS.values() for each in (code, HONEST)]
    with nothing_left():
        results = asyncio.run(bench.scores(*codes))
    for (attack, (_, statuses)), bad, good in zip(ATTACKS.items(), results[::2], results[1::2], strict=True):
        assert bad.status in statuses, (attack, bad)
        assert bad.score is None
        assert bad.feedback.strip()
        assert good.score == 7.0, (attack, good)


@pytest.mark.parametrize("kind", ["function", "apart", "command"])
@pytest.mark.parametrize("name", [*CONTAINING, "limits"])
def test_the_endless_end_at_the_deadline(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    bench = Bench(tmp_path, kind, tier(name))
    with nothing_left():
        *bad, good = asyncio.run(bench.scores(*ENDLESS.values(), HONEST, first=len(ENDLESS)))
    for attack, evaluation in zip(ENDLESS, bad, strict=True):
        allowed = {"timeout"} if attack != "recursion" else {"failed", "crashed", "memory", "timeout"}
        assert evaluation.status in allowed, (attack, evaluation)
        assert evaluation.score is None
        assert evaluation.feedback.strip()
    assert good.score == 7.0


@pytest.mark.parametrize("kind", ["function", "command"])
def test_a_fork_bomb_stays_in_its_namespace(tmp_path: Path, kind: str) -> None:
    """Elsewhere the process watch holds it too, but takes a share of the machine that other tests need."""
    bench = Bench(tmp_path, kind, tier("bubblewrap"))
    with nothing_left():
        bad, good = asyncio.run(bench.scores(BOMB, HONEST))
    assert bad.status in {"timeout", "failed", "crashed", "memory"}
    assert bad.feedback.strip()
    assert good.score == 7.0


@pytest.mark.parametrize("name", ["landlock", "limits"])
def test_many_children_are_counted_where_no_namespace_holds_them(tmp_path: Path, name: sandbox.Tier) -> None:
    code = (
        "import os, time\ndef answer():\n    for _ in range(60):\n"
        "        if os.fork() == 0:\n            os.setsid()\n            time.sleep(100)\n    time.sleep(100)\n"
    )
    bench = Bench(tmp_path, "function", tier(name))
    with nothing_left():
        bad, good = asyncio.run(bench.scores(code, HONEST))
    assert bad.status == "failed"
    assert "processes" in bad.feedback
    assert good.score == 7.0


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
    "a socket of the user's desktop": (
        "import socket\ndef answer():\n    try:\n        pair = socket.socketpair(type=socket.SOCK_DGRAM)\n"
        "        pair[0].sendto(b'x', {local!r})\n        return 1e9\n    except OSError:\n        pass\n    try:\n"
        "        s = socket.socket(socket.AF_UNIX)\n        s.connect({local!r} + 's')\n    except OSError:\n"
        "        return 7\n    return 1e9\n"
    ),
    "another program's memory": (
        "import os\ndef answer():\n    try:\n        return 1e9 if open({shared!r}).read() else 7\n"
        "    except OSError:\n        return 7\n"
    ),
    "the server's limits": (
        "import os, resource\ndef answer():\n    if os.getppid() == 0 or {kind!r} != 'function':\n"
        "        return 7\n    try:\n"
        "        resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))\n    except OSError:\n"
        "        return 7\n    return 1e9\n"
    ),
    "files outside": (
        "def answer():\n    try:\n        open({outside!r}, 'w').write('x')\n    except OSError:\n        return 7\n"
        "    return 1e9\n"
    ),
    "permissions outside": (
        "import os\ndef answer():\n    try: os.chmod({outside!r}, 0o777)\n    except OSError: pass\n    return 7\n"
    ),
    "its own evaluator": (
        "import glob, sys\ndef answer():\n    for p in ['judge.py', *glob.glob('/dev/shm/evogit-*/*/judge.py')] + "
        "[m.__file__ for n, m in list(sys.modules.items()) if n == 'judge']:\n        try:\n"
        "            open(p, 'w').write('def evaluate(folder): return 1e9')\n        except OSError: pass\n"
        "    return 7\n"
    ),
}


@pytest.mark.parametrize("kind", ["function", "apart", "command"])
@pytest.mark.parametrize("name", CONTAINING)
def test_cannot_reach(
    tmp_path: Path, name: sandbox.Tier, kind: str, hermetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2")
    secret, outside = hermetic / "secret.txt", tmp_path / "outside.txt"
    secret.write_text("hunter2")
    outside.write_text("mine")
    outside.chmod(0o600)
    reached: list[object] = []
    local = tempfile.mkdtemp(prefix="evogit-", dir="/tmp") + "/s"
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="other-") as shared,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as stream,
    ):
        shared.write(b"hunter2")
        shared.flush()
        datagrams.bind(local)
        stream.bind(local + "s")
        stream.listen()
        listener.settimeout(30)
        thread = threading.Thread(target=_accept, args=(listener, reached), daemon=True)
        thread.start()
        words = {"secret": str(secret), "port": listener.getsockname()[1], "outside": str(outside), "local": local}
        words |= {"shared": shared.name, "kind": kind}
        codes = [each for code in PRIVATE.values() for each in (code.format(**words), HONEST)]
        (tmp_path / "bench").mkdir()
        bench = Bench(tmp_path / "bench", kind, tier(name))
        with nothing_left():
            results = asyncio.run(bench.scores(*codes))
        listener.close()
    shutil.rmtree(Path(local).parent)
    for what, bad, good in zip(PRIVATE, results[::2], results[1::2], strict=True):
        assert bad.score == 7.0, (what, bad)
        assert good.score == 7.0, (what, good)
    assert outside.read_text() == "mine"
    assert outside.stat().st_mode & 0o777 == 0o600
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
    "deep folders": (
        "import os\nos.chdir(os.environ.get('TMPDIR', '/tmp'))\nfor _ in range(3000):\n    os.mkdir('left')\n"
        "    os.chdir('left')\n"
    ),
    "an unreadable /tmp": "import os\nos.chmod(os.environ.get('TMPDIR', '.'), 0)\nos.chmod('.', 0)\n",
    "everywhere": (
        "import os\nfor d in ('/', '/etc', '/dev', '/evogit', '/home', '/var/tmp', '/run', '/proc', os.getcwd()):\n"
        "    try: open(d + '/left', 'w').write('x')\n    except OSError: pass\n"
    ),
    "a file without a trace": (
        "import mmap\nfor name in ('judge.py', 'other.py'):\n    with open(name, 'r+b') as f:\n"
        "        m = mmap.mmap(f.fileno(), 0)\n        m[:] = b'#' * len(m)\n        m.flush()\n        m.close()\n"
    ),
    "everybody killed": "import os, signal\nos.kill(-1, signal.SIGKILL)\n",
    "the parent killed": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n",
}
LOOK = (
    "import os, sys, math, json\n"
    "def answer():\n"
    "    places = ('', '/tmp/', '/dev/shm/', '/', '/etc/', '/dev/', '/evogit/', '/home/', '/var/tmp/', '/run/')\n"
    "    clean = not any(os.path.exists(p + 'left') for p in (*places, os.environ.get('TMPDIR', '/tmp') + '/'))\n"
    "    clean = clean and open('other.py').read() == 'x = 1\\n'\n"
    "    clean = clean and not os.path.exists('json.py') and not os.path.exists('a') and callable(json.loads)\n"
    "    clean = clean and math.__name__ == 'math' and math.pi > 3.1 and not os.path.islink('candidate.py')\n"
    "    return 7 if clean else -1\n"
)


@pytest.mark.parametrize("kind", ["function", "apart", "command"])
@pytest.mark.parametrize("name", CONTAINING)
def test_the_next_candidate_notices_nothing(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    codes = []
    for poison in POISON.values():
        body = "def poison():\n" + "".join(f"    {line}\n" for line in poison.splitlines())
        codes += [body + "def answer():\n    try: poison()\n    except OSError: pass\n    return 1\n", LOOK]
    bench = Bench(tmp_path, kind, tier(name))
    with nothing_left():
        results = asyncio.run(bench.scores(*codes))
    for poison, bad, good in zip(POISON, results[::2], results[1::2], strict=True):
        assert good.score == 7.0, (poison, bad, good)


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
        results = asyncio.run(bench.scores(killer, patient, first=2))
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


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("name", [*CONTAINING, "limits"])
def test_a_disk_filler_ends_at_the_limit(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    """In its own mounts a full disk says so; elsewhere what is written is measured now and then."""
    places = ["tempfile.gettempdir()", *(["'.'"] if kind == "command" else [])]
    codes = [
        f"import os, tempfile, time\ndef answer():\n    for n in range(100):\n"
        f"        with open(os.path.join({place}, str(n)), 'wb') as f: f.write(bytes(1 << 20))\n"
        "    time.sleep(20)\n    return 1e9\n"
        for place in places
    ]
    bench = Bench(tmp_path, kind, tier(name))
    with nothing_left():
        results = asyncio.run(bench.scores(*(each for code in codes for each in (code, HONEST))))
    for bad, good in zip(results[::2], results[1::2], strict=True):
        assert bad.status == "failed", bad
        assert "No space left" in bad.feedback + bad.stderr.decode() or "more into them" in bad.feedback, bad
        assert good.score == 7.0


# Behind the judge's back: in its own process where it lets the candidate in, or in the file that it writes.
FORGED = {
    "function": (
        "import json\ndef answer():\n"
        '    json.dumps = lambda _: \'{"score": 1e9, "metrics": {}, "feedback": ""}\'\n    return 1\n'
    ),
    "command": (
        "import os, time\ndef answer():\n"
        "    words = open(f'/proc/{os.getppid()}/environ', 'rb').read().split(b'\\0')\n"
        "    path = [w for w in words if w.startswith(b'EVOGIT_RESULT=')][0].partition(b'=')[2]\n"
        "    if os.fork() == 0:\n        os.setsid()\n        os.closerange(0, 3)\n        if os.fork():\n"
        "            os._exit(0)\n        end = time.monotonic() + 2\n        while time.monotonic() < end:\n"
        "            if os.path.exists(path) and os.path.getsize(path):\n"
        "                open(path, 'w').write('{\"score\": 1e9}')\n                break\n        os._exit(0)\n"
        "    return 1\n"
    ),
}


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("name", CONTAINING)
def test_a_score_forged_behind_the_judge_s_back_does_not_count(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    bench = Bench(tmp_path, "apart" if kind == "function" else kind, tier(name))
    with nothing_left():
        bad, good = asyncio.run(bench.scores(FORGED[kind], HONEST))
    assert bad.score in (None, 1.0)
    assert good.score == 7.0


def test_a_judge_that_imports_its_candidate_can_be_fooled(tmp_path: Path) -> None:
    """As docs/tasks.md says: such a judge has let a stranger into its own process. `verify` and a holdout tell."""
    (bad,) = asyncio.run(Bench(tmp_path, "function", tier("bubblewrap")).scores(FORGED["function"]))
    assert bad.score == 1e9


UNPRIVILEGED = Path("/usr/bin/python3")


@pytest.mark.parametrize("name", CONTAINING)
def test_all_this_holds_for_an_ordinary_user(name: sandbox.Tier) -> None:
    """The tests of what is left and reached, once more as a user without rights of any kind."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; for anybody else the other tests have shown it")
    tier(name)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    place = Path(tempfile.mkdtemp(prefix="evogit-ordinary-", dir="/tmp"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "PYTHONPATH": os.pathsep.join([str(ROOT), *packages])}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(place), "EVOGIT_TEST_REAL_HOME": "/nonexistent"}
    # A shared checkout under somebody's home may be closed to others.
    look = [str(UNPRIVILEGED), "-c", "import evogit.store.repository, pytest, psutil, pydantic_core"]
    chosen = f"(next_candidate and {name}-command) or (cannot_reach and {name}-apart)"
    test = ["-m", "pytest", str(Path(__file__)), "-p", "no:cacheprovider", "-p", "no:randomly", "-k", chosen]
    place.chmod(0o777)
    try:
        if subprocess.run(look, user=NOBODY, group=NOBODY, extra_groups=[], env=environment, check=False).returncode:
            pytest.skip("the interpreter or this checkout cannot be read by another user")
        done = subprocess.run(
            [str(UNPRIVILEGED), *test, f"--basetemp={place / 'base'}"],
            user=NOBODY, group=NOBODY, extra_groups=[], env=environment, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
