"""Fetch a seed's files from the package index, when a repository is made: one source archive, pinned by its SHA-256.

pip does the fetching, so that its settings (index, proxy, certificates) hold. It checks the hash before it looks into
the archive; like every installation from source it runs that archive's own build description, for its name and version.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import posixpath
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from evogit.catalog import check_hot
from evogit.errors import DefinitionError, EvoGitError
from evogit.task import Fetch, Task

Files = dict[str, tuple[bytes, bool]]
DEADLINE = 300.0
LARGEST = 64 << 20  # bytes in all that an archive may unpack to


class FetchError(EvoGitError):
    """The source could not be had, or is not what the task pinned."""


def starting_files(task: Task, cache: Path) -> Files:
    """What a run of `task` starts from: what it fetches and its own seed; nothing where it has neither.

    Raises like `fetched`, and `DefinitionError` where a function that the task calls hot is not there.
    """
    files = fetched(task, cache) | dict(task.seed)
    if files:
        check_hot(task, {path: data for path, (data, _) in files.items()})
    return files


def fetched(task: Task, cache: Path) -> Files:
    """The files that the task's ``[fetch]`` names: path in the repository → (bytes, executable).

    `cache` keeps archives by their hash, so that a second repository needs no network.

    Raises:
        FetchError: no network, no such release, or another hash than the task says.
        DefinitionError: the archive does not hold what ``[fetch.files]`` names.
    """
    if task.fetch is None:
        return {}
    kept = cache / f"{task.fetch.sha256}.tar.gz"
    if not kept.is_file() or _digest(kept) != task.fetch.sha256:
        _download(task.fetch, kept)
    return _chosen(task, dict(_members(kept)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(fetch: Fetch, kept: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise FetchError(f"pip, which fetches the source, is not here. Type: {sys.executable} -m ensurepip")
    wanted = f"{fetch.package}=={fetch.version}"
    with tempfile.TemporaryDirectory(prefix="evogit-fetch-") as place:
        listed = Path(place) / "wanted.txt"
        listed.write_text(f"{wanted} --hash=sha256:{fetch.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--no-binary", fetch.package, "--require-hashes", "--dest", place, "-r", str(listed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            raise FetchError(f"the package index did not send {wanted} within {DEADLINE:g} s; try again") from None
        found = [path for path in Path(place).iterdir() if path != listed]
        if done.returncode or len(found) != 1:
            raise FetchError(_reason(wanted, done.stdout + done.stderr))
        if _digest(found[0]) != fetch.sha256:
            raise FetchError(f"{wanted}: the archive is not the one with sha256 {fetch.sha256}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        partial.write_bytes(found[0].read_bytes())
        partial.replace(kept)


def _reason(wanted: str, said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "no answer")
    if "DO NOT MATCH THE HASHES" in said:
        return f"{wanted}: the archive that came is not the one this task names (its sha256 differs)"
    return (
        f"cannot fetch the source of {wanted} from the package index: {last.removeprefix('ERROR: ')}\n"
        "This task needs the network once, when its repository is made. "
        f"Does this work? {sys.executable} -m pip download --no-deps {wanted}"
    )


def _members(archive: Path) -> Iterator[tuple[str, tuple[bytes, bool]]]:
    """The plain files of a source archive, without its first folder."""
    size = 0
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                path = posixpath.normpath(member.name).partition("/")[2]
                if not member.isfile() or not path or path.startswith(("/", "../")):
                    continue
                size += member.size
                file = opened.extractfile(member)
                if size > LARGEST or file is None:
                    raise FetchError(f"{archive.name}: more than {LARGEST >> 20} MiB of source")
                yield path, (file.read(), bool(member.mode & stat.S_IXUSR))
    except (tarfile.TarError, EOFError) as error:
        raise FetchError(f"{archive.name} is no source archive: {error}") from error


def _chosen(task: Task, members: Files) -> Files:
    assert task.fetch is not None
    files: Files = {}
    for source, target in task.fetch.mapped():
        start = source.rstrip("/")
        if start in members:
            files[target.rstrip("/")] = members[start]
            continue
        below = {path: file for path, file in members.items() if path.startswith(start + "/")}
        if not below:
            place = (task.source / "task.toml") if task.source else task.name
            raise DefinitionError(place, f"fetch.files.{source}", f"is not in the archive of {task.fetch.package}")
        files |= {target.rstrip("/") + path.removeprefix(start): file for path, file in below.items()}
    return files
