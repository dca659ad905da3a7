"""Git's commit-graph file, single or split, as arrays (``git help format-commit-graph``)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

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


def read_file(folder: Path) -> Commits | None:
    """What Git's commit-graph in an object `folder` knows, sorted by id; None if there is none.

    Raises:
        ValueError, IndexError, struct.error, OSError: it is damaged, or of a kind not known here.
    """
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
    return permuted(Commits(oids, offsets, targets, times, generations - 1), order)


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


def permuted(commits: Commits, order: npt.NDArray[np.int64]) -> Commits:
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


def heads_of(oids: Bytes) -> npt.NDArray[np.uint64]:
    """The first 64 bits of each id as a number, which sorts as the ids do."""
    return np.ascontiguousarray(oids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
