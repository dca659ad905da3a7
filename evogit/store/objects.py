"""Blobs, trees and commits: read from Git, written in batches, refs moved by compare-and-swap.

New objects wait in memory until `flush` writes them as one pack; until then they can be read here and by nobody else.
Trees are edited by descending only where something changes; an entry that keeps its name is replaced in place.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pygit2

from evogit.errors import RefMoved, StoreError
from evogit.store import packs
from evogit.store.encoding import FOLDER as FOLDER
from evogit.store.encoding import Commit, Recent, parse_commit, parse_tree, tree_entry, tree_order
from evogit.store.encoding import Entry as Entry
from evogit.values import Changes, Oid

EMPTY_TREE: Oid = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
FILE, EXECUTABLE, LINK, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000

LOCKED_FOR = 5.0
"""Seconds that a move waits for a lock on its ref: ``git gc`` locks each ref for a moment while it packs them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who and when: name, email, seconds since 1970 (UTC)."""

    name: str
    email: str
    time: int

    def line(self) -> bytes:
        return f"{self.name} <{self.email}> {self.time} +0000".encode()


class Objects:
    """The object store and the refs of one repository. Not thread-safe: one per event loop."""

    def __init__(self, git_dir: Path, common_dir: Path | None = None) -> None:
        self._git_dir = git_dir
        self._folder = (common_dir or git_dir) / "objects"
        self._packs = self._folder / "pack"
        self._repo = _open(git_dir)
        self._pending: dict[Oid, tuple[int, bytes]] = {}
        self._held: dict[Oid, _Hold] = {}
        self._raw: Recent[tuple[int, bytes]] = Recent(4096)
        self._trees: Recent[dict[bytes, Entry]] = Recent(512)
        self._listings: Recent[Mapping[str, Entry]] = Recent(512)

    @property
    def folders(self) -> tuple[Path, Path]:
        """Git's folder, and the one its objects are in."""
        return self._git_dir, self._folder

    # Objects

    def put(self, kind: int, data: bytes) -> Oid:
        oid = packs.object_id(kind, data)
        if oid not in self._pending:
            self._pending[oid] = (kind, data)
        return oid

    def put_blob(self, data: bytes) -> Oid:
        return self.put(packs.BLOB, data)

    def put_commit(self, tree: Oid, parents: Sequence[Oid], author: Identity, message: str) -> Oid:
        who = author.line()
        lines = [b"tree " + tree.encode(), *(b"parent " + p.encode() for p in parents)]
        lines += [b"author " + who, b"committer " + who, b"", message.encode("utf-8", "replace")]
        if hold := self._held.get(tree):
            self._pending = {**hold.objects, **self._pending}
        return self.put(packs.COMMIT, b"\n".join(lines))

    def get(self, oid: Oid) -> tuple[int, bytes]:
        """Kind and bytes of an object. Raises `StoreError` if it is not there."""
        found = self._pending.get(oid) or self._raw.get(oid)
        if found is None:
            found = self._retry(oid, lambda: packs.read_loose(self._folder, oid) or self._repo.read(oid))
            if len(found[1]) < 1 << 16:
                self._raw.put(oid, found)
        return found

    def blob(self, oid: Oid) -> bytes:
        return self.get(oid)[1]

    def has(self, oid: Oid) -> bool:
        """Whether an object is here, sound or not: nothing of it is read, which with libgit2 may take for ever."""
        return oid in self._pending or oid in self._raw or oid in self._repo.odb

    def commit(self, oid: Oid) -> Commit:
        kind, data = self.get(oid)
        if kind != packs.COMMIT:
            raise StoreError(f"{oid} is not a commit")
        return parse_commit(data)

    def tree(self, oid: Oid) -> Mapping[bytes, Entry]:
        """The entries of one tree level, by name."""
        found = self._trees.get(oid)
        if found is None:
            found = {} if oid == EMPTY_TREE else parse_tree(self.get(oid)[1])
            self._trees.put(oid, found)
        return found

    def listing(self, tree: Oid) -> Mapping[str, Entry]:
        """Every file, link and submodule below `tree`: path → (mode, id). Treat as read-only."""
        found = self._listings.get(tree)
        if found is None:
            found = {os.fsdecode(path): entry for path, entry in self._walk(tree, b"")}
            self._listings.put(tree, found)
        return found

    def _walk(self, tree: Oid, prefix: bytes) -> Iterator[tuple[bytes, Entry]]:
        for name, entry in self.tree(tree).items():
            if entry[0] == FOLDER:
                yield from self._walk(entry[1], prefix + name + b"/")
            else:
                yield prefix + name, entry

    def diff(self, old: Oid, new: Oid) -> dict[str, Entry | None]:
        """What differs from `old` to `new`: path → (mode, id) in `new`, None where it is gone."""
        out: dict[str, Entry | None] = {}
        self._diff(old, new, b"", out)
        return out

    def _diff(self, old: Oid, new: Oid, prefix: bytes, out: dict[str, Entry | None]) -> None:
        if old == new:
            return
        before, after = self.tree(old), self.tree(new)
        for name in sorted({name for name, _ in before.items() ^ after.items()}):
            a, b = before.get(name), after.get(name)
            path = prefix + name
            a_tree = a[1] if a and a[0] == FOLDER else EMPTY_TREE
            b_tree = b[1] if b and b[0] == FOLDER else EMPTY_TREE
            self._diff(a_tree, b_tree, path + b"/", out)
            if b and b[0] != FOLDER:
                out[os.fsdecode(path)] = b
            elif a and a[0] != FOLDER:
                out[os.fsdecode(path)] = None

    def edit(self, tree: Oid, changes: Changes) -> Oid:
        """`tree` with `changes` applied. Kept files keep their mode, new ones get 100644, empty folders vanish.

        Raises:
            StoreError: a path leaves the tree, names ``.git``, or runs through a file, link or submodule.
        """
        new = self.graft(tree, {p: None if data is None else (0, self.put_blob(data)) for p, data in changes.items()})
        known = self._listings.get(tree)
        if known is not None and new not in self._listings:
            changed = self.diff(tree, new)
            # A new path would stand last instead of in its place, and chance picks files by their order.
            if all(path in known for path in changed):
                merged = {path: changed.get(path, entry) for path, entry in known.items()}
                self._listings.put(new, {path: entry for path, entry in merged.items() if entry is not None})
        return new

    def graft(self, tree: Oid, entries: Mapping[str, Entry | None]) -> Oid:
        """`tree` with some entries set or removed; mode 0 keeps the old mode. Raises like `edit`."""
        for path in entries:
            check_path(path)
        return self._edit(tree, {os.fsencode(path): entry for path, entry in entries.items()})

    def put_tree(self, files: Mapping[str, tuple[bytes, int]]) -> Oid:
        """A tree of `files`: path → (bytes, mode)."""
        return self.graft(EMPTY_TREE, {path: (mode, self.put_blob(data)) for path, (data, mode) in files.items()})

    def _edit(self, tree: Oid, entries: Mapping[bytes, Entry | None]) -> Oid:
        level: dict[bytes, Entry | None] = {}
        below: dict[bytes, dict[bytes, Entry | None]] = {}
        current = self.tree(tree)
        for path, entry in entries.items():
            head, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(head, {})[rest] = entry
            elif entry is not None or current.get(head, (0, ""))[0] != FOLDER:  # a folder is no file to remove
                level[head] = entry
        for name, children in below.items():
            old = current.get(name)
            stays = level.get(name, old if old is not None and old[0] != FOLDER else None)
            if stays is not None:  # a file, link or submodule: there is nothing below it to remove, and no room
                if all(child is None for child in children.values()):
                    continue
                raise StoreError(f"{os.fsdecode(name)} is not a folder")
            child = self._edit(old[1] if old and old[0] == FOLDER else EMPTY_TREE, children)
            level[name] = None if child == EMPTY_TREE else (FOLDER, child)
        return self._put_level(tree, current, level)

    def _put_level(self, tree: Oid, current: Mapping[bytes, Entry], level: Mapping[bytes, Entry | None]) -> Oid:
        new = dict(current)
        for name, entry in level.items():
            old = current.get(name)
            if entry is None:
                new.pop(name, None)
                continue
            mode = entry[0] or (old[0] if old and old[0] in (FILE, EXECUTABLE) else FILE)
            new[name] = (mode, entry[1])
        if new == current:
            return tree
        if not new:
            return self.put(packs.TREE, b"")
        data = self._splice(tree, current, new, level)
        if data is None:
            data = b"".join(tree_entry(name, e) for name, e in sorted(new.items(), key=tree_order))
        oid = self.put(packs.TREE, data)
        self._trees.put(oid, new)
        return oid

    def _splice(
        self, tree: Oid, current: Mapping[bytes, Entry], new: Mapping[bytes, Entry], level: Mapping[bytes, Entry | None]
    ) -> bytes | None:
        """The new tree's bytes by replacing entries in the old one's, when no name came, went or changed kind."""
        if len(level) > 8 or len(new) != len(current):
            return None
        data = self.get(tree)[1]
        for name in level:
            old, entry = current.get(name), new.get(name)
            if old is None or entry is None or old[0] != entry[0]:
                return None
            data = data.replace(tree_entry(name, old), tree_entry(name, entry), 1)
        return data

    # Durability

    @contextlib.contextmanager
    def holding(self, tree: Oid) -> Iterator[None]:
        """Meanwhile a commit of the new `tree` brings along again whatever of it an earlier `flush` has written.

        A flush writes all that is pending, also trees that are still evaluated and that no commit names yet: a
        ``git gc --prune=now`` at that time removes them again.
        """
        hold = self._held.setdefault(tree, _Hold())
        hold.count += 1
        try:
            yield
        finally:
            hold.count -= 1
            if not hold.count:
                del self._held[tree]

    def _keep_held(self) -> None:
        for tree, hold in self._held.items():
            left = [tree]
            while left:
                oid = left.pop()
                found = self._pending.get(oid)
                if found is not None and oid not in hold.objects:
                    hold.objects[oid] = found
                    left += [entry[1] for entry in self.tree(oid).values()] if found[0] == packs.TREE else []

    @property
    def pending(self) -> int:
        return len(self._pending)

    def flush(self) -> Path | None:
        """Make every pending object durable in one pack; return its keep file (delete it once refs point there)."""
        if not self._pending:
            return None
        objects = [(oid, kind, data) for oid, (kind, data) in self._pending.items()]
        try:
            keep = packs.write(self._packs, objects)
        except OSError as error:
            raise StoreError(
                f"{self._packs}: cannot write: {error.strerror}. Free some space, then run again"
            ) from error
        self._keep_held()
        for oid, kind, data in objects:
            if len(data) < 1 << 16:
                self._raw.put(oid, (kind, data))
        self._pending.clear()
        return keep

    def reopen(self) -> None:
        """Let go of packs that were joined into others since: libgit2 keeps each open, deleted or not."""
        self._repo.free()  # the object itself lives on until Python's next full collection: it refers to itself
        self._repo = _open(self._git_dir)

    # Refs

    def ref(self, name: str) -> Oid | None:
        try:
            return str(self._repo.references[name].resolve().target)
        except (KeyError, pygit2.GitError):
            return None

    def refs(self, *prefixes: str) -> dict[str, Oid]:
        """Every ref below any of `prefixes` (which end in a slash), name → id."""
        found = {}
        for reference in self._repo.references.iterator():
            if reference.name.startswith(prefixes) and reference.type == pygit2.enums.ReferenceType.DIRECT:
                found[reference.name] = str(reference.target)
        return dict(sorted(found.items()))

    def move(self, name: str, old: Oid | None, new: Oid) -> None:
        """Move a ref from `old` (None: it must not exist) to `new`. The objects must have been flushed.

        Raises:
            RefMoved: the ref was not at `old`.
            StoreError: Git refuses the name, as when a branch ``evogit`` stands in the way of ``evogit/…``, or the ref
                stays locked.
        """
        limit = time.monotonic() + LOCKED_FOR
        while True:
            try:
                return self._move(name, old, new)
            except _Locked as error:
                if time.monotonic() > limit:
                    raise StoreError(f"{error}. If a crash left that lock: evogit clean") from error
                time.sleep(0.02)

    def _move(self, name: str, old: Oid | None, new: Oid) -> None:
        try:
            if old is None:
                self._repo.references.create(name, new)
                return
            reference = self._repo.references[name]
            if str(reference.target) == old:
                reference.set_target(new)
                return
        except KeyError as error:
            raise RefMoved(f"{name} is gone (expected {old[:10] if old else 'nothing'})") from error
        except pygit2.AlreadyExistsError as error:
            raise RefMoved(f"{name} exists already") from error
        except (pygit2.GitError, ValueError, OSError) as error:
            if self.ref("refs/heads/evogit") is not None:
                raise StoreError(
                    "a branch named 'evogit' stands in the way of evogit/… . Type: git branch -m evogit NAME"
                ) from error
            if "failed to lock" in str(error):
                raise _Locked(f"{name} cannot be moved: {str(error).strip(': ')}") from error
            if "modified" in str(error) or "lock" in str(error):
                raise RefMoved(f"{name}: {error}") from error
            raise StoreError(f"{name}: {error}") from error
        raise RefMoved(f"{name} is at {str(reference.target)[:10]}, not {old[:10]}")

    def delete(self, name: str) -> None:
        if name in self._repo.references:
            self._repo.references.delete(name)

    def resolve(self, revision: str) -> Oid | None:
        """The commit a revision names, or None."""
        words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
        done = subprocess.run(["git", "--git-dir", str(self._git_dir), *words], capture_output=True, check=False)
        return done.stdout.decode("ascii").strip() or None

    def _retry(self, oid: Oid, read: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
        """Read, and once more after reopening: Git may have repacked what libgit2 had open."""
        for attempt in (1, 2):
            try:
                kind, data = read()
                return int(kind), bytes(data)
            except (KeyError, ValueError, pygit2.GitError, OSError) as error:
                if attempt == 2:
                    raise StoreError(f"object {oid} cannot be read ({error}). Run: evogit fsck") from error
                self.reopen()
        raise AssertionError


class _Locked(StoreError):
    """Somebody holds the ref's lock file."""


@dataclass(slots=True)
class _Hold:
    """How many wait for a commit of a tree, and what of it was written before there is one."""

    count: int = 0
    objects: dict[Oid, tuple[int, bytes]] = field(default_factory=dict)


def check_path(path: str) -> None:
    """Raise `StoreError` unless `path` is relative, stays in the tree and avoids ``.git`` in any spelling."""
    parts = path.split("/")
    if not path or "\0" in path or "\\" in path or any(p in ("", ".", "..") for p in parts):
        raise StoreError(f"path {path!r} leaves the tree or is not plain")
    if any(p.rstrip(". ").lower() in (".git", "git~1") or p.lower().startswith(".git::") for p in parts):
        raise StoreError(f"path {path!r} names Git's own folder")


def _open(git_dir: Path) -> pygit2.Repository:
    try:
        return pygit2.Repository(str(git_dir))
    except pygit2.GitError as error:
        raise StoreError(f"{git_dir}: {error}") from error
