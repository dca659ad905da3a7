"""Put a version onto a branch that has moved: a three-way merge of trees that names every hunk it cannot decide."""

from __future__ import annotations

from dataclasses import dataclass

from evogit.store.objects import EXECUTABLE, FILE, Entry, Objects
from evogit.values import Oid
from evogit.variation.merge import conflicts, merge3, resolve


@dataclass(frozen=True, slots=True)
class Clash:
    """A hunk that both sides changed differently: lines [start, end] of the branch's file, from 1; 0 for all of it."""

    path: str
    start: int = 0
    end: int = 0

    @property
    def place(self) -> str:
        if not self.start:
            return f"{self.path} (as a whole)"
        return f"{self.path}:{self.start}" + (f"-{self.end}" if self.end > self.start else "")


def join(objects: Objects, base: Oid, ours: Oid, theirs: Oid) -> tuple[Oid, tuple[Clash, ...]]:
    """Tree `ours` with what `theirs` changed since `base`, and what clashes; nothing of a clashing file is taken."""
    mine, wanted = objects.diff(base, ours), objects.diff(base, theirs)
    was, is_now = objects.listing(base), objects.listing(ours)
    taken: dict[str, Entry | None] = {}
    clashes: list[Clash] = []
    for path, entry in sorted(wanted.items()):
        if path not in mine:
            taken[path] = entry
        elif mine[path] != entry:
            merged = _merged(objects, path, was.get(path), is_now.get(path), entry)
            if isinstance(merged, tuple):
                taken[path] = merged
            else:
                clashes += merged
    return (objects.graft(ours, taken) if taken else ours), tuple(clashes)


def _merged(
    objects: Objects, path: str, was: Entry | None, ours: Entry | None, theirs: Entry | None
) -> Entry | list[Clash]:
    """One file that both sides changed: the merged entry, or where they clash."""
    if ours is None or theirs is None or not {ours[0], theirs[0]} <= {FILE, EXECUTABLE}:
        return [Clash(path)]
    before = objects.blob(was[1]) if was is not None else b""
    found = merge3(before, objects.blob(ours[1]), objects.blob(theirs[1]))
    if conflicts(found):
        clashes, line = [], 1
        for hunk in found:
            lines = len(hunk.ours.splitlines())
            if hunk.conflict:
                clashes.append(Clash(path, line, line + max(0, lines - 1)))
            line += lines
        return clashes
    mode = theirs[0] if was is None or theirs[0] != was[0] else ours[0]
    return mode, objects.put_blob(resolve(found, lambda hunk: hunk.ours))
