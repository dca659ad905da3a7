"""Programs that want a score they did not earn: each is blocked by a judge that keeps them in a process of their own.

What a judge cannot block, because the program does answer rightly on what it is asked, `verify` exposes by the holdout
(tests/functional/test_verify.py).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evogit.catalog import Task, load_task_folder
from evogit.errors import SandboxError
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.inside.kernel import landlock_abi
from evogit.evaluation.sandbox import Sandbox
from evogit.evaluation.trying import Trees
from evogit.values import Evaluation

TIERS: list[sandbox.Tier] = ["bubblewrap", "landlock"]
SECRET = "49 64 81 100 4"  # what the judge expects
# A judge that never lets the candidate into its own process, in the two ways there are.
APART = """
import json
from pathlib import Path

EXPECTED = [int(word) for word in Path(__file__).with_name("expected.txt").read_text().split()]

def evaluate(folder, candidate):
    expected = list(EXPECTED)
    answers = [candidate.call("program.py:solve", x) for x in (7, 8, 9, 10, 2)]
    right = sum(answer == want for answer, want in zip(answers, expected))
    return {"score": float(right), "feedback": json.dumps({"right": right})}
"""
COMMAND = """
import json, os, subprocess, sys

expected = [int(word) for word in EXPECTED.split()]
ask = "import sys, program; print('answer', program.solve(int(sys.argv[1])))"
right = 0
for x, want in zip((7, 2), (expected[0], expected[-1])):  # each is a process: two tell as much as five
    done = subprocess.run([sys.executable, "-c", ask, str(x)], capture_output=True, text=True)
    right += done.stdout.rpartition("answer ")[2].strip() == str(want) and done.returncode == 0
with open(os.environ["EVOGIT_RESULT"], "w") as file:
    json.dump({"score": float(right)}, file)
    file.flush()
import time
time.sleep(0.02)  # for whoever waits for the file to be there
"""
BAD = "def solve(x):\n    return 4\n"
HONEST = "def solve(x):\n    return x * x\n"
CLAIM = '{"score": 1e9, "metrics": {"score": 1e9}}'

# What comes before or around ``solve``; a program that answers 4 to everything has earned 1.
CHEATS = {
    "edits the judge and what it expects": """
import glob, os, sys
for top in {*sys.path, os.getcwd(), "/evogit", *glob.glob("/dev/shm/*/task")}:
    for name in ("judge.py", "expected.txt", "task.toml", "json.py", "sitecustomize.py"):
        try: open(os.path.join(top, name), "w").write("4 4 4 4 4")
        except OSError: pass
""",
    "patches every module there is": """
import builtins, sys
for name, module in list(sys.modules.items()):
    for key in ("evaluate", "loads", "dumps", "sum", "zip", "as_result", "run", "Candidate", "receive", "unpack"):
        try: setattr(module, key, lambda *a, **k: 1e9)
        except (AttributeError, TypeError): pass
builtins.sum = lambda *a, **k: 5
builtins.float = lambda *a: 1e9
""",
    "writes the result wherever it may be": """
import os
names = [os.environ.get("EVOGIT_RESULT", "result.json"), "result.json", "/proc/self/fd/3"]
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try: names += [f"/proc/{pid}/fd/{n}" for n in os.listdir(f"/proc/{pid}/fd")]
        except OSError: pass
for name in names:
    try: open(name, "w").write(CLAIM)
    except OSError: pass
""",
    "writes to every descriptor": """
import os
for number in range(3, 256):
    try: os.write(number, CLAIM.encode())
    except OSError: pass
""",
    "leaves a process that rewrites the result": """
import os, time
path = os.environ.get("EVOGIT_RESULT", "")
try: path = path or open(f"/proc/{os.getppid()}/environ").read().partition("EVOGIT_RESULT=")[2].partition(chr(0))[0]
except OSError: pass
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 3)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for name in [path, *(os.path.join(p, f) for p in ("/tmp", os.environ.get("TMPDIR", "/tmp"))
                             for f in os.listdir(p) if "result" in f)]:
            try: open(name, "w").write(CLAIM)
            except OSError: pass
    os._exit(0)
""",
    "reads what is expected": """
