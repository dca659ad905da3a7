"""How a tree is scored: cascades, repeats, results in every form, files as they are, servers that die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from evogit.catalog import load_task_folder
from evogit.errors import EvaluationError, SandboxError
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.sandbox import Sandbox
from evogit.evaluation.workspace import sweep
from evogit.store import repository
from evogit.store.objects import EXECUTABLE, FILE, LINK, Objects
from evogit.values import Evaluation, Oid


@pytest.fixture(params=["bubblewrap", "landlock", "limits"])
def chosen(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return sandbox.probe(request.param)
    except SandboxError as error:
        pytest.skip(str(error))


Score = Callable[..., list[Evaluation]]


@pytest.fixture
def score(tmp_path: Path, chosen: Sandbox) -> Score:
    """``score(evaluation_toml, files_of_the_task, *trees)``: the evaluations, in one evaluator."""

    def run(toml: str, files: dict[str, str], *versions: dict[str, bytes], **how: object) -> list[Evaluation]:
        folder = tmp_path / "task"
        folder.mkdir()
        (folder / "task.toml").write_text(f'evolve = ["**"]\n{toml}')
        (folder / "goal.md").write_text("g\n")
        for name, text in files.items():
            (folder / name).write_text(text)
        task = load_task_folder(folder)
        repo = repository.create(tmp_path / "repo", {"start": (b"", False)}, "start")
        objects = repo.objects()
        trees = [objects.put_tree({path: (data, FILE) for path, data in files.items()}) for files in versions]

        async def all_of() -> list[Evaluation]:
            results = []
            async with Evaluator(task, objects, jobs=1, sandbox=chosen, scratch=tmp_path / "s") as evaluator:
                for tree in trees:
                    results.append(await evaluator.evaluate(tree, **how))  # type: ignore[arg-type]  # epoch, validation
            return results

        return asyncio.run(all_of())

    return run


READ = {"e.py": "def evaluate(folder):\n    return eval((folder / 'x').read_text())\n"}
FUNCTION = 'function = "e.py:evaluate"\ndeadline = 5\n'


@pytest.mark.parametrize(
    ("value", "status", "expected"),
    [
        ("1.5", "ok", 1.5),
        ("{'score': 2, 'metrics': {'a': 1}, 'feedback': 'well'}", "ok", 2.0),
        ("{'metrics': {'score': 3, 'a': 1}}", "ok", 3.0),
        ("float('nan')", "no-result", None),
        ("'text'", "no-result", None),
        ("None", "no-result", None),
        ("{'metrics': {'a': 1}}", "no-result", None),
        ("1/0", "failed", None),
    ],
)
def test_results_in_every_form(score: Score, value: str, status: str, expected: float | None) -> None:
    [found] = score(f'direction = "maximize"\n[evaluation]\n{FUNCTION}', READ, {"x": value.encode()})
    assert (found.status, found.score) == (status, expected)
    assert found.ok or found.feedback


@pytest.mark.parametrize(("direction", "passing"), [("maximize", [5, 9]), ("minimize", [1, 5])])
def test_a_cascade_stops_at_the_threshold(score: Score, direction: str, passing: list[int]) -> None:
    stages = (
        f'direction = "{direction}"\n[evaluation]\n[[evaluation.stages]]\nname = "cheap"\nthreshold = 5\n{FUNCTION}'
        f'[[evaluation.stages]]\nname = "full"\nfunction = "e.py:full"\n'
    )
    files = {"e.py": READ["e.py"] + "\ndef full(folder):\n    return evaluate(folder) * 100\n"}
    found = score(stages, files, *({"x": str(n).encode()} for n in (1, 5, 9)))
    for number, evaluation in zip((1, 5, 9), found, strict=True):
        if number in passing:
            assert (evaluation.score, evaluation.stage) == (number * 100, "full")
        else:
            assert (evaluation.status, evaluation.score, evaluation.stage) == ("threshold", None, "cheap")
            assert "does not reach 5" in evaluation.feedback


def test_repeats_give_the_median_and_all_samples(score: Score) -> None:
    files = {"e.py": "import time\n\ndef evaluate(folder):\n    return time.perf_counter_ns() % 1000\n"}
    [found] = score(f'direction = "maximize"\n[evaluation]\nrepeats = 5\n{FUNCTION}', files, {"x": b""})
    assert len(found.samples) == 5
    assert found.score == sorted(found.samples)[2]


COMMAND = 'direction = "maximize"\n[evaluation]\ncommand = ["python", "e.py"]\ndeadline = 5\n'


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("import json, os; json.dump({'score': 4}, open(os.environ['EVOGIT_RESULT'], 'w'))", "ok"),
        (
            "import json, os; json.dump({'score': 4}, open(os.environ['EVOGIT_RESULT'], 'w')); raise SystemExit(3)",
            "failed",
        ),
        ("print('{\"score\": 4}')", "no-result"),
        ("import os; open(os.environ['EVOGIT_RESULT'], 'w').write('{')", "no-result"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed"),
    ],
)
def test_commands(score: Score, script: str, status: str) -> None:
    [found] = score(COMMAND, {"e.py": script}, {"e.py": b"raise SystemExit('the candidate\\'s own e.py ran')"})
    assert found.status == status, found
    assert found.score == (4.0 if status == "ok" else None)


def test_a_command_that_is_not_there(score: Score) -> None:
    [found] = score(COMMAND.replace('"python", "e.py"', '"no-such-program"'), {}, {"x": b""})
    assert found.status == "failed"
    assert "no-such-program" in found.feedback


def test_epoch_stage_and_parameters_reach_the_evaluator(score: Score) -> None:
    files = {
        "e.py": "def evaluate(folder, epoch, stage, parameters):\n"
        "    return {'score': epoch, 'feedback': f'{stage} {parameters}'}\n"
    }
    toml = f'direction = "maximize"\n[evaluation]\nname = "only"\n{FUNCTION}[parameters]\ncolour = "red"\n'
    [found] = score(toml, files, {"x": b""}, epoch=12)
    assert found.score == 12
    assert found.feedback == "only {'colour': 'red'}"


def test_epoch_stage_and_parameters_reach_a_command(score: Score) -> None:
    script = (
        "import json, os\n"
        "said = ' '.join(os.environ['EVOGIT_' + name] for name in ('EPOCH', 'STAGE', 'PARAMETERS'))\n"
        "json.dump({'score': 1, 'feedback': said}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    [found] = score(COMMAND + '[parameters]\ncolour = "red"\n', {"e.py": script}, {"x": b""}, epoch=3)
    assert found.feedback == '3 main {"colour": "red"}'


def test_an_evaluator_reads_and_imports_what_lies_beside_it_when_it_needs_it(score: Score) -> None:
    files = {
        "e.py": "from pathlib import Path\n\ndef evaluate(folder):\n    import beside\n"
        "    return beside.ONE + float(Path(__file__).with_name('data.txt').read_text())\n",
        "beside.py": "ONE = 1\n",
        "data.txt": "2",
    }
    [found] = score(f'direction = "maximize"\n[evaluation]\n{FUNCTION}', files, {"data.txt": b"40", "beside.py": b""})
    assert found.score == 3.0, found


def test_the_deadline_takes_the_whole_tree_of_processes(score: Score) -> None:
    number = f"{os.getpid()}.{time.monotonic_ns()}"
    script = (
        "import os, subprocess, time\n"
        f"for new in (False, True): subprocess.Popen(['sleep', '{number}'], start_new_session=new)\n"
        "time.sleep(60)\n"
    )
    [found] = score(COMMAND.replace("deadline = 5", "deadline = 0.7"), {"e.py": script}, {"x": b""})
    assert found.status == "timeout"
    assert not running(number)


def running(word: str) -> list[int]:
    """Processes with `word` as an argument; those that are about to end get the time they need."""
    for _ in range(100):
        found = [p.pid for p in psutil.process_iter(["cmdline"]) if word in (p.info["cmdline"] or ())]
        if not found:
            return []
        time.sleep(0.05)
    return found


HOST = """
import asyncio, sys
from pathlib import Path
from evogit.catalog import load_task_folder
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.sandbox import Sandbox
from evogit.store import repository

