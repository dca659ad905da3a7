"""The folder a coding program plays in: the parent's files, a repository that knows nothing of ours, what changed."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from evogit.errors import VariationError
from evogit.variation import paths

LARGEST = 4 << 20  # bytes of a file that is taken over
MOST, IN_ALL = 500, 32 << 20  # files and bytes of one child
LEFTOVERS = (
    "__pycache__",
    "*.pyc",
    "node_modules",
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".DS_Store",
)
"""New files and folders that are by-products of working, whatever the task lets change."""

_WHO = "[user]\n\tname = EvoGit\n\temail = evogit@evogit.invalid\n[commit]\n\tgpgSign = false\n"
_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=main", "-c", "gc.auto=0")


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """A new folder with `work` and `home` in it, removed afterwards whatever was done to it."""
    place = Path(tempfile.mkdtemp(prefix="evogit-program-")).resolve()
    try:
        (place / "work").mkdir()
        (place / "home").mkdir()
        yield place
    finally:
        _remove(place)


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():  # somebody took their own permissions away
        for here, folders, _ in os.walk(place):
            for name in folders:
                _open_up(Path(here) / name)
        shutil.rmtree(place, ignore_errors=True)


def _open_up(path: Path) -> None:
    with contextlib.suppress(OSError):
        if not path.is_symlink() and not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            path.chmod(0o700)


def lay_out(folder: Path, files: Mapping[str, bytes], search: str) -> None:
    """The parent's files in `folder`, and a repository of their own: one commit, no remote, no hook, its own identity.

    `search` is the PATH to find Git on. Raises `VariationError` when Git does not work.
    """
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    environment = {"PATH": search, "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (("init", "-q", "--template="), ("add", "-A", "-f"), ("commit", "-q", "--allow-empty", "-m", "start")):
        command = ["git", *_QUIET, *words]
        done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, timeout=120)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise VariationError(f"git {words[0]} failed in a program's folder: {said}")
        if words[0] == "init":
            with (folder / ".git/config").open("a") as config:
                config.write(_WHO)


def changed(
    folder: Path, before: Mapping[str, bytes], editable: Callable[[str], bool], leftovers: Sequence[str] = ()
) -> tuple[dict[str, bytes | None], list[str]]:
    """What differs from the parent where it may, and what else was done, in words.

    Files are compared, whatever the repository in `folder` says; Git is not run there again, since a program can
    write commands into its configuration. Raises `VariationError` when it is too much to be a child.
    """
    changes: dict[str, bytes | None] = {}
    ignored: list[str] = []
    seen: set[str] = set()
    closed: list[str] = []
    for path, file in _walk(folder, before, (*LEFTOVERS, *leftovers), ignored, closed):
        seen.add(path)
        data = content(file)
        if isinstance(data, str):
            ignored.append(f"{path}: {data}")
        elif before.get(path) == data:
            continue
        elif not editable(path):
            ignored.append(f"{path}: outside what may change")
        elif path not in before and (problem := paths.problem(path)):
            ignored.append(f"{path}: {problem}")
        else:
            changes[path] = data
    for path in sorted(before.keys() - seen):
        if path.startswith(tuple(closed)):
            continue
        if editable(path):
            changes[path] = None
        else:
            ignored.append(f"{path}: deleted, outside what may change")
    size = sum(len(data) for data in changes.values() if data)
    if len(changes) > MOST or size > IN_ALL:
        raise VariationError(f"it changed {len(changes)} files with {size} bytes, more than {MOST} or {IN_ALL}")
    return changes, ignored[:100]


def _walk(
    folder: Path, before: Mapping[str, bytes], leftovers: Sequence[str], ignored: list[str], closed: list[str]
) -> Iterator[tuple[str, Path]]:
    """Every file, with its path in the tree. Folders that are not gone into are added to `closed`."""
    known = {str(parent) for path in before for parent in PurePosixPath(path).parents} | before.keys()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        inside = here.relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        kept = []
        for name in sorted(folders):
            path = prefix + name
            if path not in known and any(fnmatch.fnmatchcase(name, pattern) for pattern in leftovers):
                continue
            reason = _not_a_folder(here / name)
            if reason:
                closed.append(f"{path}/")
                if path != ".git":
                    ignored.append(f"{path}: {reason}")
            else:
                _open_up(here / name)
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = prefix + name
            if path in before or not any(fnmatch.fnmatchcase(name, pattern) for pattern in leftovers):
                yield path, here / name


def _not_a_folder(folder: Path) -> str:
    if folder.is_symlink():
        return "a symbolic link"
    return "belongs to Git" if folder.name.lower() == ".git" else ""


def content(file: Path) -> bytes | str:
    """The file's bytes, or why they are not taken."""
    try:
        state = file.lstat()
        if not stat.S_ISREG(state.st_mode):
            return "not a regular file"
        if state.st_size > LARGEST:
            return f"larger than {LARGEST} bytes"
        _open_up(file)
        return file.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
