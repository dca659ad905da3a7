"""One evaluation, in the forked child: run the judge, and send what it says as a framed result."""

from __future__ import annotations

import base64
import contextlib
import errno
import importlib
import inspect
import json
import math
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from .attendant import attend
from .candidate import Candidate, CandidateFailed
from .confining import confine
from .kernel import PR_SET_CHILD_SUBREAPER, Message, libc, signal_name
from .processes import end_others

RESULT_FD_LIMIT = 4 << 20  # bytes of result a candidate may send
ARTIFACTS = 32  # files that one evaluation may leave as evidence
ARTIFACT_BYTES = 2 << 20  # bytes of all of them
ARTIFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\.[A-Za-z0-9]{1,8}")
RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")


def evaluate(request: Message, setup: Message, nonce: bytes, pipe: int, partner: socket.socket | None) -> NoReturn:
    """Confine this fork, run the stage, send the framed result, and end.

    `partner`: in an evaluation in two processes, the connection between the judge's fork and the candidate's.
    """
    status, me = 0, os.getpid()
    try:
        folder, scratch = confine(request, setup)
        if partner is not None and request["serving"]:
            attend(partner, request["limits"])
            os._exit(0)
        if request.get("function"):
            answer = run_function(request, folder, partner)
        else:
            answer = run_command(request, folder, scratch)
    except CandidateFailed as error:
        answer = {"reason": error.reason, "detail": str(error), "lost": error.lost}
    except MemoryError:
        answer = {"reason": "memory", "detail": "out of memory"}
    except RecursionError:
        answer = {"reason": "failed", "detail": "RecursionError: the recursion is too deep"}
    except OSError as error:
        out = error.errno in (errno.ENOMEM,)
        answer = {"reason": "memory" if out else "failed", "detail": trace()}
    except SystemExit as error:
        answer = {"reason": "failed", "detail": f"called sys.exit({error.code!r}) before there was a result"}
    except BaseException:  # noqa: BLE001  # whatever a candidate raises is its own failure
        answer = {"reason": "failed", "detail": trace()}
    if os.getpid() != me:
        os._exit(1)  # a process that the candidate forked came back here: only the first one speaks
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    try:
        data = nonce + json.dumps(answer).encode()
    except (TypeError, ValueError) as error:
        data = nonce + json.dumps({"reason": "no-result", "detail": f"the result is not JSON: {error}"}).encode()
    try:
        while data:
            data = data[os.write(pipe, data) :]
    except OSError:
        status = 1
    os._exit(status)


def trace() -> str:
    """The traceback from the evaluator's own frames on; this server's are of no interest to anybody."""
    lines = traceback.format_exception(*sys.exc_info())
    own = os.path.dirname(__file__)
    kept = [line for line in lines if not line.lstrip().startswith(f'File "{own}')]
    # The task's folder has another name each time; the text must not.
    return "".join(kept).replace(sys.path[0] + "/", "")[-8000:]


def run_function(request: Message, folder: str, partner: socket.socket | None) -> Message:
    function = find_function(request["function"])
    offered = {"epoch": request["epoch"], "stage": request["stage"], "parameters": request["parameters"]}
    accepted = inspect.signature(function).parameters
    wanted: Message = {key: value for key, value in offered.items() if key in accepted}
    if partner is not None:
        wanted["candidate"] = Candidate(partner, Path(folder))
    return as_result(function(Path(folder), **wanted), ungraded=request["ungraded"])