async def main(tier, place):
    objects = repository.create(place / "repo", {"x": (b"", False)}, "start").objects()
    tree = objects.commit(objects.resolve("HEAD")).tree
    task = load_task_folder(place / "task")
    async with Evaluator(task, objects, jobs=2, sandbox=Sandbox(tier, ""), scratch=place / "s") as evaluator:
        await evaluator.evaluate(tree)

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.parametrize(("kind", "killed"), [("command", "host"), ("apart", "host"), ("apart", "server")])
def test_a_killed_host_takes_its_candidates_with_it(tmp_path: Path, chosen: Sandbox, kind: str, killed: str) -> None:
    number = f"{os.getpid()}.{time.monotonic_ns()}"
    (tmp_path / "task").mkdir()
    how = COMMAND if kind == "command" else f'direction = "maximize"\n[evaluation]\n{FUNCTION}'
    (tmp_path / "task/task.toml").write_text(f'evolve = ["x"]\n{how.replace("deadline = 5", "deadline = 60")}')
    (tmp_path / "task/goal.md").write_text("g\n")
    stay = (
        "import subprocess, time\n"
        f"for new in (False, True): subprocess.Popen(['sleep', '{number}'], start_new_session=new)\n"
        "time.sleep(60)\n"
    )
    apart = f"def evaluate(folder, candidate):\n    candidate.define('stay', {stay!r})\n"
    (tmp_path / "task/e.py").write_text(stay if kind == "command" else apart)
    host = subprocess.Popen([sys.executable, "-c", HOST, chosen.name, str(tmp_path)])
    try:
        started = time.monotonic()
        while sum(number in (p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])) < 2:
            assert host.poll() is None
            assert time.monotonic() - started < 60
            time.sleep(0.05)
        if killed == "server":
            for server in psutil.Process(host.pid).children():
                server.kill()
    finally:
        host.kill()
        host.wait()
    assert not running(number)
    sweep(tmp_path / "s")
    assert not any(Path("/dev/shm").glob(f"evogit-{host.pid}-*"))


