"""Every commit's parents and time in arrays: from Git's commit-graph file where there is one, else by reading commits.

The file (``git help format-commit-graph``) is written by ``git gc`` and ``git maintenance``; it may lag behind, so what
it does not know is read from the commits themselves. The order is canonical: the same commits give the same numbers
with and without the file. A million commits load from the file in a second; reading them one by one takes ten.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pygit2

from evogit.errors import StoreError
from evogit.store.objects import Objects
from evogit.values import Oid

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

NO_PARENT = 0x70000000
MORE = 0x80000000  # the other parents stand in the EDGE chunk; there it marks the last one


@dataclass(frozen=True)
class Commits:
    """`n` commits, parents before children, in order of time where that is possible (else of generation).

    `oids` (n, 20); `times` (n,) in seconds since 1970; the parents of commit i are
    ``targets[offsets[i]:offsets[i + 1]]``, first parent first. Parents that are not there are left out.
    """

    oids: Bytes
    offsets: Ints
    targets: Ints
    times: Longs
    generations: Ints


def read_commits(objects: Objects, tips: Iterable[Oid], floor: Iterable[Oid] = ()) -> Commits:
    """All commits reachable from `tips`, without going past those of `floor`.

    Raises:
        StoreError: a tip cannot be read.
    """
    git_dir, folder = objects.folders
    wanted = [bytes.fromhex(oid) for oid in dict.fromkeys(tips)]
    stop = {bytes.fromhex(oid) for oid in floor}
    try:
        known = _read_file(folder)
    except (ValueError, IndexError, struct.error, OSError):  # damaged, or of a kind not known here: Git can do without
        known = None
    if known is None:
        known = _empty()
    number = _Numbers(known.oids)
    fresh = _walk(git_dir, wanted, number, stop)
    together = _append(known, fresh, number, stop) if fresh else _cut(known, number, stop)
    rank = {oid: len(known.oids) + k for k, oid in enumerate(fresh)}
    heads = [rank[oid] if oid in rank else number[oid] for oid in wanted]
    found = _reachable(together, [head for head in heads if head is not None])
    return _canonical(_counted_anew(found) if stop else found)


class _Numbers:
    """Which place an object id has in a sorted table."""

    def __init__(self, oids: Bytes) -> None:
        self._oids = oids
        self._keys = _heads(oids)

    def __getitem__(self, oid: bytes) -> int | None:
        if not len(self._keys):
            return None
        at = int(np.searchsorted(self._keys, np.uint64(int.from_bytes(oid[:8], "big"))))
        while at < len(self._oids) and bytes(self._oids[at, :8]) == oid[:8]:
            if bytes(self._oids[at]) == oid:
                return at
            at += 1
        return None


def _heads(oids: Bytes) -> npt.NDArray[np.uint64]:
    """The first 64 bits of each id as a number, which sorts as the ids do."""
    return np.ascontiguousarray(oids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def _empty() -> Commits:
    none = np.zeros(0, dtype=np.int32)
    return Commits(np.zeros((0, 20), dtype=np.uint8), np.zeros(1, dtype=np.int32), none, none.astype(np.int64), none)


# The file


def _read_file(folder: Path) -> Commits | None:
    """What Git's commit-graph, single or split, knows, in its own order: sorted by id, file by file."""
    single, chain = folder / "info/commit-graph", folder / "info/commit-graphs/commit-graph-chain"
    if single.is_file():
        names = [single]
    elif chain.is_file():
        names = [folder / f"info/commit-graphs/graph-{line}.graph" for line in chain.read_text().split()]
    else:
        return None
    layers = [_chunks(np.fromfile(name, dtype=np.uint8)) for name in names]
    oids = np.concatenate([layer["OIDL"].reshape(-1, 20) for layer in layers])
    data = np.concatenate([layer["CDAT"].reshape(-1, 36) for layer in layers])
    if len(oids) != len(data):
        raise ValueError("tables of different lengths")
    words = np.ascontiguousarray(data[:, 20:]).view(">u4")
    first, second = words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)
    generations = (words[:, 2] >> 2).astype(np.int32)
    times = ((words[:, 2] & 3).astype(np.int64) << 32) | words[:, 3].astype(np.int64)
    if len(oids) and int(generations.min()) < 1:
        raise ValueError("written by a Git that knew no generations")
    if len(oids) and len(layers) > 1:  # layers are sorted each by itself
        order = np.argsort(oids.view("S20").reshape(-1), kind="stable")
    else:
        order = np.arange(len(oids))
    offsets, targets = _edges(first, second, layers)
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < len(oids):
        raise ValueError("a parent outside the file")
    return _permuted(Commits(oids, offsets, targets, times, generations - 1), order)


