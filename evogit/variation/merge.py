"""Three-way merge of lines: what only one side changed is taken, what both changed differently is a conflict.

The algorithm is diff3's (Khanna, Kunal and Pierce 2007): regions of the base that both sides kept are stable, what lies
between them is decided as a whole, so that adjacent changes conflict, as they do in Git. (The obvious library, merge3,
is GPL and this project is Apache-2.0.)
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hunk:
    """A stretch of the result. Resolved when `conflict` is false: then `ours` is the text."""

    ours: bytes
    base: bytes = b""
    theirs: bytes = b""
    conflict: bool = False


Choose = Callable[[Hunk], bytes]


def merge3(base: bytes, ours: bytes, theirs: bytes) -> tuple[Hunk, ...]:
    """Merge `theirs` into `ours`, `base` being their common ancestor. Bytes and line ends are preserved.

    A file with a NUL byte is binary: it is one hunk.
    """
    if ours == theirs or theirs == base:
        return (Hunk(ours),)
    if ours == base:
        return (Hunk(theirs),)
    if any(b"\0" in side for side in (base, ours, theirs)):
        return (Hunk(ours, base, theirs, True),)
    return tuple(_hunks(base.splitlines(True), ours.splitlines(True), theirs.splitlines(True)))


def resolve(hunks: tuple[Hunk, ...], choose: Choose) -> bytes:
    """The merged bytes, `choose` giving the text of each conflict."""
    return b"".join(choose(hunk) if hunk.conflict else hunk.ours for hunk in hunks)


def conflicts(hunks: tuple[Hunk, ...]) -> int:
    return sum(hunk.conflict for hunk in hunks)


def matches(base: Sequence[bytes], side: Sequence[bytes]) -> tuple[tuple[int, int, int], ...]:
    """Runs of equal lines: (start in base, start in side, length), with the common ends found first."""
    head, least = 0, min(len(base), len(side))
    while head < least and base[head] == side[head]:
        head += 1
    tail = 0
    while tail < least - head and base[-1 - tail] == side[-1 - tail]:
        tail += 1
    middle = difflib.SequenceMatcher(None, base[head : len(base) - tail], side[head : len(side) - tail], autojunk=False)
    found = [(0, 0, head)] if head else []
    found += [(a + head, b + head, size) for a, b, size in middle.get_matching_blocks() if size]
    if tail:
        found.append((len(base) - tail, len(side) - tail, tail))
    return tuple(found)


_matches = functools.lru_cache(maxsize=512)(matches)


def _stable(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> Iterator[tuple[int, int, int, int]]:
    """Regions that all three share: (start in base, in ours, in theirs, length)."""
    left, right = _matches(tuple(base), tuple(ours)), _matches(tuple(base), tuple(theirs))
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i][0], right[j][0])
        end = min(left[i][0] + left[i][2], right[j][0] + right[j][2])
        if start < end:
            yield start, left[i][1] + start - left[i][0], right[j][1] + start - right[j][0], end - start
        if left[i][0] + left[i][2] < right[j][0] + right[j][2]:
            i += 1
        else:
            j += 1
    yield len(base), len(ours), len(theirs), 0


def _hunks(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> Iterator[Hunk]:
    at_base = at_ours = at_theirs = 0
    for start, in_ours, in_theirs, length in _stable(base, ours, theirs):
        between = (base[at_base:start], ours[at_ours:in_ours], theirs[at_theirs:in_theirs])
        if any(between):
            b, o, t = (b"".join(lines) for lines in between)
            if o == t or t == b:
                yield Hunk(o)
            elif o == b:
                yield Hunk(t)
            else:
                yield Hunk(o, b, t, True)
        if length:
            yield Hunk(b"".join(base[start : start + length]))
        at_base, at_ours, at_theirs = start + length, in_ours + length, in_theirs + length