def test_a_cancelled_candidate_writes_nothing_for_the_next(tmp_path: Path, chosen: Sandbox) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task/task.toml").write_text(f'evolve = ["x"]\n{COMMAND}')
    (tmp_path / "task/goal.md").write_text("g\n")
    (tmp_path / "task/e.py").write_text(
        "import json, os\nleft = len(os.listdir('.'))\n"
        "while open('x').read() == 'write':\n    open(os.urandom(8).hex(), 'w').close()\n"
        "json.dump({'score': left}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    objects = repository.create(tmp_path / "repo", {"x": (b"", False)}, "start").objects()
    writing, looking = (objects.put_tree({"x": (data, FILE)}) for data in (b"write", b"look"))

    async def both() -> list[float | None]:
        task, found = load_task_folder(tmp_path / "task"), []
        async with Evaluator(task, objects, jobs=1, sandbox=chosen, scratch=tmp_path / "s") as evaluator:
            for _ in range(3):
                cancelled = asyncio.create_task(evaluator.evaluate(writing))
                await asyncio.sleep(0.2)
                cancelled.cancel()
                await asyncio.wait([cancelled])
                found.append((await evaluator.evaluate(looking)).score)
        return found

    assert asyncio.run(both()) == [2.0, 2.0, 2.0]


def test_files_are_as_they_were_committed(tmp_path: Path, chosen: Sandbox) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "task.toml").write_text(f'direction = "maximize"\nevolve = ["**"]\n[evaluation]\n{FUNCTION}')
    (folder / "goal.md").write_text("g\n")
    (folder / "e.py").write_text(
        "import os\n\ndef evaluate(folder):\n"
        "    f = os.fsencode(folder)\n"
        "    ok = open(f + b'/crlf', 'rb').read() == b'a\\r\\n' and open(f + b'/caf\\xe9', 'rb').read() == b'\\xe9'\n"
        "    ok = ok and os.access(f + b'/deep/run', os.X_OK) and not os.access(f + b'/crlf', os.X_OK)\n"
        "    return float(ok and os.readlink(f + b'/link') == b'deep/run')\n"
    )
    objects: Objects = repository.create(tmp_path / "repo", {"start": (b"", False)}, "start").objects()
    first = objects.put_tree({"crlf": (b"other", FILE), "link": (b"a file first", FILE), "deep": (b"also", FILE)})
    second = objects.put_tree(
        {
            "crlf": (b"a\r\n", FILE),
            os.fsdecode(b"caf\xe9"): (b"\xe9", FILE),
            "deep/run": (b"#!/bin/sh\n", EXECUTABLE),
            "link": (b"deep/run", LINK),
        }
    )

    async def both() -> list[Evaluation]:
        async with Evaluator(
            load_task_folder(folder), objects, jobs=1, sandbox=chosen, scratch=tmp_path / "s"
        ) as evaluator:
            return [await evaluator.evaluate(first), await evaluator.evaluate(second)]

    assert asyncio.run(both())[1].score == 1.0


