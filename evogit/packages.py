"""Install the packages that a task's judge and candidates use: once for each lock file, kept in the user's cache.

npm does the installing, so that its settings (registry, proxy, certificates) hold. Every package must be pinned by a
hash, and no script of a package is run, so nothing that comes from the registry runs outside a sandbox.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from evogit.errors import DefinitionError, EvoGitError
from evogit.task import Task

DEADLINE = 900.0
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Of the environment; and whatever begins with npm_config_ or ends with _proxy."""
OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--loglevel=error")


class InstallError(EvoGitError):
    """The packages could not be had."""


def installed(
    task: Task, files: Mapping[str, bytes], cache: Path, say: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """What the task's ``[packages]`` name, installed: path in a candidate's folder → the folder to find there.

    `files`: the protected files of the starting version and the task's own, where lock files are found. `say` hears
    that something takes a while.

    Raises:
        DefinitionError: the lock file is missing, can be changed by candidates, or pins too little.
        InstallError: no npm, or no network, or no such package.
    """
    if task.packages is None:
        return {}
    lock = task.packages.npm
    folder, slash, _ = lock.rpartition("/")
    manifest = f"{folder}{slash}package.json"
    for path in (lock, manifest):
        if path not in files:
            place = (task.source / "task.toml") if task.source else task.name
            raise DefinitionError(place, "packages.npm", f"{path} must be among the files that `protect` names")
    _check(lock, files[lock])
    kept = cache / "npm" / _name(files[manifest], files[lock])
    modules = kept / "node_modules"
    if not modules.is_dir():
        if say is not None:
            say(f"installing the packages of {lock} …")
        _install(kept, {"package.json": files[manifest], "package-lock.json": files[lock]})
    return {f"{folder}{slash}node_modules": modules}


def _name(manifest: bytes, lock: bytes) -> str:
    """Packages with programs of their own differ by system, processor and C library."""
    here = "-".join((sys.platform, platform.machine(), platform.libc_ver()[0]))
    return hashlib.sha256(b"\0".join((manifest, lock, here.encode()))).hexdigest()[:32]


def _check(path: str, data: bytes) -> None:
    """Every package is pinned by a hash: what is not would be whatever the registry says today."""
    try:
        packages = json.loads(data)["packages"]
        loose = [name for name, entry in packages.items() if name and not str(entry.get("integrity", "")).strip()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(path, "packages", f"expected a lock file of npm 7 or newer ({error!r})") from error
    if loose:
        raise DefinitionError(path, f"packages.{loose[0]}", "expected an integrity: every package pinned by its hash")


def _install(kept: Path, files: Mapping[str, bytes]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm, which installs the task's packages, is not here. Debian, Ubuntu: apt install npm")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{kept.name[:8]}-", dir=kept.parent, ignore_cleanup_errors=True) as place:
        target = Path(place) / kept.name
        target.mkdir()
        for name, data in files.items():
            (target / name).write_bytes(data)
        try:
            done = subprocess.run(
                [npm, "ci", *OPTIONS],
                cwd=target,
                env=_environment(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=DEADLINE,
            )
        except subprocess.TimeoutExpired:
            raise InstallError(f"npm did not install the task's packages within {DEADLINE:g} s; try again") from None
        if done.returncode:
            raise InstallError(_reason(done.stderr or done.stdout))
        (target / "node_modules").mkdir(exist_ok=True)
        with contextlib.suppress(OSError):  # another process was faster, and has installed the same
            target.rename(kept)


def _environment(whole: Mapping[str, str]) -> dict[str, str]:
    """npm's settings, and no secret of anybody else's."""
    found = {name: value for name, value in whole.items() if name in KEPT}
    return found | {
        name: value for name, value in whole.items() if name.lower().startswith("npm_config_") or _is_proxy(name)
    }


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy")


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "A complete log" not in line]
    first = next((line for line in lines if not line.startswith("npm error code")), "no reason given")
    return (
        f"npm cannot install the task's packages: {first.removeprefix('npm error ')}\n"
        "This task needs the network once. Does this work? npm ping"
    )