def _chunks(data: Bytes) -> dict[str, Bytes]:
    """The chunks of one file by name. Raises `ValueError` if it is no commit-graph of version 1 with SHA-1."""
    raw = data[: 8 + 12 * 256].tobytes()
    if raw[:6] != b"CGPH\x01\x01":
        raise ValueError("not a commit-graph")
    found: dict[str, Bytes] = {}
    for k in range(raw[6]):
        name, begin, _, end = struct.unpack_from(">4sQ4sQ", raw, 8 + 12 * k)
        if not begin <= end <= len(data):
            raise ValueError("a chunk outside the file")
        found[name.decode("ascii")] = data[begin:end]
    if not {"OIDL", "CDAT"} <= found.keys():
        raise ValueError("chunks are missing")
    return found


def _edges(first: Longs, second: Longs, layers: Sequence[dict[str, Bytes]]) -> tuple[Ints, Ints]:
    """Offsets and targets from the columns of the file; third and later parents come from the EDGE chunks."""
    has_first, plain = first != NO_PARENT, (second != NO_PARENT) & (second < MORE)
    more: dict[int, list[int]] = {}
    begin = 0
    for layer in layers:
        end = begin + len(layer["CDAT"]) // 36
        extra = layer.get("EDGE", np.zeros(0, dtype=np.uint8)).view(">u4").astype(np.int64)
        for row in np.flatnonzero(second[begin:end] >= MORE).tolist():
            start = at = int(second[begin + row]) - MORE
            while extra[at] < MORE:
                at += 1
            more[begin + row] = (extra[start : at + 1] & (MORE - 1)).tolist()
        begin = end
    counts = has_first.astype(np.int32) + plain.astype(np.int32)
    for octopus, others in more.items():
        counts[octopus] += len(others)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    targets = np.zeros(int(offsets[-1]), dtype=np.int32)
    targets[offsets[:-1][has_first]] = first[has_first]
    targets[offsets[:-1][plain] + 1] = second[plain]
    for octopus, others in more.items():
        targets[offsets[octopus] + 1 : offsets[octopus + 1]] = others
    return offsets, targets


# What the file does not know

_Read = dict[bytes, tuple[list[bytes], int]]
"""Commit → parents, time; parents before children."""


def _walk(git_dir: Path, tips: Sequence[bytes], known: _Numbers, stop: set[bytes]) -> _Read:
    """The commits from `tips` down to those the file knows."""
    repository = pygit2.Repository(str(git_dir))
    read, name = repository.read, pygit2.Oid
    found: _Read = {}
    pending = [oid for oid in tips if known[oid] is None]
    for tip in pending:
        if pygit2.Oid(tip) not in repository:
            raise StoreError(f"commit {tip.hex()} cannot be read. Run: evogit fsck")
    while pending:
        oid = pending.pop()
        if oid in found:
            continue
        try:
            _, data = read(name(oid))
        except KeyError:  # the edge of a shallow clone
            continue
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
    return _permuted(commits, np.flatnonzero(np.frombuffer(seen, dtype=np.bool_)))


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
    names = _heads(commits.oids)
    order = np.lexsort((names, commits.generations, commits.times))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    children = np.repeat(np.arange(len(order)), np.diff(commits.offsets))
    if (place[commits.targets] > place[children]).any():
        order = np.lexsort((names, commits.times, commits.generations))
    return _permuted(commits, order)


def _permuted(commits: Commits, order: npt.NDArray[np.int64]) -> Commits:
    """The commits of `order` in that order, with their edges; parents that are left out must not be theirs."""
    number = np.zeros(len(commits.oids), dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    counts = np.diff(commits.offsets)[order]
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    edges = np.repeat(commits.offsets[:-1][order] - offsets[:-1], counts) + np.arange(offsets[-1], dtype=np.int32)
    return Commits(
        commits.oids[order],
        offsets,
        number[commits.targets[edges]],
        commits.times[order],
        commits.generations[order],
    )