def test_a_killed_server_is_survived_and_nothing_stays(tmp_path: Path, chosen: Sandbox) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "task.toml").write_text(f'direction = "maximize"\nevolve = ["**"]\n[evaluation]\n{FUNCTION}')
    (folder / "goal.md").write_text("g\n")
    (folder / "e.py").write_text(
        "import time\n\ndef evaluate(folder):\n    time.sleep(float((folder / 'x').read_text()))\n    return 1\n"
    )
    objects = repository.create(tmp_path / "repo", {"start": (b"", False)}, "start").objects()

    def tree(seconds: str) -> Oid:
        return objects.put_tree({"x": (seconds.encode(), FILE)})

    async def murder() -> list[object]:
        async with Evaluator(
            load_task_folder(folder), objects, jobs=2, sandbox=chosen, scratch=tmp_path / "s"
        ) as evaluator:
            slow = asyncio.create_task(evaluator.evaluate(tree("1")))
            await asyncio.sleep(0.3)
            for process in psutil.Process().children():
                os.kill(process.pid, signal.SIGKILL)
            survived = await slow
            cancelled = asyncio.create_task(evaluator.evaluate(tree("4")))
            await asyncio.sleep(0.3)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            after = await evaluator.evaluate(tree("0"))
            return [survived.score, cancelled.cancelled(), after.score]

    assert asyncio.run(murder()) == [1.0, True, 1.0]
    _, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=5)
    assert alive == []
    assert not any(Path("/dev/shm").glob(f"evogit-{os.getpid()}-*"))


def test_an_evaluator_that_cannot_be_imported_is_an_error(score: Score) -> None:
    with pytest.raises(EvaluationError, match="no_such_module"):
        score(f'direction = "maximize"\n[evaluation]\n{FUNCTION}', {"e.py": "import no_such_module\n"}, {"x": b""})


IMPORTS = "import json, os, answer; json.dump({'score': answer.answer()}, open(os.environ['EVOGIT_RESULT'], 'w'))"
FIVE = "def answer():\n    return 5\n"
WRITES = "import json, os, sys\njson.dump({'score': 1e9}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)", "os.chdir('/'); sys.exit()"])
def test_a_candidate_cannot_write_a_score_and_leave_the_judge(score: Score, leave: str) -> None:
    bad, good = score(
        COMMAND,
        {"e.py": IMPORTS},
        {"answer.py": f"{WRITES}{leave}\n".encode()},
        {"answer.py": FIVE.encode()},
    )
    assert (bad.status, bad.score) == ("failed", None)
    assert (bad.feedback + bad.stderr.decode()).strip()
    assert good.score == 5.0


def test_what_a_candidate_leaves_to_be_done_at_exit_is_not_done(score: Score) -> None:
    late = f"import atexit\n\ndef cheat():\n    {WRITES}\n".replace("\njson.dump", "\n    json.dump")
    [found] = score(COMMAND, {"e.py": IMPORTS}, {"answer.py": f"{late}\natexit.register(cheat)\n{FIVE}".encode()})
    assert found.score == 5.0


@pytest.mark.parametrize(
    "end", ["sys.exit()", "sys.exit(main())", "helper.leave()", "import unittest; unittest.main()"]
)
def test_a_judge_may_end_as_python_programs_do(score: Score, end: str) -> None:
    judge = (
        "import json, os, sys, helper\n\ndef main():\n    return 0\n\n"
        "if __name__ == '__main__':\n    assert __file__.endswith('e.py') and sys.argv == ['e.py']\n"
        f"    json.dump({{'score': 4}}, open(os.environ['EVOGIT_RESULT'], 'w'))\n    {end}\n"
    )
    files = {"e.py": judge, "helper.py": "import sys\n\ndef leave():\n    sys.exit(0)\n"}
    [found] = score(COMMAND, files, {"x": b""})
    assert found.score == 4.0, found


PLOT = "{'score': 1, 'artifacts': {'plot-1.png': b'\\x89PNG', 'said.txt': bytearray(b'so')}}"
BROKEN = {
    "{'score': 1, 'artifacts': {'../plot.png': b'x'}}": "no plain file name",
    "{'score': 1, 'artifacts': {'.git': b'x'}}": "no plain file name",
    "{'score': 1, 'artifacts': {'plot.png': 5}}": "must be bytes",
    "{'score': 1, 'artifacts': {'plot.png': bytes(3 << 20)}}": "2097152 are kept",
    "{'score': 1, 'artifacts': {f'{n}.txt': b'x' for n in range(33)}}": "at most 32 files",
}


def test_a_judge_may_return_files_of_limited_names_and_sizes(score: Score) -> None:
    trees = [{"x": value.encode()} for value in (PLOT, *BROKEN)]
    kept, *found = score(f'direction = "maximize"\n[evaluation]\n{FUNCTION}', READ, *trees)
    assert kept.artifacts == {"plot-1.png": b"\x89PNG", "said.txt": b"so"}
    for evaluation, text in zip(found, BROKEN.values(), strict=True):
        assert (evaluation.status, evaluation.artifacts) == ("no-result", {})
        assert text in evaluation.feedback


