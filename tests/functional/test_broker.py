"""Candidates that ask a model: what they reach, what it may cost, what they never see; and nothing else is there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from evogit.catalog import Task, load_task_folder
from evogit.errors import DefinitionError, EvaluationError, ModelError, SandboxError
from evogit.evaluation import sandbox
from evogit.evaluation.broker import CONNECTIONS, Allowance, Endpoint, Forward
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.sandbox import Sandbox
from evogit.evaluation.wire import BODY
from evogit.models.chat import Ask, Message, Reply, Usage
from evogit.models.openai import connect
from evogit.store import repository
from evogit.store.objects import FILE, Objects
from evogit.tables import ModelTable
from evogit.taskfile import task_files, task_from_files
from evogit.values import Evaluation
from tests.chatserver import ChatServer

ROOT = Path(__file__).parents[2]
CONTAINING: list[sandbox.Tier] = ["bubblewrap", "landlock"]
[EXAMPLE] = re.findall(r"```python\n(import http.client.*?)```", (ROOT / "docs/tasks.md").read_text(), re.DOTALL)
# The candidate's `answer()` is the feedback, in a process of its own or in the judge's.
FUNCTION = """
import importlib.util, json
def evaluate(folder):
    spec = importlib.util.spec_from_file_location("candidate", folder / "candidate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"score": 1, "feedback": json.dumps(module.answer())}
"""
APART = """
import json
def evaluate(folder, candidate):
    return {"score": 1, "feedback": json.dumps(candidate.call("candidate.py:answer"))}
"""
COMMAND = """
import candidate, json, os
json.dump({"score": 1, "feedback": json.dumps(candidate.answer())}, open(os.environ["EVOGIT_RESULT"], "w"))
"""
USER = [{"role": "user", "content": "hello"}]
HELLO = f"{EXAMPLE}\ndef answer():\n    return ask({USER})\n"


@functools.cache
def tier(name: sandbox.Tier) -> Sandbox:
    try:
        return sandbox.probe(name)
    except SandboxError as error:
        pytest.skip(str(error))


class Scripted:
    """A model that answers in capitals, 3 tokens in and 5 out, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []

    async def __call__(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        return Reply(ask.messages[-1].content.upper(), Usage(3, 5), 0.0)


def make_task(folder: Path, kind: str, keys: str = "", stages: str = "") -> Task:
    folder.mkdir()
    how = 'command = ["python", "judge.py"]' if kind == "command" else 'function = "judge.py:evaluate"'
    (folder / "task.toml").write_text(
        f'direction = "maximize"\nevolve = ["candidate.py"]\n[evaluation]\n{keys}\n'
        + (stages or f"{how}\ndeadline = 20\n")
    )
    (folder / "goal.md").write_text("Answer.\n")
    (folder / "judge.py").write_text({"function": FUNCTION, "apart": APART, "command": COMMAND}[kind])
    return load_task_folder(folder)


Body = Callable[[Evaluator, list[str]], Awaitable[Any]]


def evaluating(
    place: Path, task: Task, name: sandbox.Tier, codes: list[str], body: Body, forward: Forward | None, jobs: int = 1
) -> Any:
    """What `body` returns, given an evaluator and the trees of the candidates."""
    chosen = tier(name)
    objects = repository.create(place / "repo", {"start": (b"", False)}, "start").objects()
    trees = [objects.put_tree({"candidate.py": (code.encode(), FILE)}) for code in codes]

    async def run() -> Any:
        async with Evaluator(
            task, objects, jobs=jobs, sandbox=chosen, scratch=place / "scratch", forward=forward
        ) as evaluator:
            return await body(evaluator, trees)

    try:
        return asyncio.run(run())
    finally:
        assert not any(Path("/dev/shm").glob(f"evogit-{os.getpid()}-*"))


async def each(evaluator: Evaluator, trees: list[str]) -> list[Evaluation]:
    return [await evaluator.evaluate(tree) for tree in trees]


async def together(evaluator: Evaluator, trees: list[str]) -> list[Evaluation]:
    return await asyncio.gather(*map(evaluator.evaluate, trees))


def said(evaluation: Evaluation) -> Any:
    assert evaluation.ok, (evaluation.status, evaluation.feedback, evaluation.stderr.decode())
    return json.loads(evaluation.feedback)


MODEL = 'model = "fast"'


@pytest.mark.parametrize("kind", ["function", "apart", "command"])
@pytest.mark.parametrize("name", sandbox.TIERS)
def test_a_candidate_asks_as_documented_and_what_it_used_is_recorded(
    tmp_path: Path, name: sandbox.Tier, kind: str
) -> None:
    model = Scripted()
    silent = "def answer():\n    return 0\n"
    task = make_task(tmp_path / "task", kind, MODEL)
    asking, quiet = evaluating(tmp_path, task, name, [HELLO, silent], each, model)
    assert said(asking) == "HELLO"
    assert model.asked == [Ask((Message("user", "hello"),), max_tokens=4096)]
    assert (asking.spent, quiet.spent) == ({"requests": 1, "input": 3, "output": 5}, {})


ENVIRONMENT = """
import os
def answer():
    return {name: value for name, value in os.environ.items() if "MODEL" in name or "OPENAI" in name}
"""


@pytest.mark.parametrize("name", sandbox.TIERS)
def test_the_environment_says_how(tmp_path: Path, name: sandbox.Tier) -> None:
    task = make_task(tmp_path / "task", "apart", MODEL)
    found = said(evaluating(tmp_path, task, name, [ENVIRONMENT], each, Scripted())[0])
    if name == "bubblewrap":
        assert found == {
            "EVOGIT_MODEL": "model",
            "EVOGIT_MODEL_SOCKET": "/model/socket",
            "OPENAI_API_KEY": "evogit",
            "OPENAI_BASE_URL": "http://127.0.0.1:61434/v1",
        }
    else:
        assert found.keys() == {"EVOGIT_MODEL", "EVOGIT_MODEL_FD" if name == "landlock" else "EVOGIT_MODEL_SOCKET"}


@pytest.mark.parametrize("name", sandbox.TIERS)
def test_without_a_model_nothing_is_there(tmp_path: Path, name: sandbox.Tier) -> None:
    code = ENVIRONMENT + "\nnames = answer\ndef answer():\n    return [names(), os.path.exists('/model')]\n"
    task = make_task(tmp_path / "task", "function")
    assert said(evaluating(tmp_path, task, name, [code], each, Scripted())[0]) == [{}, False]


SDK = """
from openai import OpenAI, RateLimitError
def answer():
    client = OpenAI(timeout=20)
    messages = [{"role": "user", "content": "hello"}]
    plain = client.chat.completions.create(model="model", messages=messages)
    stream = client.chat.completions.create(
        model="model", messages=messages, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    try:
        client.chat.completions.create(model="model", messages=messages)
        refused = ""
    except RateLimitError as error:
        refused = [error.code, error.status_code, str(error.body["message"])]
    return [plain.choices[0].message.content, plain.usage.total_tokens,
            "".join(c.choices[0].delta.content for c in chunks if c.choices), chunks[-1].usage.total_tokens,
            [model.id for model in client.models.list()], refused]
"""


def test_openai_s_own_client_works_in_bubblewrap_as_it_is(tmp_path: Path) -> None:
    stages = (
        'model = "fast"\nmodel_requests = 2\nfunction = "judge.py:evaluate"\ndeadline = 60\n[limits]\nmemory = "4G"'
    )
    task = make_task(tmp_path / "task", "function", stages=stages)
    [found] = evaluating(tmp_path, task, "bubblewrap", [SDK], each, Scripted())
    told = "all 2 requests of this evaluation are used up"
    assert said(found) == ["HELLO", 8, "HELLO", 8, ["model"], ["insufficient_quota", 429, told]]
    assert found.spent["requests"] == 2


MANY = f"""{EXAMPLE}
def answer():
    found = []
    for n in range(4):
        try:
            found.append(ask([{{"role": "user", "content": str(n)}}]))
        except RuntimeError as error:
            found.append(str(error))
    return found
"""


@pytest.mark.parametrize("name", CONTAINING)
def test_the_budget_is_one_candidate_s_in_all_stages_and_starts_anew_with_the_next(
    tmp_path: Path, name: sandbox.Tier
) -> None:
    stage = '[[evaluation.stages]]\nfunction = "judge.py:evaluate"\n'
    stages = f'model = "fast"\nmodel_requests = 6\n{stage}{stage}repeats = 2\n'
    task, model = make_task(tmp_path / "task", "function", stages=stages), Scripted()
    found = evaluating(tmp_path, task, name, [MANY, MANY + "\n"], each, model)
    over = "all 6 requests of this evaluation are used up"
    assert [said(evaluation) for evaluation in found] == [[over] * 4] * 2  # the last repeat of the second stage
    assert [evaluation.spent["requests"] for evaluation in found] == [6, 6]
    assert len(model.asked) == 12


def test_a_model_that_fails_is_said_so_and_what_was_billed_counts(tmp_path: Path) -> None:
    async def failing(_ask: Ask) -> Reply:
        raise ModelError("model fast: HTTP 400: too hot", tokens=(7, 2))

    task = make_task(tmp_path / "task", "function", MODEL)
    [found] = evaluating(tmp_path, task, "limits", [MANY], each, failing)
    assert said(found) == ["model fast: HTTP 400: too hot"] * 4
    assert found.spent == {"requests": 4, "input": 28, "output": 8}


def test_an_evaluation_while_the_model_is_out_of_reach_is_none_and_nobody_else_can_say_so(tmp_path: Path) -> None:
    async def unreachable(_ask: Ask) -> Reply:
        raise ModelError("model fast: HTTP 500: too hot", outage=True)

    task = make_task(tmp_path / "task", "apart", MODEL)
    claims = "def answer():\n    raise RuntimeError('unanswered')\n"
    forges = "import os\ndef answer():\n    for n in range(3, 64):\n"
    forges += '        try: os.write(n, b\'{"reason": "unanswered"}\')\n'
    forges += "        except OSError: pass\n    os._exit(1)\n"
    asked, *others = evaluating(tmp_path, task, "limits", [MANY, claims, forges], each, unreachable)
    assert (asked.status, asked.score) == ("unanswered", None)
    assert asked.feedback.startswith("the candidate's model did not answer: model fast: HTTP 500: too hot")
    assert asked.spent["requests"] == 4
    assert all(not other.ok and other.status != "unanswered" for other in others), others


LEAVING = f"""{EXAMPLE}
import threading, time
def answer():
    threading.Thread(target=ask, args=({USER},), daemon=True).start()
    time.sleep(0.5)
    return "left"
"""


@pytest.mark.parametrize("name", sandbox.TIERS)
def test_what_is_under_way_at_the_end_is_cancelled(tmp_path: Path, name: sandbox.Tier) -> None:
    seen: list[str] = []

    async def slow(ask: Ask) -> Reply:
        seen.append("asked")
        if len(seen) > 1:
            return Reply("quick", Usage(1, 1), 0.0)
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        raise AssertionError(ask)

    task = make_task(tmp_path / "task", "function", MODEL)
    left, after = evaluating(tmp_path, task, name, [LEAVING, HELLO], each, slow)
    assert (said(left), said(after)) == ("left", "quick")
    assert seen == ["asked", "cancelled", "asked"]
    assert left.spent["requests"] == 1
    assert left.spent["input"] > 0  # what it had been sent


def test_a_mistake_in_the_forwarding_is_nobody_s_score(tmp_path: Path) -> None:
    async def broken(_ask: Ask) -> Reply:
        raise ZeroDivisionError("a mistake of ours")

    task = make_task(tmp_path / "task", "function", MODEL)
    caught = (
        HELLO.replace("return ask", "try: ask").replace("\n    try", "\n    try") + "    except Exception: return 0\n"
    )
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        evaluating(tmp_path, task, "limits", [caught], each, broken)


def test_a_fresh_server_has_a_fresh_port(tmp_path: Path) -> None:
    code = (
        "import json, os, urllib.request\ndef answer():\n"
        f"    body = json.dumps({{'messages': {USER}}}).encode()\n"
        "    url = os.environ['OPENAI_BASE_URL'] + '/chat/completions'\n"
        "    with urllib.request.urlopen(url, body) as answer:\n"
        "        return json.load(answer)['choices'][0]['message']['content']\n"
    )

    async def murder(evaluator: Evaluator, trees: list[str]) -> list[Evaluation]:
        first = await evaluator.evaluate(trees[0])
        for process in psutil.Process().children():
            os.kill(process.pid, signal.SIGKILL)
        return [first, await evaluator.evaluate(trees[0])]

    task = make_task(tmp_path / "task", "function", MODEL)
    before, after = evaluating(tmp_path, task, "bubblewrap", [code], murder, Scripted())
    assert (said(before), said(after)) == ("HELLO", "HELLO")


# What candidates must not reach

REACH = """
import os, socket
def tried(family, address, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(3)
            s.connect(address)
            if kind == socket.SOCK_DGRAM:
                s.send(b"x")
        return "reached"
    except OSError as error:
        return type(error).__name__
def answer():
    return {{
        "host": tried(socket.AF_INET, ("127.0.0.1", {port})),
        "host6": tried(socket.AF_INET6, ("::1", {port})),
        "outside": tried(socket.AF_INET, ("192.0.2.1", 443)),
        "name server": tried(socket.AF_INET, ("192.0.2.1", 53), socket.SOCK_DGRAM),
        "abstract": tried(socket.AF_UNIX, "\\0" + {abstract!r}),
        "path": tried(socket.AF_UNIX, {path!r}),
    }}
"""


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("name", CONTAINING)
def test_there_is_no_other_network(tmp_path: Path, name: sandbox.Tier, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        abstract = f"evogit-test-{os.getpid()}"
        for address in ("\0" + abstract, f"{place}/s"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        code = REACH.format(port=port, abstract=abstract, path=f"{place}/s")
        task = make_task(tmp_path / "task", kind, MODEL)
        found = said(evaluating(tmp_path, task, name, [code], each, Scripted())[0])
    assert "reached" not in found.values(), found


OTHER = f"""{EXAMPLE}
import glob, time
def answer():
    if FIRST:
        try:
            mine = socket.create_server(("127.0.0.1", 45555))
        except PermissionError:
            pass
        time.sleep(1)
        return ask([{{"role": "user", "content": "first"}}])
    found = []
    try:
        socket.create_connection(("127.0.0.1", 45555)).close()
        found.append("reached")
    except OSError as error:
        found.append(type(error).__name__)
    for path in [OTHER, *glob.glob("/dev/shm/evogit-*/slots/*/model/socket"), *glob.glob("/model/*")]:
        os.environ["EVOGIT_MODEL_SOCKET"] = path
        try:
            found.append(ask([{{"role": "user", "content": "second"}}]))
        except (OSError, RuntimeError) as error:
            found.append(type(error).__name__)
    return found
"""


@pytest.mark.parametrize("name", CONTAINING)
def test_two_candidates_at_once_have_each_their_own(tmp_path: Path, name: sandbox.Tier) -> None:
    """The second tries every socket it can think of: all it finds is its own."""
    model = Scripted()

    async def both(evaluator: Evaluator, trees: list[str]) -> list[Evaluation]:
        first = asyncio.create_task(evaluator.evaluate(trees[0]))
        assert evaluator._pool is not None
        other = evaluator._pool / "slots/0/model/socket"
        async with asyncio.timeout(60):
            while not other.is_socket():
                await asyncio.sleep(0.05)
        objects = evaluator._trees
        assert isinstance(objects, Objects)
        code = f"FIRST, OTHER = False, {str(other)!r}\n{OTHER}"
        spy = objects.put_tree({"candidate.py": (code.encode(), FILE)})
        return [await evaluator.evaluate(spy), await first]

    task = make_task(tmp_path / "task", "function", MODEL)
    spy, first = evaluating(tmp_path, task, name, ["FIRST = True\n" + OTHER], both, model, jobs=2)
    assert said(first) == "FIRST"
    assert first.spent["requests"] == 1
    # Under Landlock the socket in the environment is not looked at: the open connection is its own.
    assert set(said(spy)) <= {"ConnectionRefusedError", "FileNotFoundError", "PermissionError", "SECOND"}
    assert (
        spy.spent["requests"]
        == said(spy).count("SECOND")
        == sum(a.messages[0].content == "second" for a in model.asked)
    )
    if name == "bubblewrap":
        assert said(spy)[:2] == ["ConnectionRefusedError", "FileNotFoundError"]


SEARCH = f"""{EXAMPLE}
import glob, stat, urllib.request
KEY = "".join(["sk-", "plan", "ted-"]).encode()
PLACES = ["/candidate", "/model", "/evogit", "/tmp", "/etc", "/run", "/root", "/home", "/dev/shm", "."]
def texts():
    yield repr(dict(os.environ)).encode()
    for n in range(3):
        try:
            yield ask({USER}).encode()
        except RuntimeError as error:
            yield str(error).encode()
    for pattern in ("/proc/*/environ", "/proc/*/cmdline", "/proc/*/mem", "/proc/self/fd/*"):
        for path in glob.glob(pattern):
            try:
                with open(path, "rb") as file:
                    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        yield file.read(1 << 20)
            except (OSError, ValueError):
                pass
    for top in PLACES:
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if stat.S_ISREG(os.stat(path).st_mode):
                        with open(path, "rb") as file:
                            yield file.read(1 << 20)
                except OSError:
                    pass
def answer():
    seen = list(texts())
    return [sum(map(len, seen)) > 0, [s[:200].decode("latin-1") for s in seen if KEY in s], seen[1].decode()]
"""


@pytest.mark.parametrize("kind", ["function", "command"])
@pytest.mark.parametrize("name", sandbox.TIERS)
def test_the_key_is_nowhere_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: sandbox.Tier, kind: str
) -> None:
    """A real server that says the key back, in errors and in answers; the key is in the environment outside."""
    key = "sk-planted-1234567890abcdef"
    monkeypatch.setenv("THE_KEY", key)
    how = 'command = ["python", "judge.py"]' if kind == "command" else 'function = "judge.py:evaluate"'
    task = make_task(tmp_path / "task", kind, MODEL, f"{how}\ndeadline = 120\n")  # there is much to read

    with ChatServer(key=key) as server:
        server.fail_with("echo", "echo-401", times=1)

        async def forward(ask: Ask) -> Reply:
            chat = connect("fast", ModelTable(base_url=server.url, api_key_env="THE_KEY"), os.environ, retries=0)
            try:
                return await chat.complete(ask)
            finally:
                await chat.close()

        # What /proc tells of an environment is how the process was started.
        engine = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"THE_KEY": key})
        try:
            code = SEARCH.replace("in PLACES", "in ()") if name == "limits" else SEARCH
            [found] = evaluating(tmp_path, task, name, [code], each, forward)
        finally:
            engine.communicate(b"\n")
        assert found.status == "unanswered"  # of two requests one was refused
        looked, hits, first = json.loads(found.feedback.partition("\n")[2])
        assert any(key in value for request in server.requests for value in request.headers.values())
    assert looked
    if name == "limits":
        assert hits != []  # the search can find it: this sandbox contains nothing
        return
    assert hits == []
    assert first
    assert key.encode() not in found.stdout + found.stderr


def test_all_this_holds_for_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; for anybody else the other tests have shown it")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    python, nobody = "/usr/bin/python3", 65534
    with tempfile.TemporaryDirectory(prefix="evogit-ordinary-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o777)
        environment = {"PATH": "/usr/bin:/bin", "HOME": name, "PYTHONPATH": os.pathsep.join([str(ROOT), *packages])}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": name, "EVOGIT_TEST_REAL_HOME": "/nonexistent"}
        look = [python, "-c", "import evogit.store.repository, pytest, psutil, pydantic_core, openai"]
        if subprocess.run(look, user=nobody, group=nobody, extra_groups=[], env=environment, check=False).returncode:
            pytest.skip("the interpreter or this checkout cannot be read by another user")
        test = ["-m", "pytest", str(Path(__file__)), "-p", "no:cacheprovider", "-p", "no:randomly"]
        test += ["-k", "(documented or other_network or their_own or nowhere) and function"]
        done = subprocess.run(
            [python, *test, f"--basetemp={place / 'base'}"],
            user=nobody, group=nobody, extra_groups=[], env=environment, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


# The task file


def test_a_model_nobody_gives_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", "function", MODEL)
    with pytest.raises(EvaluationError, match=r"configure \[models\.fast\] in .evogit/config.toml"):
        evaluating(tmp_path, task, "limits", [HELLO], each, None)


def test_what_a_score_belongs_to(tmp_path: Path) -> None:
    digests = [
        make_task(tmp_path / f"task-{number}", "function", keys).digest
        for number, keys in enumerate(
            [
                "",
                "model_requests = 5",
                MODEL,
                'model = "other"',
                f"{MODEL}\nmodel_requests = 5",
                f"{MODEL}\nmodel_tokens = 5",
            ]
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 5


def test_the_keys_survive_being_written_anew(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", "function", f"{MODEL}\nmodel_requests = 5")
    again = task_from_files(task.name, task_files(replace(task, definition="")))
    assert (again.evaluation, again.digest) == (task.evaluation, task.digest)
    with pytest.raises(DefinitionError, match=r"evaluation\.model: expected the name of a model"):
        make_task(tmp_path / "bad", "function", 'model = "a b"')


# The endpoint itself, without a sandbox

Talk = Callable[..., Awaitable[tuple[int, Any]]]


@contextlib.asynccontextmanager
async def endpoint(forward: Forward, requests: int = 99, tokens: int = 99_999) -> AsyncIterator[tuple[Endpoint, Path]]:
    with tempfile.TemporaryDirectory() as place:
        found = Endpoint(Path(place) / "model", Allowance(requests, tokens), forward)
        found.open()
        try:
            yield found, found.folder / "socket"
        finally:
            found.close()


def http(document: object, *, path: str = "/v1/chat/completions", method: str = "POST") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def talk(path: Path, *sent: bytes) -> list[tuple[int, bytes]]:
    """Status and body of every answer on one connection, until it ends or all were answered."""
    reader, writer = await asyncio.open_unix_connection(path)
    found = []
    try:
        for data in sent:
            writer.write(data)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status, length = head.split()[1], re.search(r"Content-Length: (\d+)", head)
            assert length
            found.append((int(status), await reader.readexactly(int(length[1]))))
            if "Connection: close" in head:
                assert await reader.read() == b""
                break
    finally:
        writer.close()
    return found


def one(data: bytes, model: Forward, **how: int) -> tuple[int, Any]:
    async def run() -> tuple[int, Any]:
        async with endpoint(model, **how) as (found, path), found.session():
            [(status, body)] = await talk(path, data)
            return status, json.loads(body)

    return asyncio.run(run())


def test_only_what_is_named_is_forwarded() -> None:
    model = Scripted()
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    document = {
        "model": "gpt-9", "user": "me", "tools": [{"type": "function"}], "seed": 3, "logit_bias": {"1": 2}, "n": 1,
        "extra_body": {"api_key": "x"}, "temperature": 1, "max_tokens": 50, "max_completion_tokens": 40,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}},
        "messages": [
            {"role": "developer", "content": "rules", "name": "n"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ],
    }  # fmt: skip
    status, answer = one(http(document), model)
    assert model.asked == [Ask((Message("system", "rules"), Message("user", "ab")), 1.0, 40, schema)]
    assert status == 200
    assert answer["model"] == "model"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "AB"}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def deep(levels: int) -> Any:
    found: Any = {}
    for _ in range(levels):
        found = {"items": found}
    return found


def chat(**more: object) -> bytes:
    return http({"messages": USER, **more})


def structured(schema: object) -> bytes:
    return chat(response_format={"type": "json_schema", "json_schema": {"schema": schema}})


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (chat(n=2), 400, "n: one answer"),
        (http(b"{"), 400, "not JSON"),
        (http(b"\xff{}"), 400, "not JSON"),
        (http(b"[" * 100_000), 400, "not JSON"),
        (http(b"[]"), 400, "a JSON object"),
        (http({}), 400, "messages"),
        (http({"messages": []}), 400, "messages"),
        (http({"messages": ["x"]}), 400, "messages[0]"),
        (http({"messages": [{"role": "tool", "content": "x"}]}), 400, "messages[0].role"),
        (http({"messages": [{"role": ["user"], "content": "x"}]}), 400, "messages[0].role"),
        (http({"messages": [{"role": "user"}]}), 400, "messages[0].content"),
        (http({"messages": [{"role": "user", "content": "\ud800"}]}), 400, "surrogate"),
        (
            http({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
            400,
            "only parts of type text",
        ),
        (http(b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}'), 400, "NaN"),
        (chat(temperature="hot"), 400, "temperature"),
        (chat(temperature=True), 400, "temperature"),
        (chat(temperature=9), 400, "temperature"),
        (chat(max_tokens=0), 400, "max_tokens"),
        (chat(max_completion_tokens=1.5), 400, "max_tokens"),
        (structured([]), 400, "schema: expected an object"),
        (structured(deep(30)), 400, "deep"),
        (structured({"\ud800": 1}), 400, "surrogate"),
        (chat(padding="x" * BODY), 400, "too large"),
        (http(b"", path="/v1/embeddings"), 404, "/v1/chat/completions"),
        (http(b"", path="/v1/chat/completions", method="GET"), 405, "GET"),
        (http(b"", path="/v1/models", method="DELETE"), 405, "DELETE"),
        (b"hello\r\n\r\n", 400, "not an HTTP/1.1 request"),
        (b"POST /v1/models HTTP/2\r\n\r\n", 400, "not an HTTP/1.1 request"),
        (b"POST /v1/models HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "length of the body"),
        (b"POST /v1/models HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400, "length of the body"),
        (b"POST /v1/models HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "header"),
        (b"POST /v1/models HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 400, "too large"),
        (b"POST /v1/models HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "chunked"),
        (b"POST /v1/models HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400, "chunked"),
        (b"POST /v1/models HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "length of the body"),
        (b"POST /v1/models HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n", 400, "chunk"),
        (b"GET /v1/models HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 400, "too many headers"),
        (b"GET /v1/models HTTP/1.1\r\na: " + b"b" * 100_000 + b"\r\n\r\n", 400, "line longer"),
        (b"GET /v1/models HTTP/1.1\r\nno colon\r\n\r\n", 400, "header"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_and_nothing_is_sent(data: bytes, status: int, words: str) -> None:
    model = Scripted()
    got, answer = one(data, model)
    assert got == status
    assert words in answer["error"]["message"]
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert model.asked == []


def test_one_connection_serves_many_requests_chunked_streamed_or_expecting() -> None:
    body = json.dumps({"messages": USER, "stream": True}).encode()
    chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    start = b"POST /v1/chat/completions?a=b HTTP/1.1\r\n"
    chunked = start + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"

    async def run() -> list[tuple[int, bytes]]:
        async with endpoint(Scripted()) as (found, path), found.session():
            return await talk(path, chunked, chat(), http(b"", path="/v1/models", method="GET"), b"GET / HTTP/1.0\n\n")

    streamed, plain, models, last = asyncio.run(run())
    events = streamed[1].decode().split("\n\n")
    assert json.loads(events[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "HELLO"
    assert events[1:] == ["data: [DONE]", ""]
    assert json.loads(plain[1])["choices"][0]["message"]["content"] == "HELLO"
    assert [model["id"] for model in json.loads(models[1])["data"]] == ["model"]
    assert last[0] == 404


def test_after_a_request_too_large_the_connection_goes_on() -> None:
    """Under Landlock a candidate has no other."""

    async def run() -> list[tuple[int, bytes]]:
        async with endpoint(Scripted()) as (found, path), found.session():
            return await talk(path, chat(padding="x" * BODY), chat(n=2), chat())

    assert [status for status, _ in asyncio.run(run())] == [400, 400, 200]


def test_the_output_is_cut_to_what_is_left_and_what_cannot_fit_is_not_sent() -> None:
    model = Scripted()
    long = http({"messages": [{"role": "user", "content": "x" * 700}]})

    async def run() -> tuple[list[int], Any]:
        async with endpoint(model, tokens=100) as (found, path), found.session() as spent:
            answers = await talk(path, chat(max_tokens=7), chat(), long)
            return [status for status, _ in answers], (spent, json.loads(answers[-1][1])["error"]["message"])

    statuses, (spent, message) = asyncio.run(run())
    assert statuses == [200, 200, 429]
    assert [ask.max_tokens for ask in model.asked] == [7, 100 - 8 - 10]  # "hello" and its message are 10
    assert (spent.requests, spent.input, spent.output) == (2, 6, 10)
    assert message == "this request has about 208 tokens, and 84 of this evaluation's 100 are left"


def test_several_at_once_never_hold_more_than_there_is() -> None:
    """Four want half of the budget each: two are under way, the others wait, and all are answered."""
    held: list[int] = []
    most = 0
    two = asyncio.Event()

    async def slow(ask: Ask) -> Reply:
        nonlocal most
        held.append(ask.max_tokens or 0)
        most = max(most, sum(held))
        if len(held) == 2:
            two.set()
        await two.wait()
        await asyncio.sleep(0.02)  # for a third, which should not come
        held.remove(ask.max_tokens or 0)
        return Reply("x", Usage(10, 30), 0.0)

    async def run() -> list[list[tuple[int, bytes]]]:
        async with endpoint(slow, tokens=220) as (found, path), found.session():
            return await asyncio.gather(*(talk(path, chat(max_tokens=90)) for _ in range(4)))

    assert [status for [(status, _)] in asyncio.run(run())] == [200] * 4
    assert most == 180


def test_eight_connections_at_once_and_the_others_wait() -> None:
    now = most = 0
    full = asyncio.Event()

    async def slow(_ask: Ask) -> Reply:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == CONNECTIONS:
            full.set()
        await full.wait()
        await asyncio.sleep(0.02)  # for one more, which should not come
        now -= 1
        return Reply("x", Usage(), 0.0)

    async def run() -> list[list[tuple[int, bytes]]]:
        async with endpoint(slow) as (found, path), found.session():
            return await asyncio.gather(*(talk(path, chat(max_tokens=9)) for _ in range(30)))

    answers = asyncio.run(run())
    assert [status for [(status, _)] in answers] == [200] * 30
    assert most == CONNECTIONS


def test_a_flood_takes_no_more_of_this_process_than_allowed() -> None:
    empty = http(b"", path="/v1/models", method="GET")

    async def flood() -> tuple[list[int], list[int]]:
        async with endpoint(Scripted(), requests=1) as (found, path):
            async with found.session():
                answers = await talk(path, *[empty] * 1000)
                waiting = asyncio.create_task(talk(path, empty))
                assert not (await asyncio.wait([waiting], timeout=0.1))[0]
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await waiting
            async with found.session():
                after = await talk(path, empty)
            return [status for status, _ in answers], [status for status, _ in after]

    flooded, after = asyncio.run(flood())
    assert flooded == [200] * (len(flooded) - 1) + [429]
    assert len(flooded) < 250
    assert after == [200]


def test_connections_end_with_the_evaluation_and_there_are_none_between() -> None:
    model = Scripted()

    async def run() -> None:
        async with endpoint(model) as (found, path):
            async with found.session():
                kept = await asyncio.open_unix_connection(path)
                assert (await talk(path, chat()))[0][0] == 200
                # Nobody has accepted it when the evaluation ends.
                late = socket.socket(socket.AF_UNIX)
                late.connect(str(path))
                late.sendall(chat())
            between = await asyncio.open_unix_connection(path)
            assert await between[0].read() == b""
            async with found.session() as spent:
                kept[1].write(chat())
                for reader, writer in (kept, between):
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                    writer.close()
                with contextlib.suppress(ConnectionError):
                    assert late.recv(100) == b""
                late.close()
                assert (await talk(path, chat()))[0][0] == 200
            assert spent.requests == 1

    asyncio.run(run())
    assert len(model.asked) == 2


def test_a_finish_reason_of_the_server_s_own_becomes_a_known_one() -> None:
    async def odd(_ask: Ask) -> Reply:
        return replace(Reply("x", Usage(1, 1), 0.0), finish="eos_token")

    assert one(chat(), odd)[1]["choices"][0]["finish_reason"] == "stop"