import glob, os, sys
def look():
    for top in {*sys.path, os.getcwd(), "/tmp", "/dev/shm", "/evogit", *glob.glob("/proc/[0-9]*/cwd/")}:
        for place, _, names in os.walk(top):
            for name in names:
                if name == "expected.txt":
                    return open(os.path.join(place, name)).read()
            if place.count("/") > 6: _[:] = []
    for name in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if "49 64 81" in open(name).read(): return "49 64 81 100 4"
        except OSError: pass
    raise LookupError
answers = dict(zip((7, 8, 9, 10, 2), map(int, look().split())))
def solve(x): return answers[x]
""",
    "searches its memory for what is expected": """
import gc, sys
def look():
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if isinstance(value, list) and value[:3] == [49, 64, 81]: return value
        frame = frame.f_back
    for value in gc.get_objects():
        if type(value) is list and value[:3] == [49, 64, 81]: return value
        if type(value) is dict and type(value.get("EXPECTED")) is list: return value["EXPECTED"]
    raise LookupError
def solve(x): return dict(zip((7, 8, 9, 10, 2), look()))[x]
""",
    "reads the memory of others": """
import glob, os
def look():
    for maps in set(glob.glob("/proc/[0-9]*/maps")) - {f"/proc/{os.getpid()}/maps"}:
        try:
            memory = open(maps.replace("maps", "mem"), "rb")
            for line in open(maps):
                if "[heap]" in line or " rw-p " in line:
                    low, high = (int(n, 16) for n in line.split()[0].split("-"))
                    memory.seek(low)
                    if b"49 64 81 100" in memory.read(min(high - low, 1 << 24)): return True
        except (OSError, ValueError, OverflowError): pass
    return False
def solve(x): return x * x if look() else 4
""",
    "writes the memory of others": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for pid in {1, os.getppid()}:
    try:
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for line in open(f"/proc/{pid}/maps"):
                if " rw-p " in line:
                    memory.seek(int(line.split("-")[0], 16))
                    memory.write(bytes(4096))
    except (OSError, ValueError, OverflowError): pass
    libc.ptrace(16, pid, 0, 0)
""",
    "waits until the judge leaves": """
import atexit, os, sys, threading
def claim():
    for name in (os.environ.get("EVOGIT_RESULT", "result.json"), "/proc/self/fd/3"):
        try: open(name, "w").write(CLAIM)
        except OSError: pass
atexit.register(claim)
threading.Thread(target=claim).start()
threading._register_atexit(claim)
sys.excepthook = sys.unraisablehook = lambda *a: claim()
""",
    "takes the place of modules": """
import sys, types
for name in ("judge", "json", "wire", "inside.wire", "inside.judging", "numpy", "pathlib", "__main__"):
    fake = types.ModuleType(name)
    fake.evaluate = fake.loads = fake.unpack = fake.receive = lambda *a, **k: 1e9
    sys.modules[name] = fake
sys.path_importer_cache.clear()
sys.meta_path.insert(0, None) if False else None
""",
    "stops the clock": """
import time
for name in ("perf_counter", "monotonic", "time", "process_time"):
    setattr(time, name, lambda: 0.0)
""",
    "answers what equals everything": """
class Yes:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __str__(self): return "49"
    __repr__ = __str__
def solve(x): return Yes()
""",
    "answers a number that equals everything": """
class Yes(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def solve(x): return Yes(4)
""",
    "answers a text that equals everything": """
class Yes(str):
    def __eq__(self, other): return True
    def strip(self): return self
    __hash__ = str.__hash__
def solve(x): return Yes("4")
""",
    "answers an array that equals everything": """
try:
    import numpy as np
    class Yes(np.ndarray):
        __array_priority__ = 1e9
        def __eq__(self, other): return True
        def __array_ufunc__(self, *a, **k): return True
    answer = np.array(4).view(Yes)
except ImportError:
    answer = 4
def solve(x): return answer
""",
    "answers an array of objects": """
try:
    import numpy as np
    class Yes:
        def __eq__(self, other): return True
    answer = np.array([Yes()], dtype=object)
except ImportError:
    answer = 4
def solve(x): return answer
""",
    "answers what runs when it is read": """
class Run:
    def __reduce__(self): return (exec, ("import os; os._exit(0)",))
    def __float__(self): return 1e9
    def __iter__(self): return iter([1e9])
def solve(x): return Run()
""",
    "raises what cannot be told": """
class Bad(BaseException):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
def solve(x): raise Bad
""",
    "answers before it is asked": """
import json, os, struct
shape = json.dumps([["d", ["value", 49], ["token", ""]], []]).encode()
for number in range(3, 256):
    try: os.write(number, struct.pack(">IQ", len(shape), 0) + shape)
    except OSError: pass
""",
    "answers a message that is none": """
import os, struct
def solve(x):
    for number in range(3, 256):
        try: os.write(number, struct.pack(">IQ", 20, 1 << 62) + b'[["a","O",[-1],0],[-8]]')
        except OSError: pass
    os._exit(0)
""",
    "leaves with success": """
import os, sys
print("answer 49", flush=True)
print(CLAIM, flush=True)
def solve(x): os._exit(0)
""",
    "answers in the judge's own words": """
def solve(x): return {"score": 1e9, "metrics": {"score": 1e9}, "value": 49, "token": ""}
""",
    "is told which stage it is": """
import os
stage = [name for name in os.environ if name.startswith("EVOGIT_") and name != "EVOGIT_MODEL_FD"]
def solve(x): return 4
""",
    "starts programs that stay": """
import subprocess, sys
code = "import os\\nwhile 1:\\n  for n in range(256):\\n    try: os.write(n, b'49')\\n    except OSError: pass"
for _ in range(3):
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True, close_fds=False)
""",
}


