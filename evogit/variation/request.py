"""What a variation is asked for, and the one protocol that every kind of agent implements."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evogit.values import Proposal, Version, Vocabulary


@dataclass(frozen=True, slots=True)
class Request:
    """The parents of one child and everything chance may draw on.

    `base` is a most recent common ancestor of receiver and mate; `ours` and `theirs` are the editable paths that differ
    between it and each of them. `pool` holds other living individuals, for ingredients.
    """

    receiver: Version
    operator: str
    rng: random.Random
    vocabulary: Vocabulary
    mate: Version | None = None
    base: Version | None = None
    ours: frozenset[str] = frozenset()
    theirs: frozenset[str] = frozenset()
    pool: Sequence[Version] = ()


class Variation(Protocol):
    """A way to make children. `operators` are the arms that allocation chooses among."""

    @property
    def operators(self) -> tuple[str, ...]: ...

    def needs_mate(self, operator: str) -> bool:
        """Whether `operator` is a crossover."""
        ...

    async def propose(self, request: Request) -> Proposal:
        """A child. Raises `VariationError` when these parents have none by this operator."""
        ...

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """What became of a proposal."""
        ...
