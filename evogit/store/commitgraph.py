"""Every commit's parents and time in arrays, by the fastest way there is.

Git's commit-graph file, written by ``git gc`` and ``git maintenance``, gives a million commits in a second. It may lag
behind: what it does not know is read commit by commit, and where that is much, ``git rev-list`` lists all. The order is
canonical: the same commits have the same numbers whichever way they came.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygit2

from evogit.errors import StoreError
from evogit.store.graphfile import Bytes, Commits, heads_of, permuted, read_file
from evogit.store.objects import Objects
from evogit.store.packs import read_loose
from evogit.store.revlist import list_commits
from evogit.values import Oid

SINGLY = 5_000  # commits that are read one by one, 10 µs each, before Git is asked for all


def read_commits(objects: Objects, tips: Iterable[Oid], floor: Iterable[Oid] = (), singly: int = SINGLY) -> Commits:
    """All commits reachable from `tips`, without going past those of `floor`.

    Raises:
        StoreError: a tip cannot be read.
    """
    git_dir, folder = objects.folders
    wanted = [bytes.fromhex(oid) for oid in dict.fromkeys(tips)]
    stop = {bytes.fromhex(oid) for oid in floor}
    try:
        known = read_file(folder)
    except (ValueError, IndexError, struct.error, OSError):  # damaged, or of a kind not known here: Git can do without
        known = None
    if known is None:
        known = _empty()
    number = _Numbers(known.oids)
    fresh = _walk(objects.folders, wanted, number, stop, singly)
    if fresh is None:
        known, fresh = list_commits(git_dir, wanted), {}
        number = _Numbers(known.oids)
    together = _append(known, fresh, number, stop) if fresh else _cut(known, number, stop)
    rank = {oid: len(known.oids) + k for k, oid in enumerate(fresh)}
    heads = [rank[oid] if oid in rank else number[oid] for oid in wanted]
    found = _reachable(together, [head for head in heads if head is not None])
    return _canonical(_counted_anew(found) if stop else found)


class _Numbers:
    """Which place an object id has in a sorted table."""

    def __init__(self, oids: Bytes) -> None:
        self._oids = oids
        self._keys = heads_of(oids)

    def __getitem__(self, oid: bytes) -> int | None:
        if not len(self._keys):
            return None
        at = int(np.searchsorted(self._keys, np.uint64(int.from_bytes(oid[:8], "big"))))
        while at < len(self._oids) and bytes(self._oids[at, :8]) == oid[:8]:
            if bytes(self._oids[at]) == oid:
                return at
            at += 1
        return None


def _empty() -> Commits:
    none = np.zeros(0, dtype=np.int32)
    return Commits(np.zeros((0, 20), dtype=np.uint8), np.zeros(1, dtype=np.int32), none, none.astype(np.int64), none)


# What the file does not know

_Read = dict[bytes, tuple[list[bytes], int]]
"""Commit → parents, time; parents before children."""


def _walk(
    folders: tuple[Path, Path], tips: Sequence[bytes], known: _Numbers, stop: set[bytes], limit: int
) -> _Read | None:
    """The commits from `tips` down to those the file knows; None if there are more than `limit`."""
    repository = pygit2.Repository(str(folders[0]))
    read, name = repository.read, pygit2.Oid
    found: _Read = {}
    pending = [oid for oid in tips if known[oid] is None]
    for tip in pending:
        if pygit2.Oid(tip) not in repository.odb:
            raise StoreError(f"commit {tip.hex()} cannot be read. Run: evogit fsck")
    while pending:
        oid = pending.pop()
        if oid in found:
            continue
        if len(found) >= limit:
            return None
        try:
            _, data = read_loose(folders[1], oid.hex()) or read(name(oid))
        except KeyError:  # the edge of a shallow clone
            continue
        except ValueError as error:
            raise StoreError(f"commit {oid.hex()} cannot be read ({error}). Run: evogit fsck") from error
        parents, time = _parse(data)
        found[oid] = ([] if oid in stop else parents, time)
        pending += [parent for parent in found[oid][0] if parent not in found and known[parent] is None]
    return _sorted(found)


def _parse(data: bytes) -> tuple[list[bytes], int]:
    """Parents and committer's time of a raw commit."""
    parents = []
    at = 46  # after "tree <40 digits>\n"
    while data[at : at + 7] == b"parent ":
        parents.append(bytes.fromhex(data[at + 7 : at + 47].decode("ascii")))
        at += 48
    begin = data.find(b"\ncommitter ", at - 1)
    fields = data[begin + 1 : data.find(b"\n", begin + 1)].rsplit(b" ", 2)
    return parents, int(fields[1]) if len(fields) == 3 and fields[1].lstrip(b"-").isdigit() else 0