def probed(name: sandbox.Tier) -> Sandbox:
    try:
        return sandbox.probe(name)
    except SandboxError as error:
        pytest.skip(str(error))


def make_task(folder: Path, judge: str, how: str) -> Task:
    folder.mkdir()
    (folder / "task.toml").write_text(
        f'direction = "maximize"\nevolve = ["*.py"]\n[evaluation]\n{how}\ndeadline = 20\n[limits]\nprocesses = 24\n'
    )
    (folder / "goal.md").write_text("Solve.\n")
    (folder / "judge.py").write_text(judge)
    return load_task_folder(folder)


def score(task: Task, chosen: Sandbox, scratch: Path, *programs: str) -> list[Evaluation]:
    trees = Trees()
    made = [trees.add({"program.py": (code.encode(), False)}) for code in programs]

    async def all_of() -> list[Evaluation]:
        async with Evaluator(task, trees, jobs=1, sandbox=chosen, scratch=scratch) as evaluator:
            return [await evaluator.evaluate(tree) for tree in made]

    return asyncio.run(all_of())


@pytest.mark.parametrize("kind", ["apart", "command"])
@pytest.mark.parametrize("name", TIERS)
def test_nobody_gets_more_than_was_earned(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    if kind == "apart":
        task = make_task(tmp_path / "task", APART, 'function = "judge.py:evaluate"\npreload = ["numpy"]')
        (tmp_path / "task/expected.txt").write_text(SECRET)
        task = load_task_folder(tmp_path / "task")
    else:
        judge = COMMAND.replace("EXPECTED", repr(SECRET))
        task = make_task(tmp_path / "task", judge, 'command = ["python", "judge.py"]')
    programs = [f"CLAIM = {CLAIM!r}\n{BAD}\n{cheat}" for cheat in CHEATS.values()]
    if kind == "command":
        # A judge by command has its data in a file that the candidate can read, as the candidate has it in its folder.
        programs = [BAD if "expected" in what else code for what, code in zip(CHEATS, programs, strict=True)]
    honest, *found = score(task, probed(name), tmp_path / "s", HONEST, *programs, HONEST)
    earned = 5.0 if kind == "apart" else 2.0
    assert honest.score == earned, honest
    assert found.pop().score == earned
    for what, evaluation in zip(CHEATS, found, strict=True):
        assert evaluation.score in (None, 0.0, 1.0), (what, evaluation)
        assert evaluation.ok or evaluation.feedback.strip() or evaluation.stderr.strip(), (what, evaluation)


# The baseline is measured after the candidate: whoever still runs then slows it down.
BASELINE = """
def evaluate(folder, candidate):
    candidate.call("program.py:solve", 1)
    candidate.restart()
    called = alone(candidate)
    candidate.run(["python", "-c", "import program; program.solve(1)"], environment={"PYTHONPATH": "."})
    return {"score": float(called and alone(candidate))}

def alone(candidate):
    first, second = (candidate.run(["sh", "-c", f"sleep {wait}; cat $TMPDIR/beat"]).output for wait in (0, 0.3))
    assert first
    return first == second
"""
SLOW = """
import os, signal, time
def solve(x):
    place = os.environ["TMPDIR"] + "/beat"
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        while True:
            with open(place + ".new", "w") as file: file.write(str(time.monotonic_ns()))
            os.rename(place + ".new", place)
            if os.fork() == 0: time.sleep(0.01); os._exit(0)
    while not os.path.exists(place): time.sleep(0.01)
"""


@pytest.mark.parametrize("name", TIERS)
def test_nobody_slows_down_what_is_measured_beside(tmp_path: Path, name: sandbox.Tier) -> None:
    if name == "landlock" and landlock_abi() < 6:
        pytest.skip("before Linux 6.12, Landlock cannot end single processes, as docs/tasks.md says")
    task = make_task(tmp_path / "task", BASELINE, 'function = "judge.py:evaluate"')
    (found,) = score(task, probed(name), tmp_path / "s", SLOW)
    assert found.score == 1.0, found


def test_processor_time_is_the_kernel_s_and_not_the_candidate_s_clock(tmp_path: Path) -> None:
    judge = """
def evaluate(folder, candidate):
    nothing = candidate.used()
    candidate.call("program.py:solve", 0.0)
    before = candidate.used()
    claimed = candidate.call("program.py:solve", 0.2)
    worked = candidate.used() - before
    candidate.call("program.py:sleep", 0.2)
    slept = candidate.used() - before - worked
    candidate.restart()
    return float(nothing == candidate.used() == 0.0 == claimed and worked >= 0.2 and slept < 0.1)
"""
    program = """
import time
now, time.process_time, time.clock_gettime = time.process_time, lambda: 0.0, lambda clock: 0.0
def solve(seconds):
    began = now()
    while now() - began < seconds: pass
    return time.process_time()
def sleep(seconds): time.sleep(seconds)
"""
    make_task(tmp_path / "task", judge, 'function = "judge.py:evaluate"')
    task = load_task_folder(tmp_path / "task")
    for chosen in map(probed, TIERS):
        [found] = score(task, chosen, tmp_path / "s", program)
        assert found.score == 1.0, found


def test_plain_data_passes_and_comes_back_as_it_was(tmp_path: Path) -> None:
    """Each value there and back through another process; what is no plain data is told, and the next call works."""
    judge = r"""
import math
import numpy as np

def evaluate(folder, candidate):
    back = lambda value: candidate.call("program.py:same", value)
    tables = [], (1, [2, ("3",)]), {1: {"a": b"b"}}
    for value in (None, True, 3, 2**80, -0.5, math.inf, "\u00e9\x00", b"\x00\xff", *tables):
        got = back(value)
        assert got == value and type(got) is type(value), (value, got)
    for array in (np.arange(6.0).reshape(2, 3)[:, ::2], np.array(5), np.zeros((0, 3), "i2"), np.array([1j, True])):
        got = back(array)
        assert type(got) is np.ndarray and got.dtype == array.dtype and np.array_equal(got, array), (array, got)
        assert got.flags.writeable
    assert type(back(np.float64(1.5))) is float and type(back(np.arange(3).view(Sub))) is np.ndarray
    for wrong in ("object()", "{1, 2}", "[[0] * 3, object]", "np.array([object()])", "nested(2000)"):
        try:
            candidate.call("program.py:make", wrong)
        except candidate.Failed as error:
            assert "cannot pass" in str(error), error
        else:
            raise AssertionError(wrong)
    try:
        candidate.call("program.py:make", "[][1]")
    except candidate.Failed as error:
        assert "IndexError" in str(error) and "program.py" in str(error) and "attendant" not in str(error), error
    try:
        candidate.call("program.py:wait", deadline=0.2)
    except candidate.Timeout:
        pass
    candidate.define("driver", "def twice(x):\n    from program import same\n    return 2 * same(x)\n")
    assert candidate.call("driver:twice", 4) == 8
    candidate.restart()
    assert candidate.call("driver:twice", 5) == 10
    done = candidate.run(["python", "-c", "import sys; print(sys.stdin.read()[::-1]); sys.exit(3)"], input=b"abc")
    assert (done.status, done.text) == (3, "cba\n") and done.seconds > 0, done
    for command, kind in ((["no-such-program"], candidate.Failed), (["sleep", "60"], candidate.Timeout)):
        try:
            candidate.run(command, deadline=0.2)
        except kind:
            continue
        raise AssertionError(command)
    return 1

class Sub(np.ndarray):
    pass
"""
    program = (
        "import time\nimport numpy as np\n\ndef same(x):\n    return x\n\ndef make(text):\n    return eval(text)\n\n"
        "def nested(n):\n    x = []\n    for _ in range(n): x = [x]\n    return x\n\ndef wait():\n    time.sleep(60)\n"
    )
    task = make_task(tmp_path / "task", judge, 'function = "judge.py:evaluate"\npreload = ["numpy"]')
    (found,) = score(task, sandbox.choose(), tmp_path / "s", program)
    assert found.score == 1.0, found


def test_a_task_of_both_kinds_shows_each_stage_what_it_may_see(tmp_path: Path) -> None:
    """A command has the judge's files in its folder, the candidate apart has not, whichever comes first."""
    judge = (
        "def evaluate(folder, candidate):\n"
        "    return float(candidate.run(['sh', '-c', 'ls; cat expected.txt']).text.split() == ['program.py'])\n"
    )
    stages = (
        '[[evaluation.stages]]\nname = "tests"\ncommand = ["python", "tests.py"]\nthreshold = 1\n'
        '[[evaluation.stages]]\nname = "apart"\nfunction = "judge.py:evaluate"\n'
    )
    folder = tmp_path / "task"
    make_task(folder, judge, 'command = ["true"]')
    (folder / "task.toml").write_text(f'direction = "maximize"\nevolve = ["*.py"]\n{stages}')
    (folder / "expected.txt").write_text("49")
    (folder / "tests.py").write_text(
        "import json, os\nright = sorted(os.listdir('.')) == ['expected.txt', 'judge.py', 'program.py', 'tests.py']\n"
        "json.dump({'score': float(right)}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    for chosen in map(probed, TIERS):
        found = score(load_task_folder(folder), chosen, tmp_path / "s", BAD, HONEST, BAD)
        assert [each.score for each in found] == [1.0, 1.0, 1.0], found


def test_a_candidate_s_file_is_not_taken_for_the_standard_library(tmp_path: Path) -> None:
    """It could add a statistics.py beside the judge; the judge's own files of such a name are kept, and `test`."""
    judge = (
        "import json, os, statistics, sched, test, xml.dom\n"
        "right = [statistics.mean([1, 3]) == 2, sched.MINE, test.THEIRS, xml.dom.Node.ELEMENT_NODE == 1]\n"
        "json.dump({'score': sum(right)}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    folder = tmp_path / "task"
    make_task(folder, judge, 'command = ["python", "judge.py"]')
    (folder / "sched.py").write_text("MINE = True\n")
    trees, forged = Trees(), b"import builtins\nbuiltins.sum = lambda *a: 1e9\nmean = lambda *a: 2\n"
    files = {"statistics.py": forged, "xml/__init__.py": forged, "sched.py": forged, "test.py": b"THEIRS = True\n"}
    tree = trees.add({path: (data, False) for path, data in files.items()})

    task, chosen = load_task_folder(folder), sandbox.choose()

    async def once() -> Evaluation:
        async with Evaluator(task, trees, jobs=1, sandbox=chosen, scratch=tmp_path / "s") as evaluator:
            return await evaluator.evaluate(tree)

    found = asyncio.run(once())
    assert found.score == 4.0, found
