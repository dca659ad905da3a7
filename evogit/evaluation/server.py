"""The fork server: started once inside the sandbox, it forks once per evaluation and confines each fork further.

Run by path, as its own program; the standard library only, because it is all that is bound into the sandbox. It reads
length-prefixed JSON requests from a socket and answers each. Every fork has its own process and mount namespace (where
the sandbox grants them), its own folder and /tmp, its own session, no capabilities and its own limits, so that
candidates can neither see, signal nor poison one another.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import fcntl
import importlib
import inspect
import json
import math
import os
import platform
import resource
import secrets
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

Message = dict[str, Any]

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x08000000, 0x20000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 36, 38, 22
RESULT_FD_LIMIT = 4 << 20  # bytes of result a candidate may send
WATCH = 0.05  # seconds between looks at the process tree, where no namespace holds it
MEASURE = 0.25  # seconds between measurements of what was written, where no mount of its own bounds it
FILES = 100_000  # files and folders that a candidate may make
PORT = 61434  # of the model's endpoint on a candidate's own loopback device; outside the range for outgoing connections

_MACHINE = platform.machine()
_CLONE = {"x86_64": 56, "aarch64": 220}.get(_MACHINE)
_CAPSET = {"x86_64": 126, "aarch64": 91}.get(_MACHINE)
_SOCKET = {"x86_64": 41, "aarch64": 198}.get(_MACHINE)
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}.get(_MACHINE)
_PRLIMIT = {"x86_64": 302, "aarch64": 261}.get(_MACHINE)
_TRUNCATE = {"x86_64": 76, "aarch64": 45}.get(_MACHINE)
_SIGNALS = {"x86_64": (62, 129, 200, 234, 297, 424), "aarch64": (129, 138, 130, 131, 240, 424)}.get(_MACHINE, ())
# What outlives a process or belongs to the user: keys; System V shared memory, semaphores, messages; message queues.
_KEYS = {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}.get(_MACHINE, ())
_LASTING = {"x86_64": (29, 64, 68, 240), "aarch64": (194, 190, 186, 180)}.get(_MACHINE, ())
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(_MACHINE)
# Changes of permissions, owners, times and attributes, which Landlock does not hold, even outside what it shows.
_ATTRIBUTES = {
    "x86_64": (90, 91, 92, 93, 94, 132, 188, 189, 197, 198, 235, 260, 261, 268, 280, 452, 463, 466),
    "aarch64": (5, 6, 14, 15, 52, 53, 54, 55, 88, 452, 463, 466),
}.get(_MACHINE, ())
_IO_URING_SETUP = 425
_LANDLOCK = 444  # create_ruleset; add_rule and restrict_self follow

_libc = ctypes.CDLL(None, use_errno=True)
_direct = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock, as a fork must


# The kernel's ways to confine


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def fork(flags: int) -> int:
    """``fork()`` with namespaces: clone(2) called between the interpreter's own fork hooks."""
    if not flags:
        return os.fork()
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _direct.syscall(_CLONE, ctypes.c_long(flags | signal.SIGCHLD), 0, 0, 0, 0)
    code = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"clone: {os.strerror(code)}")
    return pid


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, data.encode())
    _check(result, f"mount {target}")


