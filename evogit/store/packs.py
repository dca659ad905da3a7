"""Write one Git pack and its index: the batch that makes many objects durable with two files.

Loose objects cost three of the four milliseconds a candidate needs on disk (design, section 6); a pack costs two
file creations and one fsync for a whole batch. Formats: gitformat-pack(5), version 2 of both files. Objects are
stored whole; Git's own maintenance computes deltas later.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}


def object_id(kind: int, data: bytes) -> str:
    """The SHA-1 object id, 40 hexadecimal characters."""
    return hashlib.sha1(b"%s %d\0" % (NAMES[kind], len(data)) + data, usedforsecurity=False).hexdigest()


def read_loose(folder: Path, oid: str) -> tuple[int, bytes] | None:
    """Kind and bytes of an object with a file of its own below the object `folder`; None if it has none.

    libgit2 never comes back from a loose object whose compressed bytes end too early, as on a bad disk.

    Raises:
        ValueError: the bytes are not what the id says.
    """
    try:
        with open(f"{folder}/{oid[:2]}/{oid[2:]}", "rb") as file:  # a path object costs more than the rest
            packed = file.read()
    except OSError:
        return None
    try:
        unpacker = zlib.decompressobj()
        head, nul, data = unpacker.decompress(packed).partition(b"\0")
    except zlib.error as error:
        raise ValueError(f"its file is corrupt: {error}") from error
    kinds = {name: kind for kind, name in NAMES.items()}
    kind = kinds.get(head.partition(b" ")[0])
    if kind is None or not unpacker.eof or hashlib.sha1(head + nul + data, usedforsecurity=False).hexdigest() != oid:
        raise ValueError("its file is corrupt")
    return kind, data


def write(folder: Path, objects: Sequence[tuple[str, int, bytes]]) -> Path:
    """Write `objects` (id, kind, data) as ``pack-*.pack`` and ``.idx`` in `folder`; return the pack's ``.keep`` file.

    The keep file shields the pack from a concurrent ``git gc --prune=now`` until refs point into it: delete it then.
    The index appears last and by rename, so that a reader never sees half a pack.

    Raises:
        OSError: the disk is full or not writable. Nothing half-written stays visible to Git.
    """
    body = bytearray(struct.pack(">4sII", b"PACK", 2, len(objects)))
    rows = []
    for oid, kind, data in objects:
        start = len(body)
        body += _header(kind, len(data))
        body += zlib.compress(data, 1)
        rows.append((bytes.fromhex(oid), zlib.crc32(memoryview(body)[start:]), start))
    trailer = hashlib.sha1(body, usedforsecurity=False).digest()
    body += trailer
    rows.sort()
    index = _index(rows, trailer)
    stem = folder / f"pack-{trailer.hex()}"
    keep = stem.with_suffix(".keep")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        keep.write_text(f"evogit {os.getpid()}\n")
        _publish(stem.with_suffix(".pack"), bytes(body))
        _publish(stem.with_suffix(".idx"), index)
    except OSError:
        for suffix in (".idx", ".pack", ".keep"):
            stem.with_suffix(suffix).unlink(missing_ok=True)
        raise
    return keep


def _header(kind: int, size: int) -> bytes:
    byte = (kind << 4) | (size & 15)
    size >>= 4
    out = bytearray()
    while size:
        out.append(byte | 0x80)
        byte = size & 0x7F
        size >>= 7
    out.append(byte)
    return bytes(out)


def _index(rows: list[tuple[bytes, int, int]], trailer: bytes) -> bytes:
    fanout = [0] * 256
    for oid, _, _ in rows:
        fanout[oid[0]] += 1
    total = 0
    for i, count in enumerate(fanout):
        total += count
        fanout[i] = total
    large = [offset for _, _, offset in rows if offset >= 1 << 31]
    offsets, seen = [], 0
    for _, _, offset in rows:
        if offset >= 1 << 31:
            offsets.append(0x80000000 | seen)
            seen += 1
        else:
            offsets.append(offset)
    out = b"".join(
        [
            b"\377tOc\0\0\0\2",
            struct.pack(">256I", *fanout),
            *(oid for oid, _, _ in rows),
            struct.pack(f">{len(rows)}I", *(crc for _, crc, _ in rows)),
            struct.pack(f">{len(rows)}I", *offsets),
            struct.pack(f">{len(large)}Q", *large),
            trailer,
        ]
    )
    return out + hashlib.sha1(out, usedforsecurity=False).digest()


def _publish(path: Path, data: bytes) -> None:
    partial = path.with_name(f"tmp_{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        partial.chmod(0o444)
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
