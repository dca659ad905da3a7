"""Many commits at once from one ``git rev-list``: for repositories without a commit-graph file, as fresh clones are.

Reading a million commits one by one takes 10 s and a gigabyte; Git lists them in 3 s, and blocks of its output become
arrays without a Python object for each commit.
"""

from __future__ import annotations

import subprocess
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from evogit.errors import StoreError
from evogit.store.graphfile import Bytes, Commits, Ints, Longs, heads_of, permuted

BLOCK = 1 << 22  # bytes of output at a time

_NIBBLE = np.full(256, 255, dtype=np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def list_commits(git_dir: Path, tips: Sequence[bytes]) -> Commits:
    """All commits reachable from `tips`, sorted by id.

    Raises:
        StoreError: Git could not list them.
    """
    command = ["git", "--no-replace-objects", "--git-dir", str(git_dir), "rev-list", "--stdin"]
    command += ["--topo-order", "--reverse", "--parents", "--timestamp"]
    listing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert listing.stdin is not None
    assert listing.stdout is not None
    assert listing.stderr is not None
    with listing, listing.stdin as wanted:
        wanted.write(b"".join(tip.hex().encode() + b"\n" for tip in tips))
        wanted.close()
        parts = [_parsed(block) for block in _blocks(listing.stdout)]
        complaint = listing.stderr.read().decode("utf-8", "replace").strip()
    if listing.returncode:
        raise StoreError(f"git rev-list: {complaint}. Run: evogit fsck")
    return _joined(parts)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """The output in blocks of whole lines."""
    rest = b""
    while data := stream.read(BLOCK):
        data = rest + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if end:
            yield data[:end]


def _parsed(block: bytes) -> tuple[Bytes, Ints, Bytes, Longs]:
    """Of lines "time id parent…": ids (n, 20), number of parents (n,), parents' ids (m, 20), times (n,).

    An id takes 41 characters with the space before it, so a line's length tells the digits of its time and its parents.
    """
    text = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))
    digits = (ends - starts) % 41
    counts = ((ends - starts) // 41 - 1).astype(np.int32)
    times = np.zeros(len(starts), dtype=np.int64)
    for k in range(int(digits.max(initial=0))):
        here = digits > k
        times[here] = times[here] * 10 + (text[starts[here] + k] - ord("0"))
    first = starts + digits + 1
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return _ids(text, first), counts, _ids(text, np.repeat(first, counts) + 41 * (within + 1)), times


def _ids(text: Bytes, starts: Longs) -> Bytes:
    """The ids whose 40 digits begin at `starts`, as bytes."""
    nibbles = _NIBBLE[text[starts[:, None] + np.arange(40)]]
    found: Bytes = (nibbles[:, ::2] << 4) | nibbles[:, 1::2]
    return found


def _joined(parts: list[tuple[Bytes, Ints, Bytes, Longs]]) -> Commits:
    """One graph, with generations, sorted by id. Parents that are not listed (a shallow clone's) are left out."""
    if not parts:
        parts = [_parsed(b"")]
    oids, counts, above, times = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    keys = heads_of(oids)
    order = np.argsort(keys, kind="stable")
    wanted = heads_of(above)
    found = order[np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)] if len(order) else order
    there = (oids[found] == above).all(axis=1) if len(above) else np.zeros(0, dtype=np.bool_)
    owners = np.repeat(np.arange(len(oids)), counts)[there]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=len(oids))))).astype(np.int32)
    targets = found[there].astype(np.int32)
    commits = Commits(oids, offsets, targets, times, _generations(offsets, targets))
    return permuted(commits, order)


def _generations(offsets: Ints, targets: Ints) -> Ints:
    """The longest way to a root, of commits that come after their parents."""
    found = array("i")
    for begin in range(0, len(offsets) - 1, 1 << 16):
        ends = offsets[begin : begin + (1 << 16) + 1].tolist()
        above = targets[ends[0] : ends[-1]].tolist()
        at = 0
        for end in ends[1:]:
            generation = 0
            while at < end - ends[0]:
                generation = max(generation, found[above[at]] + 1)
                at += 1
            found.append(generation)
    return np.array(found, dtype=np.int32)
