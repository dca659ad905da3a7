"""The kernel's ways to confine: namespaces, mounts, Landlock, seccomp, capabilities."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
import struct
from typing import Any

Message = dict[str, Any]

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x08000000, 0x20000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 36, 38, 22
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

libc = ctypes.CDLL(None, use_errno=True)
_direct = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock, as a fork must


def check(result: int, what: str) -> int:
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
    result = libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, data.encode())
    check(result, f"mount {target}")


def open_doors(count: int, hatch: socket.socket) -> list[int]:
    """For each slot a network with a loopback device only. What listens on it is sent out through `hatch`.

    The networks' descriptors, in order; none at all where this process may not make them. It ends in one more, an empty
    one: the one it was started in may belong to another user namespace, into which there is no way back.
    """
    networks: list[int] = []
    try:
        for _ in range(count):
            check(libc.unshare(CLONE_NEWNET), "unshare")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
                fcntl.ioctl(device, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
            with socket.socket() as door:
                door.bind(("127.0.0.1", PORT))
                door.listen(128)
                socket.send_fds(hatch, [b"d"], [door.fileno()])
            networks.append(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        check(libc.unshare(CLONE_NEWNET), "unshare")
    except OSError:
        networks = []
    return networks


def drop_privileges() -> None:
    """No capabilities, now or through any program; as root, become nobody (RLIMIT_NPROC does not hold root)."""
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    header = struct.pack("<Ii", 0x20080522, 0)
    check(libc.syscall(_CAPSET, header, bytes(24)), "capset")


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 if it has none."""
    return max(0, int(libc.syscall(_LANDLOCK, None, 0, 1)))


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
    ruleset = check(libc.syscall(_LANDLOCK, attributes, ctypes.c_size_t(size), 0), "landlock ruleset")
    file_rights = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
    for path, allowed in [(p, read) for p in readable] + [(p, rights) for p in writable]:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(path):
            allowed &= file_rights
        rule = struct.pack("<Qi", allowed & rights, opened)
        check(libc.syscall(_LANDLOCK + 1, ruleset, 1, rule, 0), f"landlock rule {path}")
        os.close(opened)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(libc.syscall(_LANDLOCK + 2, ruleset, 0), "landlock restrict")
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
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    program = _Program(len(code) // 8, code)
    check(libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
