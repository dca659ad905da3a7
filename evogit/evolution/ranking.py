"""The best version of every epoch and evaluator, whatever order the journals are read in, without who is extinct."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
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
    """The best version known. `score` is the validation score where the task has one, else the score.

    `host` and `agent` made it; a ranking leaves them empty.
    """

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

    def note(self, digest: str, epoch: int, commit: Oid, order: Order) -> Order:
        """A version was scored, whatever counts of it; when it first was."""
        orders = self._scored.setdefault((digest, epoch), {})
        first = orders[commit] = min(orders.get(commit, order), order)
        return first

    def take(self, digest: str, champion: Champion, direction: Direction) -> bool:
        """A version's score counts; whether that is the best score so far."""
        key = (digest, champion.evaluation.epoch)
        held = self._champions.get(key)
        if held is not None and not _before(champion, held, direction):
            return False
        self._champions[key] = champion
        return held is None or champion.score != held.score

    def anew(
        self,
        directions: Mapping[str, Direction],
        extinct: Set[Oid],
        trees: Mapping[Oid, Oid],
        counts: Callable[[Key], Evaluation | None],
        only: tuple[str, int] | None = None,
    ) -> None:
        """After a decision or another score: the champions among who is left, of all epochs or `only` one."""
        for place in list(self._scored) if only is None else [only]:
            digest, epoch = place
            direction = directions.get(digest, "maximize")
            self._champions.pop(place, None)
            for commit, order in self._scored.get(place, {}).items():
                result = counts((trees[commit], digest, epoch))
                if result is None or result.score is None or commit in extinct:
                    continue
                made = Champion(commit, trees[commit], "", "", result.score, result, epoch == VALIDATION, order)
                self.take(digest, made, direction)

    def forget_before(self, epoch: int) -> None:
        """Drop past epochs, which nothing is compared with any more; validations stay."""
        self._scored = {key: value for key, value in self._scored.items() if key[1] >= epoch or key[1] == VALIDATION}
        self._champions = {key: held for key, held in self._champions.items() if key in self._scored}


def _before(a: Champion, b: Champion, direction: Direction) -> bool:
    return better(direction, a.score, b.score) or (a.score == b.score and a.order < b.order)
