"""Start the fork server, and its twin before anything of the judge's is imported."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import resource
import signal
import socket
import sys
import traceback

from .confining import can_layer
from .judging import find_function
from .kernel import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_PDEATHSIG, Message, call_filter, libc, open_doors
from .server import Server
from .twin import Twin


def start_twin(setup: Message, closed: list[socket.socket]) -> Twin:
    """Fork it. `closed`: connections of this server's that are not its own."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return Twin(pid, ours)
    for each in (ours, *closed):
        each.close()
    watch(setup)
    run_server(Server(theirs, {**setup, "size": size_of_process()}))
    os._exit(0)


def watch(setup: Message) -> None:
    """How this server learns that it must end, and that what it started is gone."""
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if setup["namespaces"]:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        # No namespace ends what candidates started: this server must outlive its host for as long as that takes.
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def size_of_process() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def run_server(server: Server) -> None:
    """Serve until the other side is gone, then leave nothing behind."""
    server.serve()
    for child in list(server._children.values()):
        server._kill(child, "cancelled")
    if server._twin is not None:
        server._twin.end()
    if not server._flags:
        server._children.clear()
        server._twin = None
        server._sweep_orphans()


def main() -> int:
    control = socket.socket(fileno=int(sys.argv[1]))
    size = int.from_bytes(control.recv(4, socket.MSG_WAITALL), "big")
    setup: Message = json.loads(control.recv(size, socket.MSG_WAITALL))
    watch(setup)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    setup["filter"] = call_filter(namespaces=setup["namespaces"])
    setup["layered"] = setup["namespaces"] and can_layer(setup["pool"])
    setup["networks"] = []
    if setup["hatch"] is not None:
        with socket.socket(fileno=setup["hatch"]) as hatch:
            setup["networks"] = open_doors(setup["jobs"], hatch)
    ready: Message = {"ready": True, "layered": setup["layered"], "doors": len(setup["networks"])}
    os.environ.clear()
    os.environ.update(setup["environment"])
    twin = None
    try:
        twin = load(setup, control)
    except Exception:  # noqa: BLE001  # reported to the user as the task's mistake, whatever it was
        ready = {"ready": False, "detail": traceback.format_exc()}
    setup["size"], ready["paired"] = size_of_process(), setup.get("paired", [])
    server = Server(control, setup, twin)
    server._answer(ready)
    if ready["ready"]:
        run_server(server)
    return 0


def load(setup: Message, control: socket.socket) -> Twin | None:
    """Import what every evaluation needs. The twin comes between what is the machine's and what is the judge's.

    It is kept only where a function takes a `candidate`, and so wants it in a process of its own.
    """
    theirs = [name for name in setup["preload"] if _is_in(setup["task"], name)]
    for module in [name for name in setup["preload"] if name not in theirs]:
        importlib.import_module(module)
    twin: Twin | None = start_twin(setup, [control]) if setup["functions"] else None
    sys.path.insert(0, setup["task"])
    for module in theirs:
        importlib.import_module(module)
    found = {target: find_function(target) for target in setup["functions"]}
    setup["paired"] = [
        name for name, function in found.items() if "candidate" in inspect.signature(function).parameters
    ]
    if twin is not None and not setup["paired"]:
        twin.end()
        twin = None
    return twin


def _is_in(task: str, module: str) -> bool:
    place = os.path.join(task, module.partition(".")[0])
    return os.path.isdir(place) or os.path.isfile(place + ".py")
