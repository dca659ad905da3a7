"""Damaged packs: told by their checksums, and mended: what is still whole in them is read out without Git's index.

Git and libgit2 open no pack whose end is cut off, and ``git unpack-objects -r`` finds nothing behind the first damaged
object. So a pack is read from its first byte on, and behind damage the next whole object is looked for: a header whose
size fits a zlib stream that ends with the right checksum. Format: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import mmap
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evogit.errors import StoreError
from evogit.store.encoding import Recent
from evogit.store.objects import Objects
from evogit.store.packs import NAMES, object_id
from evogit.store.repository import Repository
from evogit.store.salvage import flush, index_again, set_aside
from evogit.values import Oid

OFFSET_DELTA, ID_DELTA = 6, 7
HEAD, TRAILER = 12, 20  # bytes before the first object and after the last
CHUNK = 1 << 12  # compressed bytes given to zlib at a time: most objects are smaller
CACHED = 256  # objects kept as bases of deltas
BATCH = 1 << 26  # bytes of objects that are written as one pack

Content = tuple[int, bytes]
"""An object's kind and bytes."""


def damaged_packs(repository: Repository) -> list[Path]:
    """Packs that are not whole, whose index is not, or of which only the index is left."""
    folder = repository.common_dir / "objects/pack"
    found = {path.with_suffix(".pack") for path in (*folder.glob("pack-*.pack"), *folder.glob("pack-*.idx"))}
    return sorted(pack for pack in found if _state(pack) != "whole")


def mend_pack(repository: Repository, run: str, pack: Path) -> str:
    """Make a pack's index again, or put what can be read of a damaged pack into another; what was done.

    What was there is set aside, once its objects are safe.
    """
    if _state(pack) == "index":
        _aside(repository, run, pack, ".idx", ".rev")
        if index_again(repository, pack):
            return "its index was missing or damaged, and is made again"
    objects = repository.objects()
    count = size = 0
    for kind, data in rescue(pack, lambda oid: _read(objects, oid)) if pack.exists() else ():
        objects.put(kind, data)
        count, size = count + 1, size + len(data)
        if size > BATCH:
            size = 0
            flush(objects)
    flush(objects)
    _aside(repository, run, pack, ".pack", ".idx", ".rev", ".bitmap", ".mtimes", ".keep")
    for path in pack.parent.glob("multi-pack-index*"):
        set_aside(repository, run, path)  # it names the pack; Git makes it again
    return f"it is damaged: the {count} objects of it that can be read are in another pack now"


def _aside(repository: Repository, run: str, pack: Path, *suffixes: str) -> None:
    for path in map(pack.with_suffix, suffixes):
        if path.exists():
            set_aside(repository, run, path)


def _read(objects: Objects, oid: Oid) -> Content | None:
    try:
        return objects.get(oid)
    except StoreError:
        return None


def _state(pack: Path) -> Literal["whole", "index", "pack"]:
    """Whether all is well with a pack, only its index is damaged or missing, or the pack itself is damaged."""
    trailer = _trailer(pack)
    if trailer is None:
        return "pack"
    index = pack.with_suffix(".idx")
    if _trailer(index) is None:
        return "index"
    with index.open("rb") as file:
        file.seek(-2 * TRAILER, 2)
        return "whole" if file.read(TRAILER) == trailer else "index"


def _trailer(path: Path) -> bytes | None:
    """The checksum at the end of a pack or an index, if it is that of the rest."""
    try:
        left = path.stat().st_size - TRAILER
        digest = hashlib.sha1(usedforsecurity=False)
        with path.open("rb") as file:
            while left > 0 and (data := file.read(min(left, 1 << 20))):
                digest.update(data)
                left -= len(data)
            end = file.read()
    except OSError:
        return None
    return end if end == digest.digest() else None


