"""Warm folders: a tree on disk, brought to the next tree by rewriting only the files that differ."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evogit.evaluation.inside.processes import empty
from evogit.globs import sealed
from evogit.values import Oid

LINK, SUBMODULE, EXECUTABLE = 0o120000, 0o160000, 0o100755
PREFIX = "evogit-"

Entry = tuple[int, Oid]
Sign = tuple[int, int, int]


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
            if not process.isdigit() or Path(f"/proc/{process}").exists():
                continue
            # Somebody else may remove it too, and what the process began may write there until it has ended.
            with contextlib.suppress(OSError):
                if path.stat().st_uid == os.geteuid():
                    empty(str(path))
                    path.rmdir()
                    removed.append(str(path))
    return removed


def _folders(path: str) -> Iterator[str]:
    """The folders above `path`, inner ones first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


@dataclass
class Workspace:
    """One warm folder, number `slot`. `owner` is the user id that candidates run as, when it is not this process's.

    `judges`: those paths of the overlay that are the judge's own, which can be taken away.
    """

    folder: Path
    scratch: Path
    trees: TreeReader
    overlay: Mapping[str, bytes]
    owner: int | None = None
    slot: int = 0
    judges: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    """Path → where a link there leads; they stand in the overlay's rank."""
    _covered: bool = True
    _tree: Oid | None = None
    _signs: dict[str, Sign] = field(default_factory=dict)
    _above: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._above = frozenset(folder for path in [*self.overlay, *self.links] for folder in _folders(path))

    def prepare(self) -> None:
        for folder in (self.folder, self.scratch):
            folder.mkdir(parents=True)
            folder.chmod(0o755)
            self._own(folder)

    def show(self, tree: Oid) -> None:
        """Make the folder hold `tree` with the overlay over it."""
        before, self._tree = self._tree, None
        try:
            self._turn(before, tree)
        except BaseException:
            empty(str(self.folder))
            raise
        self._tree = tree

    def _turn(self, before: Oid | None, tree: Oid) -> None:
        if before is None:
            for path, entry in self.trees.listing(tree).items():
                self._write(path, entry)
            for path in self.overlay:
                if self._covered or path not in self.judges:
                    self._lay(path)
            for path in self.links:
                self._link(path)
        elif tree != before:
            changes = self.trees.diff(before, tree)
            for path, change in changes.items():
                if change is None:
                    self._remove(path)
            for path, change in changes.items():
                if change is not None:
                    self._write(path, change)

    def cover(self, *, judges: bool) -> None:
        """Lay the judge's own files over the tree, or take them away, for a candidate that is kept apart from them."""
        if judges == self._covered:
            return
        self._covered = judges
        for path in self.judges:
            if judges:
                self._lay(path)
            else:
                self._prune(path)

    def _lay(self, path: str) -> None:
        self._put(path, self.overlay[path], self._mode(path))

    def _mode(self, path: str) -> int:
        return 0o755 if self.overlay[path].startswith(b"#!") else 0o644

    def mend(self) -> bool:
        """Lay anew what somebody from outside took away of the overlay, or gave another mode; whether there was any."""
        laid = [path for path in self.overlay if self._covered or path not in self.judges]
        wrong = [path for path in laid if not self._stands(path)]
        for path in wrong:
            self._lay(path)
        return bool(wrong)

    def _stands(self, path: str) -> bool:
        try:
            found = (self.folder / path).lstat()
        except OSError:
            return False
        return found.st_mode == stat.S_IFREG | self._mode(path) and found.st_size == len(self.overlay[path])

    def _link(self, path: str) -> None:
        self._parents(path)
        self._clear(self.folder / path)
        (self.folder / path).symlink_to(self.links[path])

    def photograph(self) -> None:
        """Remember every file as it is now, before a candidate that may write here."""
        self._signs = dict(self._scan())

    def restore(self) -> None:
        """Undo whatever a candidate did here since `photograph`.

        Contents are read: a file in memory that is written through a mapping keeps its times (Linux, tmpfs).
        """
        if self._tree is None:
            return
        self.folder.chmod(0o755)
        now = dict(self._scan())
        listing = self.trees.listing(self._tree)
        new = now.keys() - self._signs.keys()
        for path in new:
            # The outermost only, with all that is in them: farther in, paths may be too long for the system.
            if path.rpartition("/")[0] not in new:
                self._clear(self.folder / path)
        for path, sign in self._signs.items():
            entry = listing.get(path)
            if now.get(path) == sign and (stat.S_ISDIR(sign[1]) or self._intact(path, entry)):
                continue
            if path in self.overlay:
                self._lay(path)
            elif path in self.links:
                self._link(path)
            elif entry is not None:
                self._write(path, entry)
            else:
                folder = self.folder / path
                if not folder.is_dir() or folder.is_symlink():
                    self._clear(folder)
                    folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
                self._own(folder)

    def _intact(self, path: str, entry: Entry | None) -> bool:
        """Whether the file at `path`, whose kind is unchanged, holds what it should."""
        target = self.folder / path
        if target.is_symlink():
            return True  # a link cannot be written to; another one is another inode
        data = target.read_bytes()
        if path in self.overlay:
            return data == self.overlay[path]
        if entry is None:
            return False
        method = hashlib.sha1 if len(entry[1]) == 40 else hashlib.sha256
        return method(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == entry[1]

    def _scan(self) -> Iterator[tuple[str, Sign]]:
        """Path → inode, mode and owner of everything here. Folders that were made unreadable are made readable."""
        todo = [("", str(self.folder))]
        while todo:
            prefix, folder = todo.pop()
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    path = prefix + entry.name
                    if stat.S_ISDIR(found.st_mode):
                        if found.st_mode & 0o700 != 0o700:
                            Path(entry.path).chmod(0o755)
                        todo.append((path + "/", entry.path))
                    yield path, (found.st_ino, found.st_mode, found.st_uid)

    def _shadowed(self, path: str) -> bool:
        """Whether the overlay has this path, something below it, or a file where a folder above it would be.

        What is sealed is nobody's to see, either.
        """
        if path in self.overlay or path in self.links or path in self._above or sealed(path):
            return True
        return any(folder in self.overlay or folder in self.links for folder in _folders(path))

    def _write(self, path: str, entry: Entry) -> None:
        if self._shadowed(path):
            return
        mode, oid = entry
        target = self.folder / path
        if mode == SUBMODULE:
            self._parents(path)
            if target.is_symlink() or not target.is_dir():
                self._clear(target)
                target.mkdir()
                target.chmod(0o755)
                self._own(target)
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
        if not self._shadowed(path):
            self._prune(path)

    def _prune(self, path: str) -> None:
        """Remove it, and the folders above it that are empty then."""
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
            empty(str(path))
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
