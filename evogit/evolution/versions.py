"""Versions as variation sees them: the editable files of a tree, read only when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping

from evogit.store.objects import EXECUTABLE, FILE, Objects
from evogit.values import Oid, Version


class TreeFiles(Mapping[str, bytes]):
    """Editable regular files of one tree: path → bytes, in a stable order."""

    def __init__(self, objects: Objects, tree: Oid, editable: Callable[[str], bool]) -> None:
        self._objects = objects
        self._listing = objects.listing(tree)
        self._editable = editable

    def __getitem__(self, path: str) -> bytes:
        mode, oid = self._listing[path]
        if mode not in (FILE, EXECUTABLE) or not self._editable(path):
            raise KeyError(path)
        return self._objects.blob(oid)

    def __contains__(self, path: object) -> bool:
        found = self._listing.get(path) if isinstance(path, str) else None
        return found is not None and found[0] in (FILE, EXECUTABLE) and self._editable(str(path))

    def __iter__(self) -> Iterator[str]:
        editable = self._editable
        return (path for path, (mode, _) in self._listing.items() if mode in (FILE, EXECUTABLE) and editable(path))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Versions:
    """Make `Version` values and compare trees, for one repository and one set of editable paths."""

    def __init__(self, objects: Objects, editable: Callable[[str], bool]) -> None:
        self._objects = objects
        self._verdicts: dict[str, bool] = {}
        self._matches = editable

    def editable(self, path: str) -> bool:
        verdict = self._verdicts.get(path)
        if verdict is None:
            verdict = self._verdicts[path] = self._matches(path)
        return verdict

    def version(self, commit: Oid, tree: Oid, score: float | None) -> Version:
        return Version(commit, tree, score, TreeFiles(self._objects, tree, self.editable))

    def changed(self, old: Oid, new: Oid) -> frozenset[str]:
        """Editable paths that differ between two trees."""
        return frozenset(path for path in self._objects.diff(old, new) if self.editable(path))


def unified(path: str, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """The lines of one file's unified diff."""
    old, new = (files.get(path, b"") for files in (before, after))
    if b"\0" in old or b"\0" in new:
        return [f"--- {path}", f"+++ {path}", "binary files differ"]
    texts = [data.decode("utf-8", "replace").splitlines() for data in (old, new)]
    if sum(len(text) for text in texts) > 20_000:
        return [f"--- {path}", f"+++ {path}", "too long to show"]
    names = [path if path in files else "/dev/null" for files in (before, after)]
    return list(difflib.unified_diff(texts[0], texts[1], names[0], names[1], lineterm="", n=3))
