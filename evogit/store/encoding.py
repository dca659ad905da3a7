"""What Git's commits and trees are as bytes, and a memory of those that were read last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from evogit.values import Oid

FOLDER = 0o040000

Entry = tuple[int, Oid]
"""Git mode and object id."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Commit:
    tree: Oid
    parents: tuple[Oid, ...]
    author: str
    time: int
    message: str


class Recent(OrderedDict[str, _T]):
    """The most recently used values, at most `size` of them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def get(self, key: str, default: _T | None = None) -> _T | None:  # type: ignore[override]  # one key type only
        value = super().get(key)
        if value is None:
            return default
        self.move_to_end(key)
        return value

    def put(self, key: str, value: _T) -> None:
        self[key] = value
        if len(self) > self._size:
            self.popitem(last=False)


def parse_commit(data: bytes) -> Commit:
    head, _, message = data.partition(b"\n\n")
    tree, parents, author, time = "", [], "", 0
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key == b"tree":
            tree = value.decode()
        elif key == b"parent":
            parents.append(value.decode())
        elif key == b"author":
            author = value.rpartition(b" <")[0].decode("utf-8", "replace")
        elif key == b"committer":
            fields = value.rsplit(b" ", 2)
            time = int(fields[1]) if len(fields) == 3 and fields[1].lstrip(b"-").isdigit() else 0
    return Commit(tree, tuple(parents), author, time, message.decode("utf-8", "replace"))


def parse_tree(data: bytes) -> dict[bytes, Entry]:
    out = {}
    at, end = 0, len(data)
    while at < end:
        nul = data.index(b"\0", at)
        mode, _, name = data[at:nul].partition(b" ")
        at = nul + 21
        out[name] = (int(mode, 8), data[nul + 1 : at].hex())
    return out


def tree_entry(name: bytes, entry: Entry) -> bytes:
    return b"%o %s\0" % (entry[0], name) + bytes.fromhex(entry[1])


def tree_order(item: tuple[bytes, Entry]) -> bytes:
    name, (mode, _) = item
    return name + b"/" if mode == FOLDER else name
