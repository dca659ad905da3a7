"""Object ids by the number, in arrays: a run keeps something of each of its commits, and it may have a million.

A dictionary from id to id costs 300 bytes an entry in Python; `Column` costs 4, and each id 30 once (`Names`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from evogit.values import Oid

WIDTH = 20  # bytes of an id
EMPTY = 0xFFFFFFFF
RECENT = 2048  # ids whose numbers are remembered as they are written

V = TypeVar("V")
H = TypeVar("H", bound=Hashable)


class Numbering(Protocol[V]):
    """Values by the number."""

    def number(self, value: V) -> int:
        """Of a value; a new one if it has none."""
        ...

    def __getitem__(self, number: int) -> V: ...


class Slots:
    """Finds rows by the hash of their key, which `hashed` tells of a row: open addressing, 6 to 12 bytes a row."""

    def __init__(self, hashed: Callable[[int], int]) -> None:
        self._hashed = hashed
        self._slots = array("I", [EMPTY]) * 16
        self._used = 0

    def rows(self, key: int) -> Iterator[int]:
        """Rows whose key may have this hash."""
        slots = self._slots
        mask = len(slots) - 1
        at = key & mask
        while slots[at] != EMPTY:
            yield slots[at]
            at = (at + 1) & mask

    def add(self, row: int) -> None:
        """Take in a row, whose key no other row has."""
        self._used += 1
        if 3 * self._used > 2 * len(self._slots):
            rows = [row for row in self._slots if row != EMPTY]
            self._slots = array("I", [EMPTY]) * (2 * len(self._slots))
            for known in rows:
                self._put(known)
        self._put(row)

    def _put(self, row: int) -> None:
        slots = self._slots
        mask = len(slots) - 1
        at = self._hashed(row) & mask
        while slots[at] != EMPTY:
            at = (at + 1) & mask
        slots[at] = row


class Names:
    """Object ids, numbered as they come."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._slots = Slots(lambda row: hash(self._raw(row)))
        self._recent: dict[Oid, int] = {}  # a run asks again and again for the few ids that it is at

    def __len__(self) -> int:
        return len(self._bytes) // WIDTH

    def __contains__(self, oid: object) -> bool:
        return isinstance(oid, str) and self.find(oid) is not None

    def __getitem__(self, number: int) -> Oid:
        return self._raw(number).hex()

    def __iter__(self) -> Iterator[Oid]:
        return (self[number] for number in range(len(self)))

    def _raw(self, number: int) -> bytes:
        return bytes(self._bytes[WIDTH * number : WIDTH * (number + 1)])

    def find(self, oid: Oid) -> int | None:
        """The number of an id, if it has one."""
        found = self._recent.get(oid)
        if found is not None:
            return found
        try:
            raw = bytes.fromhex(oid)
        except ValueError:
            return None
        for row in self._slots.rows(hash(raw)):
            if self._bytes[WIDTH * row : WIDTH * (row + 1)] == raw:
                return self._remember(oid, row)
        return None

    def _remember(self, oid: Oid, number: int) -> int:
        if len(self._recent) >= RECENT:
            self._recent.clear()
        self._recent[oid] = number
        return number

    def number(self, oid: Oid) -> int:
        """The number of an id; a new one if it has none."""
        found = self.find(oid)
        if found is not None:
            return found
        raw, number = bytes.fromhex(oid), len(self)
        if len(raw) != WIDTH:
            raise ValueError(f"{oid!r} is no object id")
        self._bytes += raw
        self._slots.add(number)
        return self._remember(oid, number)


class Distinct(Generic[H]):
    """Values of which there are few, each kept once."""

    def __init__(self) -> None:
        self._values: list[H] = []
        self._numbers: dict[H, int] = {}

    def __getitem__(self, number: int) -> H:
        return self._values[number]

    def number(self, value: H) -> int:
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number


class Column(Mapping[Oid, V]):
    """Something of each of many ids. Columns of one table share `names`."""

    def __init__(self, names: Names, values: Numbering[V]) -> None:
        self._names, self._values = names, values
        self._numbers = array("I")
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def __iter__(self) -> Iterator[Oid]:
        return (self._names[row] for row, number in enumerate(self._numbers) if number != EMPTY)

    def __contains__(self, oid: object) -> bool:
        return isinstance(oid, str) and self._number(oid) != EMPTY

    def __getitem__(self, oid: Oid) -> V:
        number = self._number(oid)
        if number == EMPTY:
            raise KeyError(oid)
        return self._values[number]

    def __setitem__(self, oid: Oid, value: V) -> None:
        row, number = self._names.number(oid), self._values.number(value)
        if row >= len(self._numbers):
            self._numbers.extend([EMPTY] * (row + 1 - len(self._numbers)))
        self._used += self._numbers[row] == EMPTY
        self._numbers[row] = number

    def _number(self, oid: Oid) -> int:
        row = self._names.find(oid)
        return EMPTY if row is None or row >= len(self._numbers) else self._numbers[row]
