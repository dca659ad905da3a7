"""Confine one fork: its own folder and /tmp, its limits, no capabilities, then nothing of the server's left."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import socket

from .kernel import (
    CLONE_NEWNS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    PORT,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    Message,
    drop_privileges,
    forbid_calls,
    fork,
    landlock,
    libc,
    mount,
)  # fmt: skip


def confine(request: Message, setup: Message) -> tuple[str, str]:
    """Apply every means of confinement; the folder and the scratch folder as this process sees them."""
    limits, folder, scratch, serving = request["limits"], request["folder"], request["scratch"], request["serving"]
    if setup["namespaces"]:
        folder, scratch = _own_mounts(request, setup), "/tmp"
    os.umask(0o022)
    limit_to(resource.RLIMIT_CORE, 0)
    limit_to(resource.RLIMIT_CPU, max(1, math.ceil(limits["cpu"])))
    limit_to(resource.RLIMIT_FSIZE, limits["file_size"])
    limit_to(resource.RLIMIT_NOFILE, 1024)
    limit_to(resource.RLIMIT_AS, limits["memory"] + (setup["size"] if request.get("function") else 64 << 20))
    user = request["user"]
    if user:
        # As root every folder has a user of its own: RLIMIT_NPROC does not hold root, and counts by user.
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        limit_to(resource.RLIMIT_NPROC, limits["processes"] + 1)
    elif setup["namespaces"]:
        # Counted in the sandbox's user namespace: the other forks of this server count too.
        limit_to(resource.RLIMIT_NPROC, 2 * (limits["processes"] + 1) * setup["jobs"] + 4)
    offered = _offer_model(request, setup) if request["model"] else {}
    if setup["privileged"]:
        drop_privileges()
    if setup["landlock"]:
        # Not all of /dev: there are the disks, and in /dev/shm the folders of other candidates and programs.
        own = [scratch, "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
        readable = [path for path in setup["readable"] if not (serving and path == setup["task"])]
        landlock([*readable, folder, "/proc"], own + ([folder] if request["writable"] else []))
    if setup["privileged"]:
        forbid_calls(setup["filter"])
    # Not to live on when the server is killed.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Not to be traced or read through /proc by a command it starts.
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.chdir(folder)
    os.environ.clear()
    told = request["environment"].items()
    os.environ.update({name: value for name, value in told if not (serving and name.startswith("EVOGIT_"))})
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
    hidden = setup["task"] if request["serving"] else ""
    kept = [(path, os.open(path, os.O_PATH)) for path in setup["kept"] if path != hidden]
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
    if hidden and os.path.isdir(hidden):
        mount("tmpfs", hidden, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=4k,mode=0755")
    for path, opened in kept:
        os.makedirs(path, mode=0o755, exist_ok=True)
        mount(f"/proc/self/fd/{opened}", path, None, MS_BIND | MS_REC)
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


def limit_to(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
