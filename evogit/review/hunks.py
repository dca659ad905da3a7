"""The change between two trees as hunks that can be kept or left out, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evogit.store.linediff import unchanged
from evogit.store.objects import EXECUTABLE, FILE, Entry, Objects
from evogit.values import Oid


@dataclass(frozen=True, slots=True)
class Hunk:
    """A piece of a change: lines [start, end) of the old file become `lines`; or a file as a whole becomes `whole`.

    `start` is counted from 0. Several that insert at one line stand in the order of `number`. A whole file is one that
    came or went, changed its mode, is binary or no regular file; `whole` is None where it is gone.
    """

    path: str
    start: int = 0
    end: int = 0
    lines: tuple[bytes, ...] = ()
    whole: Entry | None = None
    file: bool = False
    number: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Lines added and removed; of a whole file (1, 0) or (0, 1)."""
        if self.file:
            return (1, 0) if self.whole else (0, 1)
        return len(self.lines), self.end - self.start

    @property
    def place(self) -> str:
        """Where it is, for people: ``path:12``, lines counted from 1 in the old file."""
        return self.path if self.file else f"{self.path}:{self.start + 1}"


def cut(objects: Objects, old: Oid, new: Oid) -> tuple[Hunk, ...]:
    """All hunks that make tree `old` into tree `new`, in the order of paths and lines."""
    before, found = objects.listing(old), []
    for path, entry in sorted(objects.diff(old, new).items()):
        was = before.get(path)
        if entry is None or was is None or entry[0] != was[0] or entry[0] not in (FILE, EXECUTABLE):
            found.append(Hunk(path, whole=entry, file=True))
            continue
        texts = objects.blob(was[1]), objects.blob(entry[1])
        if any(b"\0" in text for text in texts):
            found.append(Hunk(path, whole=entry, file=True))
        else:
            found += compare(path, *texts)
    return tuple(replace(hunk, number=number) for number, hunk in enumerate(found))


def compare(path: str, old: bytes, new: bytes) -> list[Hunk]:
    """The hunks of lines between two texts of one file, not numbered yet."""
    theirs = split(new)
    found, at_old, at_new = [], 0, 0
    for start, in_new, length in [*unchanged(old, new), (len(split(old)), len(theirs), 0)]:
        if start > at_old or in_new > at_new:
            found.append(Hunk(path, at_old, start, tuple(theirs[at_new:in_new])))
        at_old, at_new = start + length, in_new + length
    return found


def split(data: bytes) -> list[bytes]:
    """Lines with their ends; only line feeds end lines, as Git sees it."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + ([last] if (last := data.rpartition(b"\n")[2]) else [])


def pieces(hunks: Iterable[Hunk]) -> tuple[Hunk, ...]:
    """The hunks cut into single lines: the n-th old line becomes the n-th new one, what is left comes or goes alone."""
    found: list[Hunk] = []
    for hunk in hunks:
        old, new = hunk.end - hunk.start, len(hunk.lines)
        if hunk.file or max(old, new) < 2:
            found.append(hunk)
            continue
        for n in range(max(old, new)):
            at = hunk.start + min(n, old)
            found.append(replace(hunk, start=at, end=hunk.start + min(n + 1, old), lines=hunk.lines[n : n + 1]))
    return tuple(replace(hunk, number=number) for number, hunk in enumerate(found))


def apply(objects: Objects, tree: Oid, hunks: Iterable[Hunk]) -> Oid:
    """`tree` with these hunks. They must be some of one `cut`, or of its `pieces`."""
    listing = objects.listing(tree)
    lines: dict[str, list[Hunk]] = {}
    entries: dict[str, Entry | None] = {}
    for hunk in hunks:
        if hunk.file:
            entries[hunk.path] = hunk.whole
        else:
            lines.setdefault(hunk.path, []).append(hunk)
    for path, some in lines.items():
        mode, oid = listing[path]
        entries[path] = (mode, objects.put_blob(patched(objects.blob(oid), some)))
    return objects.graft(tree, entries) if entries else tree


def patched(data: bytes, hunks: Iterable[Hunk]) -> bytes:
    """One file's text with these hunks of lines."""
    old, out, at = split(data), list[bytes](), 0
    for hunk in sorted(hunks, key=lambda hunk: (hunk.start, hunk.number)):
        out += [*old[at : hunk.start], *hunk.lines]
        at = hunk.end
    out += old[at:]
    # A last line without its end may have got others behind it.
    whole = [line if line.endswith(b"\n") else line + b"\n" for line in out[:-1]]
    return b"".join([*whole, *out[-1:]])


def lines_changed(hunks: Sequence[Hunk]) -> tuple[int, int]:
    """Lines added and removed, in all."""
    sizes = [hunk.size for hunk in hunks]
    return sum(added for added, _ in sizes), sum(removed for _, removed in sizes)


def rebuilt(objects: Objects, base: Oid, commit: Oid, kept: Iterable[int], texts: Mapping[str, str]) -> Oid:
    """The tree of a minimized version: the kept hunks between two commits, cut again, then texts that were shortened.

    `kept` are numbers among the `pieces` of the cut; `texts` are blobs, path → id.
    """
    old, new = objects.commit(base).tree, objects.commit(commit).tree
    wanted = frozenset(kept)
    tree = apply(objects, old, [hunk for hunk in pieces(cut(objects, old, new)) if hunk.number in wanted])
    return objects.graft(tree, {path: (0, oid) for path, oid in texts.items()}) if texts else tree