def rescue(pack: Path, elsewhere: Callable[[Oid], Content | None]) -> Iterator[Content]:
    """Every object of a pack that can be read; `elsewhere` has bases of deltas that are not in it.

    Raises:
        OSError: the file cannot be read at all.
    """
    if pack.stat().st_size <= HEAD:
        return
    with pack.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        wreck = _Wreck(data, elsewhere)
        waiting = []
        for offset in wreck.scan():
            found = wreck.content(offset)
            if found is None:
                waiting.append(offset)
            else:
                yield found
        progress = True
        while progress:  # a base may stand behind its delta: ``git index-pack --fix-thin`` puts it at the end
            still = []
            for offset in waiting:
                found = wreck.content(offset)
                if found is None:
                    still.append(offset)
                else:
                    yield found
            progress, waiting = len(still) < len(waiting), still


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an object stands: its kind, the base of a delta, its size and where its compressed bytes begin."""

    kind: int
    base: int | Oid | None
    size: int
    begin: int


@dataclass(slots=True)
class _Wreck:
    data: mmap.mmap
    elsewhere: Callable[[Oid], Content | None]
    places: dict[int, _Place] = field(default_factory=dict)
    offsets: dict[Oid, int] = field(default_factory=dict)
    cache: Recent[Content] = field(default_factory=lambda: Recent(CACHED))

    def scan(self) -> Iterator[int]:
        """Offsets of whole objects, the first one first."""
        at = HEAD
        while at < len(self.data):
            place = self._head(at)
            found = self._inflate(place) if place is not None else None
            if place is None or found is None:
                at += 1
                continue
            self.places[at] = place
            yield at
            at = found[1]

    def content(self, offset: int) -> Content | None:
        """The object at `offset`, its deltas applied; None where a base is not known (yet)."""
        deltas: list[bytes] = []
        found: Content | None = None
        at: int | None = offset
        while found is None:
            place = self.places.get(at) if at is not None else None
            if place is None:
                return None
            if found := self.cache.get(str(at)):
                break
            read = self._inflate(place)
            if read is None:
                return None
            if place.base is None:
                found = (place.kind, read[0])
            else:
                deltas.append(read[0])
                at = place.base if isinstance(place.base, int) else self.offsets.get(place.base)
                found = self.elsewhere(place.base) if at is None and isinstance(place.base, str) else None
        for delta in reversed(deltas):
            made = apply_delta(found[1], delta)
            if made is None:
                return None
            found = (found[0], made)
        self.cache.put(str(offset), found)
        self.offsets[object_id(*found)] = offset
        return found

    def _head(self, at: int) -> _Place | None:
        data, end = self.data, len(self.data) - 1
        start, byte = at, data[at]
        kind, size, shift = (byte >> 4) & 7, byte & 15, 4
        if kind not in NAMES and kind not in (OFFSET_DELTA, ID_DELTA):
            return None
        while byte & 0x80 and at < end and shift < 60:
            at += 1
            byte = data[at]
            size |= (byte & 0x7F) << shift
            shift += 7
        at += 1
        base: int | Oid | None = None
        if kind == ID_DELTA:
            base, at = data[at : at + 20].hex(), at + 20
        elif kind == OFFSET_DELTA and at < end:
            byte = data[at]
            back = byte & 0x7F
            while byte & 0x80 and at < end:
                at += 1
                byte = data[at]
                back = ((back + 1) << 7) | (byte & 0x7F)
            base, at = start - back, at + 1
        # Every writer of packs has the largest zlib window, and so this first byte: most that is no object ends here.
        sensible = at < end and data[at] == 0x78 and base != start
        return _Place(kind, base, size, at) if sensible else None

    def _inflate(self, place: _Place) -> tuple[bytes, int] | None:
        """The bytes of the compressed stream of a place, and where it ends; None if it is not whole."""
        unpacker, parts, size, at = zlib.decompressobj(), [], 0, place.begin
        try:
            while not unpacker.eof and at < len(self.data) and size <= place.size:
                chunk = self.data[at : at + CHUNK]
                parts.append(unpacker.decompress(chunk))
                size, at = size + len(parts[-1]), at + len(chunk)
        except zlib.error:
            return None
        whole = unpacker.eof and size == place.size
        return (b"".join(parts), at - len(unpacker.unused_data)) if whole else None


def apply_delta(base: bytes, delta: bytes) -> bytes | None:
    """What a delta makes of its base; None if it was made for another."""
    try:
        expected, at = _size(delta, 0)
        wanted, at = _size(delta, at)
        if expected != len(base):
            return None
        parts = []
        while at < len(delta):
            order, at = delta[at], at + 1
            if order & 0x80:
                fields = [0] * 7
                for bit in range(7):
                    if order >> bit & 1:
                        fields[bit], at = delta[at], at + 1
                start = int.from_bytes(bytes(fields[:4]), "little")
                length = int.from_bytes(bytes(fields[4:]), "little") or 0x10000
                parts.append(base[start : start + length])
            else:
                parts.append(delta[at : at + order])
                at += order
    except IndexError:
        return None
    made = b"".join(parts)
    return made if len(made) == wanted else None


def _size(delta: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte, at = delta[at], at + 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, at
