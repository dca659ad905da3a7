"""What of a tree a worker does not have yet: each tree and blob goes to a worker once, by its id."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from evogit.values import Oid

FOLDER, SUBMODULE = 0o040000, 0o160000
EMPTY_TREE: Oid = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
REMEMBERED = 1 << 17  # ids by worker; what is forgotten is shipped again, so memory is flat in long runs


class Source(Protocol):
    """What is needed of the store that trees come from."""

    def get(self, oid: Oid) -> tuple[int, bytes]: ...
    def tree(self, oid: Oid) -> Mapping[bytes, tuple[int, Oid]]: ...


@dataclass(frozen=True, slots=True)
class Cargo:
    """One tree on its way. `relies`: what it needs of earlier cargoes that may not have arrived yet."""

    tree: Oid
    objects: Mapping[Oid, tuple[int, bytes]]
    """Id → kind and bytes."""
    relies: tuple[Oid, ...] = ()

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.objects.values())


class Manifest:
    """What one worker has, as far as is known here."""

    def __init__(self) -> None:
        self._there: OrderedDict[Oid, None] = OrderedDict()
        self._underway: dict[Oid, int] = {}
        """Sent by calls that have not returned: how many of them."""

    def pack(self, source: Source, tree: Oid) -> Cargo:
        """The cargo for `tree`. It counts as sent: `arrived` or `failed` must follow."""
        objects: dict[Oid, tuple[int, bytes]] = {}
        relies: list[Oid] = []
        self._collect(source, FOLDER, tree, objects, relies)
        for oid in objects:
            self._underway[oid] = self._underway.get(oid, 0) + 1
        return Cargo(tree, objects, tuple(dict.fromkeys(relies)))

    def _collect(
        self, source: Source, mode: int, oid: Oid, objects: dict[Oid, tuple[int, bytes]], relies: list[Oid]
    ) -> None:
        """A tree that the worker has, it has with all that is in it: there is no need to look inside."""
        if oid in objects or oid == EMPTY_TREE or mode == SUBMODULE:
            return
        if oid in self._there:
            self._there.move_to_end(oid)
            return
        if oid in self._underway:
            relies.append(oid)
            return
        objects[oid] = source.get(oid)
        if mode == FOLDER:
            for inner, child in source.tree(oid).values():
                self._collect(source, inner, child, objects, relies)

    def arrived(self, cargo: Cargo) -> None:
        self.failed(cargo)
        for oid in cargo.objects:
            self._there[oid] = None
        while len(self._there) > REMEMBERED:
            self._there.popitem(last=False)

    def failed(self, cargo: Cargo) -> None:
        """The call ended and nobody knows what it brought: it is shipped again."""
        for oid in cargo.objects:
            left = self._underway.pop(oid, 1) - 1
            if left > 0:
                self._underway[oid] = left

    def forget(self, missing: Iterable[Oid]) -> None:
        """The worker says that it does not have these."""
        for oid in missing:
            self._there.pop(oid, None)
            self._underway.pop(oid, None)
