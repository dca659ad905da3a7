"""What every rendering draws: the shown commits with their facts, links to shown ancestors, and honest counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evogit.values import NOTHING, Direction, Oid

KINDS = ("best", "promoted", "pruned", "start", "living", "accepted", "rejected", "commit")
"""What a node is first of all, the most remarkable first; `Node.marks` holds all that are true."""


@dataclass(frozen=True, slots=True)
class Link:
    """A way up to a shown ancestor: its position in the picture, and how many commits on the way are not shown."""

    parent: int
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One shown commit with its `Facts`. Empty strings, None and a step of -1 stand for what is not known.

    `links` go to the nearest shown ancestors, the receiver's side first. `folded` counts the commits of the selection
    that are not shown and whose nearest shown ancestor (by first parents) this is. `change` is the score minus the
    first parent's. `names` are the branches that stand here: agents of the living, names of promoted versions.
    """

    oid: Oid
    links: tuple[Link, ...] = ()
    parents: tuple[Oid, ...] = ()
    folded: int = 0
    marks: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    agent: str = ""
    host: str = ""
    definition: str = ""
    operator: str = ""
    model: str = ""
    score: float | None = None
    change: float | None = None
    metrics: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    status: str = ""
    decision: str = ""
    milliseconds: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    tokens: int = 0
    step: int = -1
    epoch: int = 0
    generation: int = 0
    summary: str = ""

    @property
    def kind(self) -> str:
        return next((kind for kind in KINDS if kind in self.marks), "commit")


@dataclass(frozen=True, slots=True)
class Picture:
    """Shown nodes, parents before children. `total` counts the selection: shown, folded and `elsewhere`.

    `elsewhere` are folded commits without any shown ancestor. `history` counts the whole graph.
    """

    nodes: tuple[Node, ...]
    total: int
    history: int
    elsewhere: int = 0
    direction: Direction = "maximize"
    run: str = ""
    task: str = ""

    @property
    def folded(self) -> int:
        return self.total - len(self.nodes)

    @property
    def counts(self) -> str:
        """How much is shown, for people."""
        text = f"{len(self.nodes):,} of {self.total:,} commits" if self.folded else f"{self.total:,} commits"
        if self.total < self.history:
            text += f" selected from {self.history:,}"
        return f"{text}, {self.folded:,} folded" if self.folded else text

    @property
    def title(self) -> str:
        return " · ".join(part for part in (self.run and f"run {self.run}", self.task) if part) or "history"


def number(value: float | None) -> str:
    """A score for people."""
    return "" if value is None else f"{value:.6g}"