def open_doors(count: int, hatch: socket.socket) -> list[int]:
    """For each slot a network with a loopback device only. What listens on it is sent out through `hatch`.

    The networks' descriptors, in order; none at all where this process may not make them. It ends in one more, an empty
    one: the one it was started in may belong to another user namespace, into which there is no way back.
    """
    networks: list[int] = []
    try:
        for _ in range(count):
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
                fcntl.ioctl(device, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
            with socket.socket() as door:
                door.bind(("127.0.0.1", PORT))
                door.listen(128)
                socket.send_fds(hatch, [b"d"], [door.fileno()])
            networks.append(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
    except OSError:
        networks = []
    return networks


def drop_privileges() -> None:
    """No capabilities, now or through any program; as root, become nobody (RLIMIT_NPROC does not hold root)."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    header = struct.pack("<Ii", 0x20080522, 0)
    _check(_libc.syscall(_CAPSET, header, bytes(24)), "capset")


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 if it has none."""
    return max(0, int(_libc.syscall(_LANDLOCK, None, 0, 1)))


def landlock(readable: list[str], writable: list[str]) -> None:
    """Reading and executing below `readable`, everything below `writable`, nothing else; no TCP; no signals outside."""
    abi = landlock_abi()
    if not abi:
        raise OSError(errno.EOPNOTSUPP, "landlock")
    rights = (1 << (13 if abi == 1 else 14 if abi == 2 else 15)) - 1
    if abi >= 5:
        rights |= 1 << 15
    read = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read folder
    attributes = struct.pack("<QQQ", rights, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _check(_libc.syscall(_LANDLOCK, attributes, ctypes.c_size_t(size), 0), "landlock ruleset")
    file_rights = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
    for path, allowed in [(p, read) for p in readable] + [(p, rights) for p in writable]:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(path):
            allowed &= file_rights
        rule = struct.pack("<Qi", allowed & rights, opened)
        _check(_libc.syscall(_LANDLOCK + 1, ruleset, 1, rule, 0), f"landlock rule {path}")
        os.close(opened)
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_libc.syscall(_LANDLOCK + 2, ruleset, 0), "landlock restrict")
    os.close(ruleset)


def call_filter(*, namespaces: bool) -> bytes:
    """A seccomp filter for what neither namespaces nor Landlock hold: keys, sockets of the virtual machine, io_uring.

    Without namespaces: no sockets at all but connected pairs (Landlock leaves those of the user's desktop, agents and
    containers open to whoever knows their path), no limits of other processes, and nothing that outlives a process.
    Changes of a file's attributes do nothing, but succeed, because every program that copies files asks for them.
    """
    calls = [_IO_URING_SETUP, *_KEYS]
    pretended: tuple[int, ...] = () if namespaces else _ATTRIBUTES
    first = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
    only: list[tuple[int | None, int, tuple[int, ...]]] = [(_SOCKET, 0, first if namespaces else ())]
    if not namespaces:
        abi = landlock_abi()
        calls += [*_LASTING, *(_SIGNALS if abi < 6 else ()), *([_TRUNCATE] if abi < 3 else [])]
        # A pair of datagram sockets could be connected anew, to another address.
        only += [(_SOCKETPAIR, 1, (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)), (_PRLIMIT, 0, (0,))]
    load, equal, masked, leave = 0x20, 0x15, 0x54, 0x06
    denied, allowed = 0x00050000 | errno.EPERM, 0x7FFF0000
    program = [(load, 0, 0, 4), (equal, 1, 0, int(_AUDIT or 0)), (leave, 0, 0, denied), (load, 0, 0, 0)]
    program += [(0x35, 0, 1, 0x40000000), (leave, 0, 0, denied)]  # x32: the same calls under other numbers
    for number in calls:
        program += [(equal, 0, 1, int(number or 0)), (leave, 0, 0, denied)]
    for number in pretended:
        program += [(equal, 0, 1, number), (leave, 0, 0, 0x00050000)]
    for call, argument, values in only:
        block = [(load, 0, 0, 16 + 8 * argument), (masked, 0, 0, 0xFF if call == _SOCKETPAIR else 0xFFFFFFFF)]
        for value in values:
            block += [(equal, 0, 1, int(value)), (leave, 0, 0, allowed)]
        block.append((leave, 0, 0, denied))
        program += [(equal, 0, len(block), int(call or 0)), *block]
    program.append((leave, 0, 0, allowed))
    return b"".join(struct.pack("<HBBI", *line) for line in program)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_calls(code: bytes) -> None:
    """Apply a `call_filter`, for good."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    program = _Program(len(code) // 8, code)
    _check(_libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")


# One evaluation, in the forked child


def evaluate(request: Message, setup: Message, nonce: bytes, pipe: int) -> NoReturn:
    """Confine this fork, run the stage, send the framed result, and end."""
    status, me = 0, os.getpid()
    try:
        folder, scratch = _confine(request, setup)
        answer = _run_function(request, folder) if request.get("function") else _run_command(request, folder, scratch)
    except MemoryError:
        answer = {"reason": "memory", "detail": "out of memory"}
    except RecursionError:
        answer = {"reason": "failed", "detail": "RecursionError: the recursion is too deep"}
    except OSError as error:
        out = error.errno in (errno.ENOMEM,)
        answer = {"reason": "memory" if out else "failed", "detail": _trace()}
    except SystemExit as error:
        answer = {"reason": "failed", "detail": f"called sys.exit({error.code!r}) before there was a result"}
    except BaseException:  # noqa: BLE001  # whatever a candidate raises is its own failure
        answer = {"reason": "failed", "detail": _trace()}
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


def _trace() -> str:
    """The traceback from the evaluator's own frames on; this server's are of no interest to anybody."""
    lines = traceback.format_exception(*sys.exc_info())
    kept = [line for line in lines if not line.lstrip().startswith(f'File "{__file__}"')]
    # The task's folder has another name each time; the text must not.
    return "".join(kept).replace(sys.path[0] + "/", "")[-8000:]


def _confine(request: Message, setup: Message) -> tuple[str, str]:
    """Apply every means of confinement; the folder and the scratch folder as this process sees them."""
    limits, folder, scratch = request["limits"], request["folder"], request["scratch"]
    if setup["namespaces"]:
        folder, scratch = _own_mounts(request, setup), "/tmp"
    os.umask(0o022)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, max(1, math.ceil(limits["cpu"])))
    _limit(resource.RLIMIT_FSIZE, limits["file_size"])
    _limit(resource.RLIMIT_NOFILE, 1024)
    _limit(resource.RLIMIT_AS, limits["memory"] + (setup["size"] if request.get("function") else 64 << 20))
    user = request["user"]
    if user:
        # As root every folder has a user of its own: RLIMIT_NPROC does not hold root, and counts by user.
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        _limit(resource.RLIMIT_NPROC, limits["processes"] + 1)
    elif setup["namespaces"]:
        # Counted in the sandbox's user namespace: the other forks of this server count too.
        _limit(resource.RLIMIT_NPROC, (limits["processes"] + 1) * setup["jobs"] + 2)
    offered = _offer_model(request, setup) if request["model"] else {}
    if setup["privileged"]:
        drop_privileges()
    if setup["landlock"]:
        # Not all of /dev: there are the disks, and in /dev/shm the folders of other candidates and programs.
        own = [scratch, "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
        landlock([*setup["readable"], folder, "/proc"], own + ([folder] if request["writable"] else []))
    if setup["privileged"]:
        forbid_calls(setup["filter"])
    # Not to live on when the server is killed.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Not to be traced or read through /proc by a command it starts.
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ.update({"HOME": scratch, "TMPDIR": scratch, **offered})
    return folder, scratch


def _offer_model(request: Message, setup: Message) -> dict[str, str]:
    """How the candidate reaches its model's endpoint, as environment variables."""
    offered = {"EVOGIT_MODEL": "model"}
    if setup["landlock"]:
        # It may make no socket: one to a path known to it would reach the user's desktop, keys and containers too.
        place = os.open(request["model"], os.O_PATH)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"/proc/self/fd/{place}/socket")
        os.close(place)
        connection.set_inheritable(True)
        return offered | {"EVOGIT_MODEL_FD": str(connection.detach())}
    if setup["networks"]:
        offered |= {"OPENAI_BASE_URL": f"http://127.0.0.1:{PORT}/v1", "OPENAI_API_KEY": "evogit"}
    folder = "/model" if setup["namespaces"] else request["model"]
    return offered | {"EVOGIT_MODEL_SOCKET": f"{folder}/socket"}


def _own_mounts(request: Message, setup: Message) -> str:
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    # The interpreter and the task, where they live below /tmp or /dev/shm, stay visible there, over the fresh ones.
    kept = [(path, os.open(path, os.O_PATH)) for path in setup["kept"]]
    candidate = os.open(request["folder"], os.O_PATH)
    model = os.open(request["model"], os.O_PATH) if request["model"] else None
    folder = f"/proc/self/fd/{candidate}"
    mount("tmpfs", setup["pool"], "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=4k,mode=0755")
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={request['limits']['disk']},mode=1777,nr_inodes=100k")
    if request["writable"] and setup["layered"]:
        layer_over(folder, request["user"])
    else:
        mount(folder, "/candidate", None, MS_BIND)
        if not request["writable"]:
            mount("none", "/candidate", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    if model is not None:
        mount(f"/proc/self/fd/{model}", "/model", None, MS_BIND)
        mount("none", "/model", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
        os.close(model)
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")
    for path, opened in kept:
        os.makedirs(path, mode=0o755, exist_ok=True)
        mount(f"/proc/self/fd/{opened}", path, None, MS_BIND)
        os.close(opened)
    os.close(candidate)
    with contextlib.suppress(OSError):
        # Refused in some user namespaces; the sandbox's own /proc is then kept, where this server is unreadable.
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    return "/candidate"


def layer_over(folder: str, user: int) -> None:
    """Show `folder` at /candidate; what is written there goes to the memory behind /tmp, counts with it and is gone.

    Needs a fresh /tmp. Raises OSError where the kernel has no overlayfs for this process.
    """
    for part in ("upper", "work", "tmp"):
        os.mkdir(f"/tmp/{part}")
    os.chmod("/tmp/tmp", 0o1777)
    if user:
        os.chown("/tmp/upper", user, user)
    layers = f"lowerdir={folder},upperdir=/tmp/upper,workdir=/tmp/work"
    try:
        mount("overlay", "/candidate", "overlay", MS_NOSUID | MS_NODEV, layers)
    except PermissionError:  # in a user namespace, since Linux 5.11
        mount("overlay", "/candidate", "overlay", MS_NOSUID | MS_NODEV, layers + ",userxattr")
    mount("/tmp/tmp", "/tmp", None, MS_BIND)


def can_layer(folder: str) -> bool:
    """Whether `layer_over` works here, by trying it in a fork with mounts of its own."""
    pid = fork(CLONE_NEWNS)
    if pid == 0:
        try:
            mount("none", "/", None, MS_REC | MS_PRIVATE)
            lower = os.open(folder, os.O_PATH)
            mount("tmpfs", "/tmp", "tmpfs", 0)
            layer_over(f"/proc/self/fd/{lower}", 0)
            with open("/candidate/probe", "w"):
                os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _run_function(request: Message, folder: str) -> Message:
    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), name)
    offered = {"epoch": request["epoch"], "stage": request["stage"], "parameters": request["parameters"]}
    accepted = inspect.signature(function).parameters
    wanted = {key: value for key, value in offered.items() if key in accepted}
    return _as_result(function(Path(folder), **wanted), ungraded=request["ungraded"])


def _as_result(value: object, *, ungraded: bool) -> Message:
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
    return {"score": numbers["score"], "metrics": kept, "feedback": str(feedback)[:100_000]}


# Runs a Python judge and says, by a word that only it knows, that the judge came to its own end. A candidate that the
# judge imports could otherwise write a result and leave with exit status 0, by os._exit or by sys.exit.
RUNNER = """
import json, os, sys, traceback, types
def run(asked, told):
    with os.fdopen(asked, "rb") as pipe:
        word, trusted = json.loads(pipe.read())
    os.set_inheritable(told, False)
    del sys.argv[:3]
    path = os.path.abspath(sys.argv[0])
    sys.path[0] = os.path.dirname(path)
    own = {path, *(os.path.abspath(name) for name in trusted)}
    inside = os.getcwd() + os.sep
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    main.__file__ = path
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, main.__dict__)
    except SystemExit as stop:
        last, here = path, stop.__traceback__
        while here is not None:
            name = os.path.join(inside, here.tb_frame.f_code.co_filename)
            last = name if name.startswith(inside) else last
            here = here.tb_next
        if last not in own:
            print(f"{os.path.relpath(last)} called sys.exit({stop.code!r}) in the judge's process", file=sys.stderr)
            sys.exit(1)
        if stop.code not in (None, 0):
            raise
    except BaseException as error:
        traceback.print_exception(type(error), error, error.__traceback__.tb_next)
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(told, word.encode())
    os._exit(0)  # what a candidate left to be done at exit is not the judge's
run(int(sys.argv[1]), int(sys.argv[2]))
"""


def _run_command(request: Message, folder: str, scratch: str) -> Message:
    """Run the command as a child, so that its end is seen whatever it does, and read its result file."""
    result = os.path.join(scratch, f"result-{secrets.token_hex(8)}.json")
    environment = dict(os.environ) | {"EVOGIT_RESULT": result}
    first, *rest = request["command"]
    judge = first in ("python", "python3") and bool(rest) and rest[0].endswith(".py")
    word = secrets.token_hex(16)
    asked, told = os.pipe(), os.pipe()
    os.write(asked[1], json.dumps([word, request["trusted"]]).encode())
    os.close(asked[1])
    command = [sys.executable if first in ("python", "python3") else first, *rest]
    if judge:
        command[1:1] = ["-c", RUNNER, str(asked[0]), str(told[1])]
    descriptors = (asked[0], told[1]) if judge else ()
    if "EVOGIT_MODEL_FD" in os.environ:
        descriptors = (*descriptors, int(os.environ["EVOGIT_MODEL_FD"]))
    try:
        done = subprocess.run(command, cwd=folder, env=environment, check=False, pass_fds=descriptors)
    except OSError as error:
        return {"reason": "failed", "detail": f"cannot run {command[0]}: {error.strerror}"}
    os.set_blocking(told[0], False)
    with contextlib.suppress(BlockingIOError):
        judge = judge and os.read(told[0], 64) != word.encode()
    if judge and not done.returncode:
        return {"reason": "failed", "detail": "the judge's process ended before the judge did: the candidate left it"}
    if done.returncode:
        code = -done.returncode
        if code == signal.SIGXCPU:
            return {"reason": "timeout", "detail": "the processor time is used up"}
        if code > 0:
            return {"reason": "crashed", "detail": f"killed by {_signal_name(code)}"}
        return {"reason": "failed", "detail": f"exit status {done.returncode}"}
    try:
        with open(result, "rb") as file:
            value = json.loads(file.read(RESULT_FD_LIMIT))
    except OSError:
        return {"reason": "no-result", "detail": "nothing was written to the file that EVOGIT_RESULT names"}
    except ValueError as error:
        return {"reason": "no-result", "detail": f"the file that EVOGIT_RESULT names is not JSON: {error}"}
    return _as_result(value, ungraded=request["ungraded"])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# The server


@dataclass
class Child:
    """One evaluation under way, as the server sees it."""

    id: int
    pid: int
    handle: int
    started: float
    deadline: float
    limit: int
    nonce: bytes
    places: tuple[str, ...]
    processes: int
    disk: int
    measured: float
    pipes: dict[int, str] = field(default_factory=dict)
    data: dict[str, bytearray] = field(
        default_factory=lambda: {"out": bytearray(), "err": bytearray(), "res": bytearray()}
    )
    killed: str = ""
    status: int | None = None


class Server:
    """Accept requests, fork, watch, answer."""

    def __init__(self, control: socket.socket, setup: Message) -> None:
        self._control = control
        self._setup = setup
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, "control")
        self._children: dict[int, Child] = {}
        self._buffer = bytearray()
        self._flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC if setup["namespaces"] else 0
        self._watched = 0.0

    def serve(self) -> None:
        """Until the other side goes away."""
        while True:
            for key, _ in self._selector.select(self._wait()):
                if key.data == "control":
                    if not self._receive():
                        return
                else:
                    self._child_event(key.data, key.fd)
            self._enforce()

    def _wait(self) -> float | None:
        if not self._children:
            return None
        soonest = min(child.deadline for child in self._children.values()) - time.monotonic()
        return max(0.0, soonest if self._flags else min(soonest, WATCH))

    def _receive(self) -> bool:
        data = self._control.recv(1 << 20)
        if not data:
            return False
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < 4 + size:
                break
            request = json.loads(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            if "cancel" in request:
                for child in [c for c in self._children.values() if c.id == request["cancel"]]:
                    self._kill(child, "cancelled")
            else:
                self._start(request)
        return True

    def _start(self, request: Message) -> None:
        pipes = {name: os.pipe() for name in ("out", "err", "res")}
        nonce = secrets.token_hex(16).encode()
        limits, held = request["limits"], 0
        places: tuple[str, ...] = () if self._flags else (request["scratch"],)
        if places and request["writable"]:
            places, held = (*places, request["folder"]), usage((request["folder"],), sys.maxsize)
        started = time.monotonic()
        try:
            pid = fork(self._flags)
        except OSError as error:
            for ends in pipes.values():
                os.close(ends[0])
                os.close(ends[1])
            self._answer({"id": request["id"], "reason": "crashed", "detail": f"cannot fork: {error}", "server": True})
            return
        if pid == 0:
            self._become_child(request, pipes, nonce)
        child = Child(
            request["id"],
            pid,
            os.pidfd_open(pid),
            started,
            started + request["deadline"],
            limits["output"],
            nonce,
            places,
            limits["processes"],
            limits["disk"] + held,
            started,
        )
        for name, (reading, writing) in pipes.items():
            os.close(writing)
            os.set_blocking(reading, False)
            child.pipes[reading] = name
            self._selector.register(reading, selectors.EVENT_READ, child)
        self._selector.register(child.handle, selectors.EVENT_READ, child)
        self._children[pid] = child

    def _become_child(self, request: Message, pipes: dict[str, tuple[int, int]], nonce: bytes) -> NoReturn:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            if self._setup["networks"]:
                _check(_libc.setns(self._setup["networks"][request["slot"]], CLONE_NEWNET), "setns")
            os.dup2(pipes["out"][1], 1)
            os.dup2(pipes["err"][1], 2)
            result = pipes["res"][1]
            nothing = os.open("/dev/null", os.O_RDONLY)
            os.dup2(nothing, 0)
            os.closerange(3, result)
            os.closerange(result + 1, 4096)
        except OSError:
            os._exit(1)
        evaluate(request, self._setup, nonce, result)

    def _child_event(self, child: Child, descriptor: int) -> None:
        if descriptor == child.handle:
            _, child.status = os.waitpid(child.pid, 0)
            self._finish(child)
            return
        if descriptor not in child.pipes:
            return
        self._drain(child, descriptor)

    def _drain(self, child: Child, descriptor: int) -> None:
        name = child.pipes[descriptor]
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._close(child, descriptor)
            return
        held = child.data[name]
        limit = RESULT_FD_LIMIT if name == "res" else child.limit
        held += data[: max(0, limit - len(held))]
        if len(held) >= limit and not child.killed:
            self._kill(child, "output")

    def _close(self, child: Child, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        del child.pipes[descriptor]

    def _enforce(self) -> None:
        now = time.monotonic()
        watch = not self._flags and now >= self._watched
        if watch:
            self._watched = now + WATCH
        for child in list(self._children.values()):
            if now >= child.deadline and not child.killed:
                self._kill(child, "timeout")
            elif watch and not child.killed and len(_descendants(child.pid)) > child.processes:
                self._kill(child, "processes")
            elif watch and not child.killed and now >= child.measured + MEASURE:
                child.measured = now
                if usage(child.places, child.disk) > child.disk:
                    self._kill(child, "disk")

    def _kill(self, child: Child, why: str) -> None:
        child.killed = why
        if not self._flags:
            _kill_tree(child.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)

    def _finish(self, child: Child) -> None:
        if not self._flags:
            self._sweep_orphans()
        for descriptor in list(child.pipes):
            for _ in range(64):
                if descriptor not in child.pipes:
                    break
                before = len(child.data[child.pipes[descriptor]])
                self._drain(child, descriptor)
                if descriptor in child.pipes and len(child.data[child.pipes[descriptor]]) == before:
                    break
            if descriptor in child.pipes:
                self._close(child, descriptor)
        self._selector.unregister(child.handle)
        os.close(child.handle)
        del self._children[child.pid]
        if child.places:
            empty(child.places[0])
        answer = self._verdict(child)
        answer |= {
            "id": child.id,
            "seconds": time.monotonic() - child.started,
            "stdout": base64.b64encode(child.data["out"]).decode(),
            "stderr": base64.b64encode(child.data["err"]).decode(),
        }
        self._answer(answer)

    def _verdict(self, child: Child) -> Message:
        """What the end of a child means."""
        explanations = {
            "timeout": "ran into the deadline",
            "output": "wrote more output than the limit allows",
            "processes": "started more processes than the limit allows",
            "disk": "wrote more files, or more into them, than the limit allows",
            "cancelled": "cancelled",
        }
        if child.killed:
            reason = "failed" if child.killed in ("processes", "disk") else child.killed
            return {"reason": reason, "detail": explanations[child.killed]}
        status, result = child.status or 0, bytes(child.data["res"])
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGXCPU:
                return {"reason": "timeout", "detail": "the processor time is used up"}
            return {"reason": "crashed", "detail": f"killed by {_signal_name(number)}"}
        if result and not result.startswith(child.nonce):
            return {"reason": "forged", "detail": "a result came by another way than the evaluator's"}
        if not result:
            code = os.WEXITSTATUS(status)
            return {"reason": "failed", "detail": f"ended with exit status {code} before the evaluator had a result"}
        try:
            answer: Message = json.loads(result[len(child.nonce) :])
        except ValueError:
            return {"reason": "forged", "detail": "the evaluator's result was tampered with"}
        return answer

    def _sweep_orphans(self) -> None:
        """Kill what an ended child left behind: it is now a child of this subreaper."""
        for _ in range(100):
            orphans = [pid for pid in _children_of(os.getpid()) if pid not in self._children]
            if not orphans:
                return
            for pid in orphans:
                _kill_tree(pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _answer(self, message: Message) -> None:
        data = json.dumps(message).encode()
        self._control.sendall(len(data).to_bytes(4, "big") + data)


def _children_of(pid: int) -> list[int]:
    return _family().get(pid, [])


def _family() -> dict[int, list[int]]:
    """Parent → children, of every process in sight."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            found.setdefault(parent, []).append(int(name))
    return found


def _descendants(pid: int) -> list[int]:
    family, found, todo = _family(), [], [pid]
    while todo:
        children = family.get(todo.pop(), [])
        found += children
        todo += children
    return found


def usage(places: tuple[str, ...], limit: int) -> int:
    """Bytes that the files in `places` take, counted until it is more than `limit`; too many files are too much."""
    size = number = 0
    todo = list(places)
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                number += 1
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                if size > limit or (number > FILES and limit < sys.maxsize):
                    return sys.maxsize
    return size


def _kill_tree(pid: int) -> None:
    """Stop, then kill, every descendant, until none appears any more."""
    for _ in range(50):
        found = _descendants(pid)
        if not found:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for each in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, number)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGSTOP)


def empty(folder: str) -> None:
    """Remove everything in `folder`, whatever a candidate made of it: unreadable, or deeper than any path is long.

    Every folder found is moved up to `folder` before it is looked into, so that no path gets long.
    """
    todo = [folder]
    while todo:
        at = todo.pop()
        with contextlib.suppress(OSError):
            os.chmod(at, 0o755)
            for entry in list(os.scandir(at)):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o755)
                    found = entry.path if at == folder else os.path.join(folder, secrets.token_hex(8))
                    if found != entry.path:
                        os.rename(entry.path, found)
                    todo.append(found)
            if at != folder:
                os.rmdir(at)


def main() -> int:
    control = socket.socket(fileno=int(sys.argv[1]))
    size = int.from_bytes(control.recv(4, socket.MSG_WAITALL), "big")
    setup: Message = json.loads(control.recv(size, socket.MSG_WAITALL))
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if setup["namespaces"]:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        # No namespace ends what candidates started: this server must outlive its host for as long as that takes.
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
    sys.path.insert(0, setup["task"])
    try:
        for module in setup["preload"]:
            importlib.import_module(module)
        for function in setup["functions"]:
            module, _, name = function.partition(":")
            getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), name)
    except Exception:  # noqa: BLE001  # reported to the user as the task's mistake, whatever it was
        ready = {"ready": False, "detail": traceback.format_exc()}
    with open("/proc/self/statm", "rb") as file:
        setup["size"] = int(file.read().split()[0]) * resource.getpagesize()
    server = Server(control, setup)
    server._answer(ready)
    if ready["ready"]:
        server.serve()
    for child in list(server._children.values()):
        server._kill(child, "cancelled")
    if not setup["namespaces"]:
        server._children.clear()
        server._sweep_orphans()
    return 0


if __name__ == "__main__":
    sys.exit(main())
