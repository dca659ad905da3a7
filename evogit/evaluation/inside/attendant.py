"""The candidate's half of an evaluation in two processes: an attendant that starts and ends what the candidate runs.

The attendant itself runs no code of the candidate's. It is the first process of the candidate's namespace, forked from
a server that never imported the judge; each worker that it forks answers calls over a socket that the judge is handed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from types import ModuleType
from typing import Any, NoReturn

from . import wire
from .kernel import PR_SET_CHILD_SUBREAPER, libc, signal_name
from .processes import end_others

Message = dict[str, Any]


def attend(control: socket.socket, limits: Message) -> None:
    """Serve one judge until it goes away."""
    if os.getpid() != 1:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    worker = 0
    while True:
        try:
            order = wire.receive(control)
        except (EOFError, wire.NotPlain):
            return  # what is left is ended by whoever started this
        what = order["do"]
        if what == "start":
            if worker:
                end_others()
            wire.send(control, True)
            worker = _start(control)
        elif what == "stop":
            if worker:
                end_others()
            worker = 0
            wire.send(control, True)
        elif what == "how":
            wire.send(control, _how(worker))
        elif what == "used":
            wire.send(control, _used(worker))
        elif what == "run":
            wire.send(control, _run(order, limits["output"]))


def _start(control: socket.socket) -> int:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        kept = sorted({theirs.fileno(), int(os.environ.get("EVOGIT_MODEL_FD", 2))})
        for low, high in zip([2, *kept], [*kept, 4096], strict=True):
            os.closerange(low + 1, high)
        _work(theirs)
    theirs.close()
    socket.send_fds(control, [b"+"], [ours.fileno()])
    ours.close()
    return pid


def _how(worker: int) -> str:
    """How the worker ended; it has closed its socket, so it ends now or is made to."""
    status = 0
    with contextlib.suppress(ChildProcessError):
        for _ in range(100):
            pid, status = os.waitpid(worker, os.WNOHANG)
            if pid:
                break
            time.sleep(0.005)
        else:
            return "closed its connection"
    if os.WIFSIGNALED(status):
        return f"was killed by {signal_name(os.WTERMSIG(status))}"
    return f"ended with exit status {os.WEXITSTATUS(status)}"


def _used(worker: int) -> float:
    """Seconds of processor time by the kernel's clock of that process; 0 if there is none."""
    try:
        return time.clock_gettime((~worker << 3) | 2) if worker else 0.0  # as clock_getcpuclockid makes it
    except OSError:
        return 0.0


def _run(order: Message, limit: int) -> Message:
    """A program with its output in memory: whoever keeps the files open after its end is ended before they are read."""
    command = [sys.executable if order["command"][0] in ("python", "python3") else order["command"][0]]
    command += order["command"][1:]
    files = [os.memfd_create(name) for name in ("input", "output", "errors")]
    os.write(files[0], order["input"]) if order["input"] else None
    os.lseek(files[0], 0, os.SEEK_SET)
    environment = {**os.environ, **order["environment"]}
    passed = (int(os.environ["EVOGIT_MODEL_FD"]),) if "EVOGIT_MODEL_FD" in os.environ else ()
    began = time.monotonic()
    late = False
    try:
        process = subprocess.Popen(
            command, stdin=files[0], stdout=files[1], stderr=files[2], env=environment, start_new_session=True,
            pass_fds=passed,
        )  # fmt: skip
        try:
            process.wait(order["deadline"])
        except subprocess.TimeoutExpired:
            late = True
        seconds = time.monotonic() - began
        status = process.returncode if process.returncode is not None else -signal.SIGKILL
        end_others()
        process.returncode = status
        output, errors = (os.pread(file, limit, 0) for file in files[1:])
    except OSError as error:
        return {"error": f"cannot run {command[0]}: {error.strerror}"}
    finally:
        for file in files:
            os.close(file)
    return {"status": status, "output": output, "errors": errors, "seconds": seconds, "late": late}


# In the worker


def _work(connection: socket.socket) -> NoReturn:
    """Answer calls. From the first one on everything here is in the candidate's hands."""
    os.setsid()
    sys.path.insert(0, os.getcwd())
    modules: dict[str, ModuleType] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = wire.receive(connection)
            answer = _answer(request, modules)
            try:
                data = wire.pack({**answer, "token": request["token"]})
            except wire.NotPlain as error:
                data = wire.pack({"error": f"{request.get('target')} answered what cannot pass: {error}",
                                  "token": request["token"]})  # fmt: skip
            connection.sendall(data)
    os._exit(0)


def _answer(request: Message, modules: dict[str, ModuleType]) -> Message:
    try:
        if request["do"] == "define":
            modules[request["name"]] = module = ModuleType(request["name"])
            sys.modules[request["name"]] = module
            exec(compile(request["source"], f"{request['name']}.py", "exec"), module.__dict__)
            return {"value": None}
        place, _, name = request["target"].partition(":")
        function = getattr(_module(place, modules), name)
        return {"value": function(*request["arguments"], **request["named"])}
    except MemoryError:
        return {"error": "out of memory", "memory": True}
    except BaseException as error:  # noqa: BLE001  # whatever a candidate raises is its own failure
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        own = os.path.dirname(__file__)
        kept = [line for line in lines if not line.lstrip().startswith(f'File "{own}') and "<frozen" not in line]
        return {"error": "".join(kept).replace(os.getcwd() + "/", "").strip()[-8000:]}


def _module(place: str, modules: dict[str, ModuleType]) -> ModuleType:
    found = modules.get(place)
    if found is not None:
        return found
    name = place.removesuffix(".py").replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.getcwd(), place))
    if spec is None or spec.loader is None:
        raise ImportError(f"{place}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    modules[place] = module
    return module
