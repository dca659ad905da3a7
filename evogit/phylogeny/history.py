"""A frozen commit graph in index arrays: what displays, measures and exports read.

Commits are integers in topological order, parents before children; an oid is looked up once, at the door. Sets of
ancestors are found by one sweep over the arrays with a bit per question, so that 64 heads cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evogit.phylogeny import sweeps
from evogit.values import NOTHING, Direction, Oid

if TYPE_CHECKING:
    import networkx as nx

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one commit beyond its parents. Plain history knows little: every field has a default.

    `decision` is "accepted" or a `Reason`; it is empty for commits that no journal speaks of. `seconds` and `cost` are
    the evaluation's wall-clock time and the models' price; `step` counts the candidates of its run, -1 if unknown.

    Scores compare only on one `scale`: under the same evaluator, in the same epoch. `scores` has what this version
    earned on every scale it was measured on, when there are several.
    """

    agent: str = ""
    host: str = ""
    definition: str = ""
    operator: str = ""
    model: str = ""
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    status: str = ""
    decision: str = ""
    milliseconds: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    tokens: int = 0
    step: int = -1
    epoch: int = 0
    summary: str = ""
    scale: str = ""
    scores: Mapping[str, float] = field(default_factory=lambda: NOTHING)

    def score_on(self, scale: str) -> float | None:
        return self.score if scale == self.scale else self.scores.get(scale)


NO_FACTS = Facts()


def no_facts(_: int) -> Facts:
    return NO_FACTS


