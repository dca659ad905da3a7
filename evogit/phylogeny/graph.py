"""Ancestry in memory: commits as integers in topological order, ancestor sets of the living as bit masks.

A commit's number is larger than its parents', so the highest bit common to two ancestor sets is a best common ancestor,
found in one machine-word sweep: 64 heads of 100,000 commits, all pairs, in 0.04 s (design, section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evogit.values import Oid


class Phylogeny:
    """Commits and their parents. Parents outside the graph (history before the run) are ignored.

    Ancestor masks (a commit's own bit included) are kept for commits asked for lately: N/8 bytes each, N commits.
    """

    def __init__(self, mask_limit: int = 1024) -> None:
        self._number: dict[Oid, int] = {}
        self._oids: list[Oid] = []
        self._parents: list[tuple[int, ...]] = []
        self._masks: dict[int, int] = {}
        self._limit = mask_limit

    def __len__(self) -> int:
        return len(self._oids)

    def __contains__(self, oid: object) -> bool:
        return oid in self._number

    def add(self, oid: Oid, parents: Sequence[Oid]) -> None:
        """Append a commit. Its parents must have been added before, or they count as outside."""
        if oid in self._number:
            return
        known = tuple(self._number[p] for p in parents if p in self._number)
        self._number[oid] = len(self._oids)
        self._oids.append(oid)
        self._parents.append(known)

    def parents(self, oid: Oid) -> tuple[Oid, ...]:
        return tuple(self._oids[n] for n in self._parents[self._number[oid]])

    def is_ancestor(self, a: Oid, b: Oid) -> bool:
        """Whether `a` is an ancestor of `b`, or `b` itself."""
        return bool(self._mask(self._number[b]) >> self._number[a] & 1)

    def common_ancestor(self, a: Oid, b: Oid) -> Oid | None:
        """One best common ancestor (no descendant of it is common too), or None."""
        common = self._mask(self._number[a]) & self._mask(self._number[b])
        return self._oids[common.bit_length() - 1] if common else None

    def distance(self, a: Oid, b: Oid) -> int:
        """Commits reachable from exactly one of the two: ``git rev-list --count a...b``."""
        return (self._mask(self._number[a]) ^ self._mask(self._number[b])).bit_count()

    def retain(self, living: Iterable[Oid]) -> None:
        """Forget the masks of all but `living`, when there are more than the limit."""
        if len(self._masks) > self._limit:
            keep = {self._number[oid] for oid in living if oid in self._number}
            self._masks = {n: mask for n, mask in self._masks.items() if n in keep}

    def _mask(self, number: int) -> int:
        known = self._masks.get(number)
        if known is not None:
            return known
        mask = self._sweep(number) if all(p not in self._masks for p in self._parents[number]) else 1 << number
        for parent in self._parents[number]:
            mask |= self._masks[parent] if parent in self._masks else self._sweep(parent)
        self._masks[number] = mask
        return mask

    def _sweep(self, number: int) -> int:
        """The mask of one commit, walking back until commits whose masks are known."""
        mask, open_ones, seen = 0, [number], {number}
        bits = bytearray(number // 8 + 1)
        while open_ones:
            at = open_ones.pop()
            known = self._masks.get(at)
            if known is not None:
                mask |= known
                continue
            bits[at >> 3] |= 1 << (at & 7)
            for parent in self._parents[at]:
                if parent not in seen:
                    seen.add(parent)
                    open_ones.append(parent)
        return mask | int.from_bytes(bits, "little")
