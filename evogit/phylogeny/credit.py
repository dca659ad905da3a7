"""Which commit each line and word of a version comes from, and so which agent, operator and model earned it.

Evolved code is often one long line that many hands made, so words are followed as well as lines (as cregit does:
German, Adams and Stewart 2019). This is ``git blame`` along the lineage, by a walk of our own: at a merge a line
follows the parent that has it, every commit is looked at once, and the walk ends where the run began.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evogit.phylogeny.history import History
from evogit.phylogeny.steps import By, gains
from evogit.store.linediff import lines, unchanged
from evogit.store.objects import FOLDER, SUBMODULE, Objects
from evogit.values import Oid

WORD = re.compile(rb"\w+|[^\w\s]")
KEPT = 256  # texts held at a time

Pending = dict[str, list[tuple[int, int]]]
"""Path → (line in the version asked about, line in this one), counted from 0 and ascending."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or word, of the version asked about: `number` counts from 1, `commit` is where it comes from."""

    path: str
    number: int
    commit: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one commit gave: lines and words that survive, and by how much it beat its best parent, if known."""

    commit: int
    lines: int
    words: int
    gain: float | None


@dataclass(slots=True)
class Total:
    """What an operator, agent or model gave in all."""

    name: str
    commits: int = 0
    lines: int = 0
    words: int = 0
    gain: float = 0.0


def changed_paths(history: History, objects: Objects, i: int) -> list[str]:
    """The files of commit `i` that are not as they were in the base; all files where there is no base."""
    tree = objects.commit(history.oid(i)).tree
    if history.base is None:
        return [path for path, (mode, _) in objects.listing(tree).items() if mode != SUBMODULE]
    start = objects.commit(history.oid(history.base)).tree
    return sorted(path for path, entry in objects.diff(start, tree).items() if entry and entry[0] != SUBMODULE)


def blame(history: History, objects: Objects, i: int, paths: Iterable[str], *, words: bool = False) -> list[Line]:
    """Where each line, or word, of `paths` in commit `i` comes from, in the order of path and line.

    Binary files are left out.

    Raises:
        StoreError: an object is missing.
    """
    files = _Files(history, objects, a_word_a_line if words else bytes)
    waiting: dict[int, Pending] = {i: {}}
    for path in paths:
        oid = files.blob(i, path)
        if oid is not None and not binary(objects.blob(oid)):
            waiting[i][path] = [(n, n) for n in range(lines(files.text(oid)))]
    found: list[Line] = []
    queue = [-i]  # children come before parents in it, as their numbers are larger
    while queue:
        at = -heapq.heappop(queue)
        for parent, passed in _handed_on(files, history.parents(at), at, waiting.pop(at)):
            if parent is None:
                found += [Line(path, number + 1, at) for path, kept in passed.items() for number, _ in kept]
                continue
            if parent not in waiting:
                waiting[parent] = {}
                heapq.heappush(queue, -parent)
            held = waiting[parent]
            for path, kept in passed.items():
                held[path] = held[path] + kept if path in held else kept
    return sorted(found, key=lambda line: (line.path, line.number))


def _handed_on(files: _Files, parents: Sequence[int], at: int, rest: Pending) -> Iterator[tuple[int | None, Pending]]:
    """What each parent takes, then, for None, what begins here.

    A parent with the very same file takes all of it, as in Git; else parents take what they have, the first first.
    """
    for parent in parents:
        changed = files.changed(parent, at)
        yield parent, {path: kept for path, kept in rest.items() if path not in changed}
        rest = {path: kept for path, kept in rest.items() if path in changed}
    for parent in parents:
        passed: Pending = {}
        for path, kept in rest.items():
            mine, theirs = files.blob(at, path), files.blob(parent, path)
            if mine is not None and theirs is not None and kept:
                passed[path], rest[path] = _split(kept, unchanged(files.text(theirs), files.text(mine)))
        yield parent, {path: kept for path, kept in passed.items() if kept}
    yield None, rest


def _split(
    kept: list[tuple[int, int]], runs: Sequence[tuple[int, int, int]]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The lines that lie in `runs`, with their places in the parent, and the rest."""
    passed, rest = [], []
    at = 0
    for number, line in sorted(kept, key=lambda pair: pair[1]):
        while at < len(runs) and runs[at][1] + runs[at][2] <= line:
            at += 1
        if at < len(runs) and runs[at][1] <= line:
            passed.append((number, runs[at][0] + line - runs[at][1]))
        else:
            rest.append((number, line))
    return passed, rest


def a_word_a_line(data: bytes) -> bytes:
    """Each word, number or sign of `data` on a line of its own; spaces do not count."""
    return b"".join(word + b"\n" for word in WORD.findall(data))


class _Files:
    """Files of commits by path, descending only where asked, and their text in the units that are followed."""

    def __init__(self, history: History, objects: Objects, units: Callable[[bytes], bytes]) -> None:
        self._history = history
        self._objects = objects
        self._units = units
        self._roots: dict[int, Oid] = {}
        self._texts: dict[Oid, bytes] = {}

    def changed(self, parent: int, child: int) -> Mapping[str, object]:
        """The files that differ between the two."""
        return self._objects.diff(self._tree(parent), self._tree(child))

    def text(self, oid: Oid) -> bytes:
        found = self._texts.get(oid)
        if found is None:
            if len(self._texts) >= KEPT:
                self._texts.clear()
            found = self._texts[oid] = self._units(self._objects.blob(oid))
        return found

    def blob(self, i: int, path: str) -> Oid | None:
        """The id of the file at `path`, None if there is none."""
        tree = self._tree(i)
        *folders, name = path.encode("utf-8", "surrogateescape").split(b"/")
        for folder in folders:
            mode, tree = self._objects.tree(tree).get(folder, (0, ""))
            if mode != FOLDER:
                return None
        mode, oid = self._objects.tree(tree).get(name, (0, ""))
        return oid if mode not in (0, FOLDER, SUBMODULE) else None

    def _tree(self, i: int) -> Oid:
        found = self._roots.get(i)
        if found is None:
            found = self._roots[i] = self._objects.commit(self._history.oid(i)).tree
        return found


def binary(data: bytes) -> bool:
    """As Git guesses it."""
    return b"\0" in data[:8000]


def shares(history: History, found: Iterable[Line], words: Iterable[Line]) -> list[Share]:
    """What each commit gave, the most words first; the base's own are the last row, if there are any."""
    by_line, by_word = Counter(line.commit for line in found), Counter(word.commit for word in words)
    rows = [Share(i, by_line[i], by_word[i], _gain(history, i)) for i in by_line.keys() | by_word.keys()]
    return sorted(rows, key=lambda row: (row.commit == history.base, -row.words, -row.lines, row.commit))


def _gain(history: History, i: int) -> float | None:
    known = [value for value in gains(history, i, history.facts(i)) if value is not None]
    return min(known) if known else None


def totals(history: History, rows: Iterable[Share], by: By) -> list[Total]:
    """The shares summed by operator, agent definition or model, the most words first; the base's are left out."""
    found: dict[str, Total] = {}
    for row in rows:
        facts = history.facts(row.commit)
        name = {"operator": facts.operator, "agent": facts.definition or facts.agent, "model": facts.model}[by]
        if row.commit == history.base or not name:
            continue
        total = found.setdefault(name, Total(name))
        total.commits += 1
        total.lines += row.lines
        total.words += row.words
        total.gain = math.fsum((total.gain, row.gain or 0.0))
    return sorted(found.values(), key=lambda total: (-total.words, total.name))
