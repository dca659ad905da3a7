"""Where evaluations run: `local` is the `Evaluator` itself, `ray` an `Evaluator` on every node of a cluster.

What evolves, verifies and minimizes sees `Evaluates` only, so that the same code has the same results wherever it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from evogit.values import Evaluation, Oid


class Evaluates(Protocol):
    """Scores trees of one task, up to `slots` at once."""

    @property
    def slots(self) -> int:
        """Evaluations at a time, now: a cluster may grow and shrink."""

    @property
    def confinement(self) -> str:
        """The sandbox that candidates run in; on a cluster maybe several, one for each kind of node."""

    async def evaluate(self, tree: Oid, *, epoch: int = 0, validation: bool = False) -> Evaluation:
        """Score `tree`. Raises `EvaluationError` when nothing can be evaluated any more."""

    def report(self) -> Mapping[str, Any]:
        """The engine as a document: its kind, and what it did so far."""
