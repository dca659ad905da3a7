"""What is kept of each score, in arrays: of which tree, under which evaluator, in which epoch, who said so and when."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

from evogit.evolution.ranking import Key, Order
from evogit.numbering import EMPTY, Distinct, Names, Slots
from evogit.store.journal import Clock
from evogit.values import Evaluation

Shape = tuple[str, str, int, tuple[str, ...], int]
"""What evaluations share: status, stage, epoch, names of metrics, how many samples."""


class Orders:
    """The places of entries in the journal, numbered as they come; one that comes twice in a row is kept once."""

    def __init__(self) -> None:
        self._milliseconds, self._counts, self._sequences = array("q"), array("q"), array("q")
        self._writers, self._writer = Distinct[str](), array("I")
        self._last: Order | None = None

    def __getitem__(self, number: int) -> Order:
        clock = Clock(self._milliseconds[number], self._counts[number])
        return clock, self._writers[self._writer[number]], self._sequences[number]

    def number(self, order: Order) -> int:
        if order != self._last:
            clock, writer, sequence = self._last = order
            self._milliseconds.append(clock.milliseconds)
            self._counts.append(clock.count)
            self._sequences.append(sequence)
            self._writer.append(self._writers.number(writer))
        return len(self._writer) - 1


class Measurements:
    """One evaluation, and the order of the entry that says so, of each key: tree, evaluator digest, epoch.

    An evaluation is its `Shape` and some numbers: score (not a number: none), seconds, metrics, samples. What it wrote
    is evidence in the journal, and not kept.
    """

    def __init__(self, trees: Names, orders: Orders) -> None:
        self._names, self._all_orders = trees, orders
        self._scales, self._shapes = Distinct[tuple[str, int]](), Distinct[Shape]()
        self._clear()

    def _clear(self) -> None:
        self._trees, self._scale = array("I"), array("I")
        self._shape, self._start, self._orders = array("I"), array("Q"), array("I")
        self._numbers = array("d")
        self._slots = Slots(lambda row: hash((self._trees[row], self._scale[row])))

    def __iter__(self) -> Iterator[Key]:
        for row, shape in enumerate(self._shape):
            if shape != EMPTY:
                yield (self._names[self._trees[row]], *self._scales[self._scale[row]])

    def __contains__(self, key: Key) -> bool:
        return self._row(key) is not None

    def get(self, key: Key) -> Evaluation | None:
        row = self._row(key)
        return None if row is None else self._evaluation(row)

    def score(self, key: Key) -> float | None:
        row = self._row(key)
        score = math.nan if row is None else self._numbers[self._start[row]]
        return None if math.isnan(score) else score

    def order(self, key: Key) -> Order | None:
        """The place in the journal of the entry that says so."""
        row = self._row(key)
        return None if row is None else self._all_orders[self._orders[row]]

    def put(self, key: Key, evaluation: Evaluation, order: Order) -> None:
        row = self._find(self._names.number(key[0]), self._scales.number(key[1:]))
        if row is None:
            row = len(self._trees)
            self._trees.append(self._names.number(key[0]))
            self._scale.append(self._scales.number(key[1:]))
            for column in (self._shape, self._start, self._orders):
                column.append(EMPTY)
            self._slots.add(row)
        metrics, samples = evaluation.metrics, evaluation.samples
        shape = (evaluation.status, evaluation.stage, evaluation.epoch, tuple(metrics), len(samples))
        self._shape[row], self._start[row] = self._shapes.number(shape), len(self._numbers)
        score = math.nan if evaluation.score is None else evaluation.score
        self._numbers.extend((score, evaluation.seconds, *metrics.values(), *samples))
        self._orders[row] = self._all_orders.number(order)

    def drop(self, key: Key) -> None:
        """Keep nothing of `key` any more, if anything was kept."""
        row = self._row(key)
        if row is not None:
            self._shape[row] = EMPTY

    def keep(self, epoch: int, always: int) -> None:
        """Forget all epochs before `epoch` but `always`."""
        kept = [
            (key, self._evaluation(row), self._all_orders[self._orders[row]])
            for key in self
            if (key[2] >= epoch or key[2] == always) and (row := self._row(key)) is not None
        ]
        self._clear()
        for key, evaluation, order in kept:
            self.put(key, evaluation, order)

    def _row(self, key: Key) -> int | None:
        tree = self._names.find(key[0])
        row = None if tree is None else self._find(tree, self._scales.number(key[1:]))
        return None if row is None or self._shape[row] == EMPTY else row

    def _find(self, tree: int, scale: int) -> int | None:
        for row in self._slots.rows(hash((tree, scale))):
            if self._trees[row] == tree and self._scale[row] == scale:
                return row
        return None

    def _evaluation(self, row: int) -> Evaluation:
        status, stage, epoch, names, count = self._shapes[self._shape[row]]
        start = self._start[row]
        score, seconds, *rest = self._numbers[start : start + 2 + len(names) + count]
        return Evaluation(
            status,
            None if math.isnan(score) else score,
            dict(zip(names, rest, strict=False)),
            seconds=seconds,
            stage=stage,
            epoch=epoch,
            samples=tuple(rest[len(names) :]),
        )
