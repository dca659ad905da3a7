"""Warm folders: a tree on disk, brought to the next tree by rewriting only the files that differ."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evogit.values import Oid

LINK, SUBMODULE, EXECUTABLE = 0o120000, 0o160000, 0o100755
RACY = 50_000_000  # nanoseconds: a file changed this shortly before a look is compared by content, as Git does
PREFIX = "evogit-"

Entry = tuple[int, Oid]


class TreeReader(Protocol):
    """What a workspace needs of the store."""

    def listing(self, tree: Oid) -> Mapping[str, Entry]: ...
    def diff(self, old: Oid, new: Oid) -> Mapping[str, Entry | None]: ...
    def blob(self, oid: Oid) -> bytes: ...


def place(scratch: Path) -> Path:
    """A new private folder for workspaces: in memory where /dev/shm is a usable tmpfs, else below `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) and os.path.ismount(memory) else scratch
    found = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    # The sandboxed user must be able to enter by the full path; the folder above a candidate's is not readable.
    found.chmod(0o711)
    return found


def sweep(scratch: Path) -> list[str]:
    """Remove workspaces of processes that are gone; what was removed."""
    removed = []
    for parent in (Path("/dev/shm"), scratch):
        for path in parent.glob(f"{PREFIX}*-*"):
            process = path.name.removeprefix(PREFIX).partition("-")[0]
            if process.isdigit() and not Path(f"/proc/{process}").exists() and path.stat().st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)
                removed.append(str(path))
    return removed


@dataclass
class Workspace:
    """One warm folder. `owner` is the user id that candidates run as, when it is not this process's."""

    folder: Path
    scratch: Path
    trees: TreeReader
    overlay: Mapping[str, bytes]
    owner: int | None = None
    _tree: Oid | None = None
    _signs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _looked: int = 0

    def prepare(self) -> None:
        for folder in (self.folder, self.scratch):
            folder.mkdir(parents=True)
            folder.chmod(0o755)
            self._own(folder)

    def show(self, tree: Oid) -> None:
        """Make the folder hold `tree` with the overlay over it."""
        if self._tree is None:
            for path, entry in self.trees.listing(tree).items():
                self._write(path, entry)
            for path, data in self.overlay.items():
                self._put(path, data, 0o755 if data.startswith(b"#!") else 0o644)
        elif tree != self._tree:
            changes = self.trees.diff(self._tree, tree)
            for path, change in changes.items():
                if change is None:
                    self._remove(path)
            for path, change in changes.items():
                if change is not None:
                    self._write(path, change)
        self._tree = tree

    def photograph(self) -> None:
        """Remember every file as it is now, before a candidate that may write here."""
        self._signs = dict(self._scan())
        self._looked = time.time_ns()

    def restore(self) -> None:
        """Undo whatever a candidate did here since `photograph`."""
        if self._tree is None:
            return
        now = dict(self._scan())
        listing = self.trees.listing(self._tree)
        for path in sorted(now.keys() - self._signs.keys(), reverse=True):
            self._clear(self.folder / os.fsdecode(path))
        for path, sign in self._signs.items():
            recent = sign[-1] >= self._looked - RACY
            if now.get(path) == sign and not recent:
                continue
            entry = listing.get(path)
            if path in self.overlay:
                data = self.overlay[path]
                self._put(path, data, 0o755 if data.startswith(b"#!") else 0o644)
            elif entry is not None:
                self._write(path, entry)
            else:
                folder = self.folder / path
                if not folder.is_dir() or folder.is_symlink():
                    self._clear(folder)
                    folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
                self._own(folder)

    def _scan(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Path → what changes when a file does. A folder's own times change with its entries, which are looked at."""
        todo = [("", str(self.folder))]
        while todo:
            prefix, folder = todo.pop()
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    path = prefix + entry.name
                    if stat.S_ISDIR(found.st_mode):
                        yield path, (found.st_ino, found.st_mode, found.st_uid, 0)
                        todo.append((path + "/", entry.path))
                    else:
                        yield path, (found.st_ino, found.st_mode, found.st_uid, found.st_size, found.st_ctime_ns)

    def _write(self, path: str, entry: Entry) -> None:
        if path in self.overlay:
            return
        mode, oid = entry
        target = self.folder / path
        if mode == SUBMODULE:
            self._parents(path)
            target.mkdir(exist_ok=True)
        elif mode == LINK:
            self._parents(path)
            self._clear(target)
            target.symlink_to(os.fsdecode(self.trees.blob(oid)))
        else:
            self._put(path, self.trees.blob(oid), 0o755 if mode == EXECUTABLE else 0o644)

    def _put(self, path: str, data: bytes, mode: int) -> None:
        """A new file by rename: never through a link, and no process that still has the old one sees it."""
        target = self.folder / path
        self._parents(path)
        if target.is_dir() and not target.is_symlink():
            self._clear(target)
        handle, name = tempfile.mkstemp(dir=self.folder.parent)
        with open(handle, "wb") as file:
            file.write(data)
        partial = Path(name)
        partial.chmod(mode)
        self._own(partial)
        partial.replace(target)

    def _parents(self, path: str) -> None:
        """Make the folders above `path`, real ones: what stands in the way goes."""
        at = self.folder
        for part in path.split("/")[:-1]:
            at = at / part
            if at.is_symlink() or (at.exists() and not at.is_dir()):
                self._clear(at)
            if not at.exists():
                at.mkdir()
                at.chmod(0o755)
                self._own(at)

    def _remove(self, path: str) -> None:
        if path in self.overlay:
            return
        self._clear(self.folder / path)
        at = (self.folder / path).parent
        while at != self.folder:
            try:
                at.rmdir()
            except OSError:
                break
            at = at.parent

    def _own(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, self.owner, self.owner)

    def _clear(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