def find_function(target: str) -> Any:
    """The judge's function ``"file.py:name"``, imported."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), name)


def as_result(value: object, *, ungraded: bool) -> Message:
    """What an evaluator returned or wrote, in one form; a score that is no finite number is no result.

    `ungraded`: a judge decides, so a missing score is no mistake.
    """
    if ungraded and isinstance(value, dict) and "score" not in value:
        value = {**value, "score": 0.0}
    if isinstance(value, dict):
        metrics = value.get("metrics") or {}
        score = value.get("score", metrics.get("score") if isinstance(metrics, dict) else None)
        feedback = value.get("feedback", "")
    else:
        metrics, score, feedback = {}, value, ""
    if not isinstance(metrics, dict):
        return {"reason": "no-result", "detail": f"metrics must be a table of numbers, not {metrics!r:.200}"}
    numbers = {}
    for name, number in {"score": score, **metrics}.items():
        try:
            numbers[str(name)] = float(number)
        except (TypeError, ValueError, OverflowError):
            return {"reason": "no-result", "detail": f"{name} must be a number, not {number!r:.200}"}
        if not math.isfinite(numbers[str(name)]):
            return {"reason": "no-result", "detail": f"{name} must be finite, not {number!r}"}
    kept = {name: numbers[str(name)] for name in metrics}
    answer: Message = {"score": numbers["score"], "metrics": kept, "feedback": str(feedback)[:100_000]}
    if isinstance(value, dict) and value.get("artifacts"):
        try:
            answer["artifacts"] = packed(value["artifacts"])
        except ValueError as error:
            return {"reason": "no-result", "detail": f"artifacts: {error}"}
    return answer


def packed(artifacts: object) -> dict[str, str]:
    """A judge's files, name → bytes (in JSON: base64), as text. Raises `ValueError` for what may not be kept."""
    if not isinstance(artifacts, dict) or len(artifacts) > ARTIFACTS:
        raise ValueError(f"expected a table of at most {ARTIFACTS} files, name → bytes")
    room, found = ARTIFACT_BYTES, {}
    for name, data in artifacts.items():
        if not isinstance(name, str) or not ARTIFACT_NAME.fullmatch(name):
            raise ValueError(f"{name!r:.100} is no plain file name with a suffix, as home-375-dark.jpeg")
        if isinstance(data, str):
            data = base64.b64decode(data, validate=True)
        if not isinstance(data, bytes | bytearray):
            raise ValueError(f"{name} must be bytes, not {type(data).__name__}")
        room -= len(data)
        found[name] = base64.b64encode(data).decode()
    if room < 0:
        raise ValueError(f"{ARTIFACT_BYTES - room} bytes in all, and {ARTIFACT_BYTES} are kept")
    return found


def run_command(request: Message, folder: str, scratch: str) -> Message:
    """Run the command as a child, so that its end is seen whatever it does, and read what it wrote.

    A Python judge is handed a file in memory that no process but its own can open, by any name. Any other command gets
    a name that its children may learn, so they are ended before the file is read.
    """
    if os.getpid() != 1:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    first, *rest = request["command"]
    judge = first in ("python", "python3") and bool(rest) and rest[0].endswith(".py")
    asked, told, result = os.pipe(), os.pipe(), os.memfd_create("result")
    place = f"/proc/self/fd/{result}" if judge else os.path.join(scratch, f"result-{secrets.token_hex(8)}.json")
    word = secrets.token_hex(16)
    os.write(asked[1], json.dumps([word, request["trusted"]]).encode())
    os.close(asked[1])
    command = [sys.executable if first in ("python", "python3") else first, *rest]
    if judge:
        command[1:1] = [RUNNER, str(asked[0]), str(told[1]), str(result)]
    descriptors = (asked[0], told[1], result) if judge else ()
    if "EVOGIT_MODEL_FD" in os.environ:
        descriptors = (*descriptors, int(os.environ["EVOGIT_MODEL_FD"]))
    environment = dict(os.environ) | {"EVOGIT_RESULT": place}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, check=False, pass_fds=descriptors)
    except OSError as error:
        return {"reason": "failed", "detail": f"cannot run {command[0]}: {error.strerror}"}
    end_others()
    os.set_blocking(told[0], False)
    with contextlib.suppress(BlockingIOError):
        judge = judge and os.read(told[0], 64) != word.encode()
    if judge and not done.returncode:
        return {"reason": "failed", "detail": "the judge's process ended before the judge did: the candidate left it"}
    if done.returncode:
        return _failed(done.returncode)
    return _read_result(None if place.startswith("/proc/") else place, result, ungraded=request["ungraded"])


def _failed(status: int) -> Message:
    if status == -signal.SIGXCPU:
        return {"reason": "timeout", "detail": "the processor time is used up"}
    if status < 0:
        return {"reason": "crashed", "detail": f"killed by {signal_name(-status)}"}
    return {"reason": "failed", "detail": f"exit status {status}"}


def _read_result(place: str | None, memory: int, *, ungraded: bool) -> Message:
    try:
        with open(memory if place is None else place, "rb") as file:
            file.seek(0)
            data = file.read(RESULT_FD_LIMIT)
    except OSError:
        data = b""
    if not data:
        own = " (only the judge's own process can)" if place is None else ""
        return {"reason": "no-result", "detail": f"nothing was written to the file that EVOGIT_RESULT names{own}"}
    try:
        value = json.loads(data)
    except ValueError as error:
        return {"reason": "no-result", "detail": f"the file that EVOGIT_RESULT names is not JSON: {error}"}
    return as_result(value, ungraded=ungraded)
