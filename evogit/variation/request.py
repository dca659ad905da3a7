"""What a variation is asked for, and the one protocol that every kind of agent implements."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

from evogit.errors import VariationError
from evogit.values import Call, Direction, Evaluation, Proposal, Reason, Version, Vocabulary


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier candidate or attempt on the same lines that came to nothing."""

    summary: str
    outcome: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Relative:
    """A version shown as inspiration: how it differs from the receiver, as a unified diff."""

    score: float | None
    summary: str
    diff: str


@dataclass(frozen=True, slots=True)
class Background:
    """What a prompt may tell beside the parents' text. `paths`: the files of the receiver's tree."""

    task: str
    goal: str
    direction: Direction
    stage: str = ""
    guidance: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    evaluation: Evaluation | None = None
    best: float | None = None
    paths: tuple[str, ...] = ()
    failures: Callable[[str, int, int], Iterable[Past]] = lambda _path, _start, _end: ()
    """Of a path and a range of its lines."""
    relatives: Callable[[int], Sequence[Relative]] = lambda _count: ()
    whole: Callable[[], Mapping[str, bytes]] = dict
    """Every regular file of the receiver's tree, for programs that need the whole."""


EMPTY = Background("", "", "maximize")


class Fruitless(VariationError):
    """A model or a program was asked, and there is no child: what was said and what it cost are kept."""

    def __init__(
        self, message: str, reason: Reason, calls: tuple[Call, ...] = (), evidence: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(message, reason.value)
        self.calls, self.evidence = calls, evidence or {}


class Retired(VariationError):
    """This agent can make no child any more in this run: all its models have left it."""


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
    pool: Pool = field(default_factory=lambda: Pool(()))
    background: Callable[[], Background] = lambda: EMPTY
    agent: str = ""
    model: str = ""
    """The model that allocation chose, by its name in the configuration."""


class Pool(Sequence[Version]):
    """Individuals to take ingredients from; `drawn` once anybody looked, so that only then they are on record."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self._versions = tuple(versions)
        self.drawn = False

    @overload
    def __getitem__(self, at: int) -> Version: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Version]: ...

    def __getitem__(self, at: int | slice) -> Version | Sequence[Version]:
        self.drawn = True
        return self._versions[at]

    def __len__(self) -> int:
        return len(self._versions)


class Variation(Protocol):
    """A way to make children. `operators` are the arms that allocation chooses among.

    `waits`: whether a child takes a model's time rather than this processor's.
    """

    @property
    def operators(self) -> tuple[str, ...]: ...

    @property
    def waits(self) -> bool: ...

    def needs_mate(self, operator: str) -> bool:
        """Whether `operator` is a crossover."""
        ...

    async def propose(self, request: Request) -> Proposal:
        """A child. Raises `VariationError` when these parents have none by this operator."""
        ...

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """What became of a proposal."""
        ...
