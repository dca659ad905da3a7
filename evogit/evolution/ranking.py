"""The best version of every epoch and evaluator, whatever order the journals are read in, without who is extinct."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from evogit.store.journal import Clock
from evogit.values import Direction, Evaluation, Oid, better

VALIDATION = -1
"""The epoch under which validation scores are kept: they hold in every epoch."""

Order = tuple[Clock, str, int]
Key = tuple[Oid, str, int]
"""Tree, evaluator digest, epoch."""


@dataclass(frozen=True, slots=True)
class Champion:
    """The best version known. `score` is the validation score where the task has one, else the score."""

    commit: Oid
    tree: Oid
    host: str
    agent: str
    score: float
    evaluation: Evaluation
    validated: bool
    order: Order


@dataclass(slots=True)
class Ranking:
    """Champions by (evaluator digest, epoch). Among equals the earliest entry counts, so that all readers agree."""

    _champions: dict[tuple[str, int], Champion] = field(default_factory=dict)
    _scored: dict[tuple[str, int], dict[Oid, Order]] = field(default_factory=dict)
    """Every scored version, with when it first was."""

    def get(self, digest: str, epoch: int) -> Champion | None:
        return self._champions.get((digest, epoch))

    def take(self, digest: str, champion: Champion, direction: Direction, extinct: Set[Oid]) -> bool:
        """A version was scored; whether that is the best score so far."""
        key = (digest, champion.evaluation.epoch)
        orders = self._scored.setdefault(key, {})
        orders[champion.commit] = min(orders.get(champion.commit, champion.order), champion.order)
        if champion.commit in extinct:
            return False
        held = self._champions.get(key)
        if held is not None and not _before(champion, held, direction):
            return False
        self._champions[key] = champion
        return held is None or champion.score != held.score

    def anew(
        self,
        direction: Direction,
        extinct: Set[Oid],
        trees: Mapping[Oid, Oid],
        makers: Mapping[Oid, tuple[str, str]],
        results: Mapping[Key, Evaluation],
    ) -> None:
        """After a decision: the champions among who is left."""
        self._champions.clear()
        for (digest, epoch), orders in self._scored.items():
            for commit, order in orders.items():
                result = results.get((trees[commit], digest, epoch))
                if result is None or result.score is None or commit in extinct:
                    continue
                held = self._champions.get((digest, epoch))
                validated = epoch == VALIDATION
                made = Champion(commit, trees[commit], *makers[commit], result.score, result, validated, order)
                if held is None or _before(made, held, direction):
                    self._champions[(digest, epoch)] = made

    def forget_before(self, epoch: int) -> None:
        """Drop past epochs, which nothing is compared with any more; validations stay."""
        self._scored = {key: value for key, value in self._scored.items() if key[1] >= epoch or key[1] == VALIDATION}


def _before(a: Champion, b: Champion, direction: Direction) -> bool:
    return better(direction, a.score, b.score) or (a.score == b.score and a.order < b.order)
