"""Which sandbox works on this machine, and the command line that starts the fork server inside it.

`bubblewrap` gives the server its own namespaces and every fork its own again; `landlock` confines files, TCP and
signals without namespaces, with a seccomp filter for other sockets; `limits` only limits, and is for offline agents.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evogit.catalog import builtin
from evogit.errors import EvaluationError, SandboxError
from evogit.evaluation import inside
from evogit.evaluation.inside.kernel import landlock_abi

Tier = Literal["bubblewrap", "landlock", "limits"]
TIERS: tuple[Tier, ...] = ("bubblewrap", "landlock", "limits")
INSTALL = "Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap"
SERVER = Path(inside.__file__).parent


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One tier as it works here. `explain` says in a sentence what it contains and what it does not."""

    name: Tier
    explain: str

    @property
    def contains_free_code(self) -> bool:
        return self.name != "limits"

    @property
    def namespaces(self) -> bool:
        """Whether every evaluation has its own process and mount namespaces."""
        return self.name == "bubblewrap"

    def command(
        self, control: int, pool: Path, task: Path, *, model: bool = False, packages: Sequence[str] = ()
    ) -> list[str]:
        """The argument list that starts the fork server, `control` being its socket's descriptor.

        `model`: candidates may ask a model, by a socket and by a loopback device of their own. `packages`: folders
        that can be read where they are.
        """
        if self.name != "bubblewrap":
            return [sys.executable, "-IB", str(SERVER / "__main__.py"), str(control)]
        found = shutil.which("bwrap")
        if found is None:
            raise SandboxError(f"bubblewrap is not installed. {INSTALL}")
        words = [found, "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        words += ["--cap-add", "ALL"] if os.geteuid() == 0 else ["--unshare-user", "--cap-add", "CAP_SYS_ADMIN"]
        if model and os.geteuid() != 0:
            words += ["--cap-add", "CAP_NET_ADMIN"]  # to bring a loopback device up; candidates have no capability
        words += ["--perms", "0755", "--dir", "/etc"]  # where /usr/bin/cc and the like lead through
        words += _system()
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        own = ["/candidate", "/evogit", *(["/model"] if model else [])]
        for folder in (*own, *_parents([*interpreter(), *packages, str(pool), str(task)])):
            # bubblewrap makes the folders above a mount for its own user only; candidates run as another.
            words += ["--perms", "0755", "--dir", folder]
        for prefix in (*interpreter(), *packages):
            words += ["--ro-bind", prefix, prefix]
        tasks = builtin("tasks")
        if tasks.is_dir() and any(tasks.is_relative_to(prefix) for prefix in interpreter()):
            words += ["--tmpfs", str(tasks)]  # of an installed EvoGit, with all that judges expect
        words += ["--bind", str(pool), str(pool), "--ro-bind", str(task), str(task)]
        words += ["--ro-bind", str(SERVER), "/evogit/inside", "--chdir", "/"]
        # bubblewrap's own folders belong to the user who started it: a candidate could leave things in them.
        words += ["--remount-ro", "/", "--remount-ro", "/dev"]
        return [*words, "--", sys.executable, "-IB", "/evogit/inside/__main__.py", str(control)]


def _system() -> list[str]:
    """The system's programs and libraries, read-only; of /etc only what programs need to start."""
    words: list[str] = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", name, name]
    for name in (
        "alternatives",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "localtime",
        "mime.types",
        "nsswitch.conf",
    ):
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return words


def interpreter() -> list[str]:
    """Folders this Python needs to run and import what is installed, outside /usr; none inside another."""
    paths = sysconfig.get_paths()
    wanted = [sys.prefix, sys.base_prefix, sys.exec_prefix, paths["stdlib"], paths["platstdlib"], paths["purelib"]]
    wanted += [paths["platlib"], *site.getsitepackages(), str(Path(sys.executable).resolve().parent.parent)]
    return _outermost(str(Path(path)) for path in wanted if Path(path).is_dir())


def _parents(paths: Iterable[str]) -> list[str]:
    """The folders above `paths`, outer ones first, without those that are mounts already."""
    above = {str(parent) for path in paths for parent in Path(path).parents}
    return sorted(above - {"/", "/usr", "/tmp", "/dev"} - {"/dev/shm"}, key=len)


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths), key=len):
        inside = any(path == above or path.startswith(above + "/") for above in [*kept, "/usr"])
        if not inside and path not in ("/", "/home", "/root", "/etc"):
            kept.append(path)
    return kept


def readable() -> list[str]:
    """What a candidate may read under Landlock."""
    places = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache"]
    return [*places, "/etc/localtime", "/etc/nsswitch.conf", str(SERVER), *interpreter()]


_EXPLAIN: dict[Tier, str] = {
    "bubblewrap": "no network, no home, private process table, mounts and /tmp for every candidate",
    "landlock": "no network, no home, own folder and /tmp only, no signals outside; processes are visible, "
    "no file can be made executable",
    "limits": "time, memory, processes and sizes only: candidates can read your files and reach the network",
}


def probe(tier: Tier) -> Sandbox:
    """`tier`, after a real evaluation in it. Raises `SandboxError` that says why it does not work here."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise SandboxError(f"EvoGit's sandboxes need Linux on x86_64 or aarch64, not {sys.platform}")
    if tier == "landlock" and landlock_abi() == 0:
        raise SandboxError("this kernel has no Landlock (Linux 5.13 or newer, enabled at boot)")
    found = Sandbox(tier, _EXPLAIN[tier])
    try:
        asyncio.run(_try(found))
    except (EvaluationError, OSError) as error:
        raise SandboxError(f"{tier} does not work here: {error}") from error
    return found


async def _try(sandbox: Sandbox) -> None:
    from evogit.evaluation.forkserver import ForkServer, Job

    with tempfile.TemporaryDirectory(prefix="evogit-probe-") as place:
        pool, task = Path(place) / "pool", Path(place) / "task"
        for folder in (pool, task, pool / "folder", pool / "scratch"):
            folder.mkdir()
            folder.chmod(0o755)
        Path(place).chmod(0o755)
        (task / "probing.py").write_text("def evaluate(folder):\n    return 1.0\n")
        forks = ForkServer(sandbox, pool, task, functions=("probing.py:evaluate",), preload=(), jobs=1)
        await forks.start()
        try:
            answer = await forks.run(Job(str(pool / "folder"), str(pool / "scratch"), function="probing.py:evaluate"))
        finally:
            await forks.close()
    if answer.get("score") != 1.0:
        raise SandboxError(str(answer.get("detail", answer)).strip().splitlines()[-1])


def choose(requested: Literal["auto", "bubblewrap", "landlock", "limits"] = "auto") -> Sandbox:
    """The best sandbox that works here, or the one asked for.

    Raises:
        SandboxError: the one asked for does not work, with the reason.
    """
    if requested != "auto":
        return probe(requested)
    reasons = []
    for tier in TIERS:
        try:
            return probe(tier)
        except SandboxError as error:
            reasons.append(str(error))
    raise SandboxError("no sandbox works here: " + "; ".join(reasons) + ". Type: evogit doctor")