def _sorted(found: _Read) -> _Read:
    """Parents before children, by depth-first search without recursion."""
    done: _Read = {}
    for start in found:
        stack = [start]
        while stack:
            oid = stack.pop()
            if oid in done:
                continue
            value = found[oid]
            for parent in value[0]:
                if parent not in done and parent in found:
                    stack += (oid, parent)
                    break
            else:
                done[oid] = value
    return done


def _append(known: Commits, fresh: _Read, number: _Numbers, stop: set[bytes]) -> Commits:
    """The file's commits, then the fresh ones."""
    known = _cut(known, number, stop)
    place: dict[bytes, int] = {}
    counts: list[int] = []
    targets: list[int] = []
    generations: list[int] = []
    for oid, (parents, _) in fresh.items():
        places = [place[p] if p in place else number[p] for p in parents]
        present = [p for p in places if p is not None]
        place[oid] = len(known.oids) + len(place)
        counts.append(len(present))
        targets += present
        depths = [
            generations[p - len(known.oids)] if p >= len(known.oids) else int(known.generations[p]) for p in present
        ]
        generations.append(1 + max(depths, default=-1))
    offsets = known.offsets[-1] + np.cumsum(np.array(counts, dtype=np.int32), dtype=np.int32)
    return Commits(
        np.concatenate([known.oids, np.frombuffer(b"".join(fresh), dtype=np.uint8).reshape(-1, 20)]),
        np.concatenate([known.offsets, offsets]),
        np.concatenate([known.targets, np.array(targets, dtype=np.int32)]),
        np.concatenate([known.times, np.array([time for _, time in fresh.values()], dtype=np.int64)]),
        np.concatenate([known.generations, np.array(generations, dtype=np.int32)]),
    )


def _cut(commits: Commits, number: _Numbers, stop: set[bytes]) -> Commits:
    """Without the parents of the commits of `stop`."""
    rows = [row for oid in stop if (row := number[oid]) is not None]
    if not rows:
        return commits
    counts = np.diff(commits.offsets)
    keep = np.ones(len(commits.oids), dtype=np.bool_)
    keep[rows] = False
    targets = commits.targets[np.repeat(keep, counts)]
    counts[rows] = 0
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return replace(commits, offsets=offsets, targets=targets)


# Order


def _reachable(commits: Commits, heads: list[int]) -> Commits:
    """Only what is reachable from `heads`."""
    n = len(commits.oids)
    childless = np.ones(n, dtype=np.bool_)
    childless[commits.targets] = False
    childless[heads] = False
    if not childless.any():  # every tip was asked for: nothing to leave out
        return commits
    offsets, targets = commits.offsets.tolist(), commits.targets.tolist()
    seen, pending = bytearray(n), list(heads)
    for head in heads:
        seen[head] = 1
    while pending:
        at = pending.pop()
        for parent in targets[offsets[at] : offsets[at + 1]]:
            if not seen[parent]:
                seen[parent] = 1
                pending.append(parent)
    return permuted(commits, np.flatnonzero(np.frombuffer(seen, dtype=np.bool_)))


def _counted_anew(commits: Commits) -> Commits:
    """With generations counted from the roots there are now."""
    offsets, targets = commits.offsets.tolist(), commits.targets.tolist()
    found = [0] * len(commits.oids)
    for i in np.argsort(commits.generations, kind="stable").tolist():  # parents came before children there
        found[i] = max((found[p] + 1 for p in targets[offsets[i] : offsets[i + 1]]), default=0)
    return replace(commits, generations=np.array(found, dtype=np.int32))


def _canonical(commits: Commits) -> Commits:
    """By time, then generation, then id; where a clock was wrong, so that a child would come first, by generation."""
    if not len(commits.oids):
        return commits
    names = heads_of(commits.oids)
    order = np.lexsort((names, commits.generations, commits.times))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    children = np.repeat(np.arange(len(order)), np.diff(commits.offsets))
    if (place[commits.targets] > place[children]).any():
        order = np.lexsort((names, commits.times, commits.generations))
    return permuted(commits, order)