def test_a_command_returns_files_in_base64_and_stages_add_theirs(score: Score) -> None:
    judge = (
        "import base64, json, os\nstage = os.environ['EVOGIT_STAGE']\n"
        "data = base64.b64encode(stage.encode()).decode()\n"
        "json.dump({'score': 1, 'artifacts': {f'{stage}.txt': data}}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    stages = "".join(
        f'[[evaluation.stages]]\nname = "{name}"\ncommand = ["python", "judge.py"]\n' for name in ("a", "b")
    )
    [found] = score(f'direction = "maximize"\n[evaluation]\n{stages}', {"judge.py": judge}, {"x": b""})
    assert found.artifacts == {"a.txt": b"a", "b.txt": b"b"}


def test_memory_that_is_held_is_limited_where_addresses_are_not(score: Score) -> None:
    judge = "import time\n\ndef evaluate(folder):\n    held = b'x' * (300 << 20)\n    time.sleep(3)\n    return 1\n"
    limits = '[limits]\nmemory = "64T"\nresident = "150M"\n'
    [found] = score(f'direction = "maximize"\n[evaluation]\n{FUNCTION}{limits}', {"e.py": judge}, {"x": b""})
    assert (found.status, found.score) == ("memory", None)
    assert "hold more memory" in found.feedback


def test_packages_are_seen_where_the_task_wants_them_and_only_read(tmp_path: Path, chosen: Sandbox) -> None:
    judge = (
        "import json, os\nfound = open('node_modules/p/index.js').read()\n"
        "try:\n    open('node_modules/p/index.js', 'w').write('mine')\nexcept OSError:\n    found += ' kept'\n"
        "json.dump({'score': 1, 'feedback': found}, open(os.environ['EVOGIT_RESULT'], 'w'))\n"
    )
    task, packages = tmp_path / "task", tmp_path / "cache/node_modules"
    task.mkdir()
    (packages / "p").mkdir(parents=True)
    (packages / "p/index.js").write_text("theirs")
    text = 'evolve = ["**"]\ndirection = "maximize"\n[evaluation]\ncommand = ["python", "judge.py"]\n'
    for name, content in {"task.toml": text, "goal.md": "g\n", "judge.py": judge}.items():
        (task / name).write_text(content)
    objects = repository.create(tmp_path / "repo", {"start": (b"", False)}, "start").objects()
    own = objects.put_tree({"node_modules/p/index.js": (b"mine", FILE), "x": (b"", FILE)})

    async def twice() -> list[Evaluation]:
        async with Evaluator(
            load_task_folder(task),
            objects,
            jobs=1,
            sandbox=chosen,
            scratch=tmp_path / "s",
            packages={"node_modules": packages},
        ) as evaluator:
            return [await evaluator.evaluate(tree) for tree in (own, objects.put_tree({"y": (b"", FILE)}))]

    for found in asyncio.run(twice()):
        # A sandbox that only limits lets a candidate write wherever its user may.
        assert found.feedback == "theirs kept" or chosen.name == "limits", found


def test_a_judge_that_somebody_disturbs_is_laid_anew(tmp_path: Path, chosen: Sandbox) -> None:
    """Its file in the warm workspace lost its mode, or is gone: no candidate fails by that."""
    folder = tmp_path / "task"
    folder.mkdir()
    toml = 'direction = "maximize"\nevolve = ["x"]\n[evaluation]\ncommand = ["./judge.sh"]\ndeadline = 30\n'
    (folder / "task.toml").write_text(toml)
    (folder / "goal.md").write_text("g\n")
    (folder / "judge.sh").write_text('#!/bin/sh\necho "{\\"score\\": $(cat x)}" > "$EVOGIT_RESULT"\n')
    task = load_task_folder(folder)
    objects = repository.create(tmp_path / "repo", {"start": (b"", False)}, "start").objects()
    trees = [objects.put_tree({"x": (b"%d" % number, FILE)}) for number in range(4)]

    async def all_of() -> list[Evaluation]:
        found = []
        async with Evaluator(task, objects, jobs=1, sandbox=chosen, scratch=tmp_path / "s") as evaluator:
            places = [*Path("/dev/shm").glob(f"evogit-{os.getpid()}-*"), tmp_path / "s"]
            for number, tree in enumerate(trees):
                found.append(await evaluator.evaluate(tree))
                for laid in [path for place in places for path in place.rglob("slots/*/candidate/judge.sh")]:
                    laid.chmod(0o644) if number % 2 else laid.unlink()
        return found

    assert [found.score for found in asyncio.run(all_of())] == [0.0, 1.0, 2.0, 3.0]
