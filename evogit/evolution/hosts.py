"""What each host has written: a fold over the journal, in whatever order its entries come."""

from __future__ import annotations

from dataclasses import dataclass, field

from evogit.evolution.ranking import Key
from evogit.store.journal import Clock
from evogit.values import Direction, Oid, better


@dataclass(slots=True)
class Seen:
    """What is known of one host: when it last wrote (milliseconds since 1970), how much, its best by its own word."""

    entries: int = 0
    last: int = 0
    candidates: int = 0
    accepted: int = 0
    _extremes: dict[tuple[str, int, Direction], tuple[float, tuple[Clock, str, int], Oid]] = field(default_factory=dict)

    def scored(self, key: Key, commit: Oid, score: float, order: tuple[Clock, str, int]) -> None:
        """It says that `commit` has this score."""
        directions: tuple[Direction, ...] = ("maximize", "minimize")
        for direction in directions:
            held = self._extremes.get((*key[1:], direction))
            if held is None or better(direction, score, held[0]) or (score == held[0] and (order, commit) < held[1:]):
                self._extremes[(*key[1:], direction)] = (score, order, commit)

    def best(self, digest: str, epoch: int, direction: Direction) -> tuple[float, Oid] | None:
        """Its best score under an evaluator in an epoch, and of which commit; nothing is said of who believes it."""
        held = self._extremes.get((digest, epoch, direction))
        return (held[0], held[2]) if held else None
