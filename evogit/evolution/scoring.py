"""Scores of versions in one session: asked for once, shared by all who wait, journaled where no candidate is born."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import replace

from evogit.evaluation.engines import Evaluates
from evogit.evolution import breeding
from evogit.evolution.ledger import write_calls
from evogit.evolution.population import write_evaluation
from evogit.evolution.ranking import VALIDATION
from evogit.evolution.session import Session
from evogit.models.desk import Desk
from evogit.models.pricing import cost
from evogit.values import Call, Evaluation, Oid


def candidate_calls(session: Session, desk: Desk, evaluation: Evaluation) -> tuple[Call, ...]:
    """What the program under evaluation asked its model for, as one call."""
    model, spent = session.task.evaluation.model, evaluation.spent
    if not model or not spent:
        return ()
    given, got = spent.get("input", 0), spent.get("output", 0)
    table = desk.tables.get(model)
    return (Call(model, "candidate", given, got, cost(table, given, got) if table else 0.0),)


class Scoring:
    """Evaluate trees under the session's evaluator; equal trees in flight are evaluated once."""

    def __init__(self, session: Session, evaluator: Evaluates, desk: Desk) -> None:
        self._session = session
        self._desk = desk
        self.evaluator = evaluator
        self._flying: dict[tuple[Oid, int], asyncio.Future[Evaluation]] = {}

    def calls(self, evaluation: Evaluation) -> tuple[Call, ...]:
        return candidate_calls(self._session, self._desk, evaluation)

    async def known(self, tree: Oid, epoch: int) -> Evaluation | None:
        """What `tree` is known to earn in `epoch`; waits for another agent's evaluation of it under way."""
        future = self._flying.get((tree, epoch))
        if future is not None:
            return await asyncio.shield(future)
        return self._session.population.result(tree, epoch)

    async def evaluate(self, tree: Oid, epoch: int) -> Evaluation:
        """Evaluate a candidate's tree. Nothing is journaled: that is its birth's business."""
        future: asyncio.Future[Evaluation] = asyncio.get_running_loop().create_future()
        self._flying[(tree, epoch)] = future
        try:
            evaluation = replace(await self.evaluator.evaluate(tree, epoch=epoch), epoch=epoch)
            future.set_result(evaluation)
        finally:
            self._flying.pop((tree, epoch), None)
            if not future.done():
                future.cancel()
        return evaluation

    async def measure_again(self, tree: Oid, first: Evaluation) -> Evaluation:
        """Re-measure an apparent win, against banking luck: the mean of both measurements counts."""
        again = replace(await self.evaluator.evaluate(tree, epoch=first.epoch), epoch=first.epoch)
        if not again.ok or first.score is None or again.score is None:
            return again
        score = statistics.fmean((first.score, again.score))
        samples = (first.samples or (first.score,)) + (again.samples or (again.score,))
        metrics = {k: statistics.fmean((v, again.metrics.get(k, v))) for k, v in first.metrics.items()}
        return replace(again, score=score, metrics=metrics, samples=samples, seconds=first.seconds + again.seconds)

    async def score(self, commit: Oid, tree: Oid, agent: str, epoch: int) -> Evaluation:
        """The evaluation in `epoch` of a version that exists already; journaled, without a decision, if it is new.

        A noisy score is measured twice, as that of whoever is to take its place: a start that was lucky once would keep
        everybody away.
        """
        found = self._session.population.result(tree, epoch)
        return found if found is not None else await self._examine(commit, tree, agent, epoch, twice=True)

    async def validate(self, commit: Oid, tree: Oid, agent: str) -> Evaluation | None:
        """The validation of a version; None if the task has no such stage or the result was known."""
        if self._session.task.evaluation.validation is None:
            return None
        if self._session.population.result(tree, VALIDATION) is not None:
            return None
        return await self._examine(commit, tree, agent, VALIDATION)

    async def check(self, commit: Oid, tree: Oid, agent: str, epoch: int) -> Evaluation:
        """The evaluation here of a version that somebody who is not believed has scored already; journaled."""
        return await self._examine(commit, tree, agent, epoch)

    async def trial(self, commit: Oid, tree: Oid, epoch: int) -> Evaluation:
        """The evaluation of a variant on the way to a smaller change; journaled, but no champion: it is one of many."""
        found = self._session.population.result(tree, epoch)
        return found if found is not None else await self._examine(commit, tree, "minimize", epoch, trial=True)

    async def _examine(
        self, commit: Oid, tree: Oid, agent: str, epoch: int, *, trial: bool = False, twice: bool = False
    ) -> Evaluation:
        session, validation = self._session, epoch == VALIDATION
        evaluation = await self.evaluator.evaluate(tree, epoch=0 if validation else epoch, validation=validation)
        evaluation = replace(evaluation, epoch=epoch)
        if twice and session.task.evaluation.noisy and evaluation.ok:
            evaluation = await self.measure_again(tree, evaluation)
        data = write_evaluation(evaluation, timed=not session.plan.deterministic)
        data |= {"tree": tree, "digest": session.digest, "host": session.host, "agent": agent}
        if trial:
            data["trial"] = True
        if calls := self.calls(evaluation):
            data["calls"] = write_calls(calls)
        what = "validated" if validation else "evaluated"
        entry = session.journal.append(
            "evaluated",
            f"{what} {commit[:10]}: {breeding.shown(evaluation)}",
            data,
            candidate=commit,
            evidence=breeding.evidence(None, evaluation),
        )
        session.population.apply(entry)
        return evaluation
