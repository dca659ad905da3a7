"""The best version of every epoch and evaluator, whatever order the journals are read in, without who is extinct."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from evogit.numbering import Names, Numbering
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

    _commits: Names
    _orders: Numbering[Order]
    _champions: dict[tuple[str, int], Champion] = field(default_factory=dict)
    _scored: dict[tuple[str, int], tuple[array[int], array[int]]] = field(default_factory=dict)
    """Every scored version and when it was, by number; one that was scored again stands there again."""

    def get(self, digest: str, epoch: int) -> Champion | None:
        return self._champions.get((digest, epoch))

    def note(self, digest: str, epoch: int, commit: Oid, order: Order) -> None:
        """A version was scored, whatever counts of it."""
        commits, orders = self._scored.setdefault((digest, epoch), (array("I"), array("I")))
        commits.append(self._commits.number(commit))
        orders.append(self._orders.number(order))

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
        scores: Callable[[Key], float | None],
        counts: Callable[[Key], Evaluation | None],
        only: tuple[str, int] | None = None,
    ) -> None:
        """After a decision or another score: the champions among who is left, of all epochs or `only` one."""
        for place in list(self._scored) if only is None else [only]:
            digest, epoch = place
            direction = directions.get(digest, "maximize")
            self._champions.pop(place, None)
            for number, when in zip(*self._scored.get(place, ((), ())), strict=True):
                commit = self._commits[number]
                key, held = (trees[commit], digest, epoch), self._champions.get(place)
                score = scores(key)
                if score is None or commit in extinct or (held and better(direction, held.score, score)):
                    continue
                result, order = counts(key), self._orders[when]
                assert result is not None
                self.take(
                    digest, Champion(commit, key[0], "", "", score, result, epoch == VALIDATION, order), direction
                )

    def forget_before(self, epoch: int) -> None:
        """Drop past epochs, which nothing is compared with any more; validations stay."""
        self._scored = {key: value for key, value in self._scored.items() if key[1] >= epoch or key[1] == VALIDATION}
        self._champions = {key: held for key, held in self._champions.items() if key in self._scored}


def _before(a: Champion, b: Champion, direction: Direction) -> bool:
    return better(direction, a.score, b.score) or (a.score == b.score and a.order < b.order)