@dataclass(frozen=True, eq=False)
class History:
    """`n` commits, parents before children.

    `oids` is (n, 20) bytes; `times` (n,) milliseconds since 1970; the parents of commit i, first parent first, are
    ``parent_targets[parent_offsets[i]:parent_offsets[i + 1]]``. `lookup` gives a commit's `Facts` when asked.
    Parents outside the graph are left out. `names` are branches and tags of plain history, which has no agents.
    """

    oids: Bytes
    parent_offsets: Ints
    parent_targets: Ints
    times: Longs
    lookup: Callable[[int], Facts] = no_facts
    living: frozenset[int] = frozenset()
    promoted: Mapping[int, str] = field(default_factory=dict)
    names: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    pruned: frozenset[int] = frozenset()
    base: int | None = None
    best: int | None = None
    direction: Direction = "maximize"

    def __len__(self) -> int:
        return len(self.oids)

    # Names

    def oid(self, i: int) -> Oid:
        return bytes(self.oids[i]).hex()

    def index(self, oid: Oid) -> int:
        """The commit's number. Raises `KeyError` if it is not in this graph."""
        found = self.find(oid)
        if found is None:
            raise KeyError(oid)
        return found

    def find(self, oid: Oid) -> int | None:
        """The commit's number, or None."""
        wanted = bytes.fromhex(oid)
        keys, order = self._sorted
        at = int(np.searchsorted(keys, np.uint64(int.from_bytes(wanted[:8], "big"))))
        while at < len(order) and bytes(self.oids[order[at]])[:8] == wanted[:8]:
            if bytes(self.oids[order[at]]) == wanted:
                return int(order[at])
            at += 1
        return None

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        heads = np.ascontiguousarray(self.oids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
        order = np.argsort(heads, kind="stable")
        return heads[order], order

    def facts(self, i: int) -> Facts:
        return self.lookup(i)

    # Neighbours

    def parents(self, i: int) -> list[int]:
        """First parent first."""
        found: list[int] = self.parent_targets[self.parent_offsets[i] : self.parent_offsets[i + 1]].tolist()
        return found

    def children(self, i: int) -> list[int]:
        """In topological order, merges as second parent included."""
        offsets, targets = self._children
        found: list[int] = targets[offsets[i] : offsets[i + 1]].tolist()
        return found

    @cached_property
    def edge_children(self) -> Ints:
        """The child of each edge, beside `parent_targets`."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.parent_offsets))

    @cached_property
    def _children(self) -> tuple[Longs, Ints]:
        order = np.argsort(self.parent_targets, kind="stable")
        counts = np.bincount(self.parent_targets, minlength=len(self))
        return np.concatenate(([0], np.cumsum(counts))), self.edge_children[order]

    @cached_property
    def _lists(self) -> tuple[list[int], list[int]]:
        """Offsets and targets as lists, which sweeps run on."""
        return self.parent_offsets.tolist(), self.parent_targets.tolist()

    def tips(self) -> list[int]:
        """Commits without children."""
        childless = np.ones(len(self), dtype=np.bool_)
        childless[self.parent_targets] = False
        return np.flatnonzero(childless).tolist()

    @cached_property
    def first_parents(self) -> Ints:
        """(n,) the first parent of each commit, -1 for roots."""
        found = np.full(len(self), -1, dtype=np.int32)
        some = np.diff(self.parent_offsets) > 0
        found[some] = self.parent_targets[self.parent_offsets[:-1][some]]
        return found

    def first_parent_path(self, i: int) -> list[int]:
        """The commit, its first parent, and so on to a root."""
        above, path = self.first_parents, []
        while i >= 0:
            path.append(i)
            i = int(above[i])
        return path

    @cached_property
    def generations(self) -> Ints:
        """(n,) the longest way to a root in edges: 0 for roots."""
        offsets, targets = self._lists
        found = [0] * len(self)
        for i in range(len(self)):
            for parent in targets[offsets[i] : offsets[i + 1]]:
                if found[parent] >= found[i]:
                    found[i] = found[parent] + 1
        return np.array(found, dtype=np.int32)

    # Ancestry

    def ancestors(self, i: int) -> Mask:
        """(n,) which commits are ancestors of `i`, `i` included."""
        return np.frombuffer(sweeps.ancestors(self._lists, i), dtype=np.bool_)

    def descendants(self, i: int) -> Mask:
        """(n,) which commits are descendants of `i`, `i` included."""
        seen, open_ones = bytearray(len(self)), [i]
        seen[i] = 1
        while open_ones:
            for child in self.children(open_ones.pop()):
                if not seen[child]:
                    seen[child] = 1
                    open_ones.append(child)
        return np.frombuffer(seen, dtype=np.bool_)

    def reached(self, heads: Sequence[int]) -> list[int]:
        """For each commit a bit set of the `heads` (bit k: ``heads[k]``) that it is an ancestor of or equal to."""
        return sweeps.reached(self._lists, heads)

    def apart(self, heads: Sequence[int]) -> dict[int, int]:
        """How many commits have each bit set of `reached`, those left out that all `heads` descend from."""
        return sweeps.apart(self._lists, heads)

    def is_ancestor(self, a: int, b: int) -> bool:
        """Whether `a` is an ancestor of `b`, or `b` itself."""
        return sweeps.is_ancestor(self._lists, a, b)

    def are_ancestors(self, pairs: Sequence[tuple[int, int]]) -> list[bool]:
        """`is_ancestor` of many (a, b) in one sweep."""
        heads = sorted({b for _, b in pairs})
        bit = {head: k for k, head in enumerate(heads)}
        words = sweeps.reached(self._lists, heads, min((a for a, _ in pairs), default=0))
        return [bool(words[a] >> bit[b] & 1) for a, b in pairs]

    def mrca(self, *heads: int) -> list[int]:
        """The best common ancestors of all `heads`: none is an ancestor of another.

        For two heads that is ``git merge-base --all``, for more ``git merge-base --octopus --all``.
        """
        return sweeps.common_ancestors(self._lists, heads)

    def distance(self, a: int, b: int) -> int:
        """Commits reachable from exactly one of the two: ``git rev-list --count a...b``."""
        return int(self.all_distances([a, b])[0, 1])

    def all_distances(self, heads: Sequence[int]) -> Longs:
        """(k, k) `distance` of each pair of `heads`.

        Commits reached by the same heads count together, and there are few such groups; their sizes, weighted by
        which heads they belong to, give all intersections as one matrix product. What all share does not matter.
        """
        k = len(heads)
        groups = self.apart(heads)
        width = (k + 7) // 8
        packed = b"".join(word.to_bytes(width, "little") for word in groups)
        table = np.frombuffer(packed, dtype=np.uint8).reshape(len(groups), width)
        bits = np.unpackbits(table, axis=1, bitorder="little")[:, :k].astype(np.float64)
        sizes = np.fromiter(groups.values(), dtype=np.float64, count=len(groups))
        shared = (bits * sizes[:, None]).T @ bits  # exact: counts stay far below 2**53
        own = shared.diagonal()
        return np.rint(own[:, None] + own[None, :] - 2 * shared).astype(np.int64)

    # Parts and other forms

    def restrict(self, mask: Mask) -> History:
        """Only the commits of `mask`; edges to others go."""
        kept = np.flatnonzero(mask)
        number = np.full(len(self), -1, dtype=np.int32)
        number[kept] = np.arange(len(kept), dtype=np.int32)
        edges = mask[self.edge_children] & mask[self.parent_targets]
        counts = np.bincount(number[self.edge_children[edges]], minlength=len(kept))
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        original, lookup = kept.tolist(), self.lookup

        def moved(i: int | None) -> int | None:
            return int(number[i]) if i is not None and mask[i] else None

        return replace(
            self,
            oids=self.oids[kept],
            parent_offsets=offsets,
            parent_targets=number[self.parent_targets[edges]],
            times=self.times[kept],
            lookup=lambda i: lookup(original[i]),
            living=frozenset(int(number[i]) for i in self.living if mask[i]),
            promoted={int(number[i]): name for i, name in self.promoted.items() if mask[i]},
            names={int(number[i]): names for i, names in self.names.items() if mask[i]},
            pruned=frozenset(int(number[i]) for i in self.pruned if mask[i]),
            base=moved(self.base),
            best=moved(self.best),
        )

    def to_networkx(self) -> nx.DiGraph[str]:
        """Edges run from parent to child, as phylogenies do; `rank` 0 marks the edge from the first parent.

        Node attributes are the facts that are known, `time`, `generation`, `living`, `promoted`, `pruned`.
        """
        import networkx as nx  # a tenth of a second, which no other reader of a history should wait for

        graph: nx.DiGraph[str] = nx.DiGraph()
        names = [self.oid(i) for i in range(len(self))]
        for i, name in enumerate(names):
            graph.add_node(name, **self._attributes(i))
            for rank, parent in enumerate(self.parents(i)):
                graph.add_edge(names[parent], name, rank=rank)
        return graph

    def _attributes(self, i: int) -> dict[str, Any]:
        facts = self.facts(i)
        found = {key: getattr(facts, key) for key in Facts.__dataclass_fields__ if key not in ("metrics", "scores")}
        known = {key: value for key, value in found.items() if value != getattr(NO_FACTS, key)}
        known |= {f"metric.{name}": value for name, value in facts.metrics.items()}
        known |= {"time": int(self.times[i]), "generation": int(self.generations[i])}
        if i in self.living:
            known["living"] = True
        if i in self.pruned:
            known["pruned"] = True
        if i in self.promoted:
            known["promoted"] = self.promoted[i]
        return known


def from_edges(
    oids: Sequence[Oid],
    parents: Sequence[Sequence[int]],
    times: Iterable[int] | None = None,
    facts: Sequence[Facts] | None = None,
    **rest: Any,
) -> History:
    """A graph from each commit's parents as numbers, parents before children. `rest` are `History`'s other fields.

    Raises:
        ValueError: a parent does not come before its child.
    """
    n = len(oids)
    if any(not 0 <= p < i for i, above in enumerate(parents) for p in above):
        raise ValueError("a parent must come before its child")
    counts = np.fromiter((len(above) for above in parents), dtype=np.int32, count=n)
    targets = np.fromiter((p for above in parents for p in above), dtype=np.int32, count=int(counts.sum()))
    return History(
        np.frombuffer(bytes.fromhex("".join(oids)), dtype=np.uint8).reshape(n, 20),
        np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        targets,
        np.arange(n, dtype=np.int64) * 1000 if times is None else np.fromiter(times, dtype=np.int64, count=n),
        no_facts if facts is None else facts.__getitem__,
        **rest,
    )
