"""Epochs: the training data are redrawn, everyone alive is scored again, and champions are validated."""

from __future__ import annotations

import asyncio

from evogit.evolution import events
from evogit.evolution.colony import Colony
from evogit.evolution.selection import Individual, best_of, renewed
from evogit.values import Oid

VALIDATED = 4  # versions that are validated when an epoch ends: its leader and the fittest living


class Epochs:
    """Turns the epochs of one colony."""

    def __init__(self, colony: Colony) -> None:
        self._colony = colony
        self._turning = asyncio.Lock()

    async def turn_if_due(self) -> None:
        """Begin the next epoch when enough candidates have been evaluated in this one; the agents wait meanwhile."""
        every = self._colony.session.task.evaluation.epoch_every
        if every and self._colony.population.candidates >= (self._colony.living.epoch + 1) * every:
            await self._turn()

    async def _turn(self) -> None:
        colony, population = self._colony, self._colony.population
        if self._turning.locked():
            return
        async with self._turning:
            colony.gate.clear()
            try:
                await self.validate_champions()
                epoch = colony.living.epoch + 1
                await self._score_all(epoch)
                colony.living.turn(epoch)
                population.epoch = max(population.epoch, epoch)
                population.forget_epochs_before(epoch)
                population.memory.patches.clear()
            finally:
                colony.gate.set()
        leader = population.leader()
        best = leader.score if leader else None
        colony.meter.best = best
        colony.books.tell(events.EpochTurned(colony.living.epoch, len(colony.living.ordered), best))

    async def _score_all(self, epoch: int) -> None:
        """Score who may be a parent. No more at once than are evaluated at once, so that what other hosts journal
        meanwhile of the same versions counts: whether a version is known is asked when its turn comes."""
        session, scoring, colony = self._colony.session, self._colony.scoring, self._colony
        versions = {session.base_tree: (session.base, "base")}
        for individual in renewed(colony.living, session.host, colony.settings):
            versions.setdefault(individual.tree, (individual.commit, individual.agent))
        if session.plan.deterministic:
            for tree, (commit, agent) in versions.items():
                await scoring.score(commit, tree, agent, epoch)
            return
        room = asyncio.Semaphore(scoring.evaluator.slots)

        async def score(commit: Oid, tree: Oid, agent: str) -> None:
            async with room:
                await scoring.score(commit, tree, agent, epoch)

        async with asyncio.TaskGroup() as group:
            for tree, (commit, agent) in versions.items():
                group.create_task(score(commit, tree, agent))

    async def validate_champions(self) -> None:
        """Rank the epoch's leader and the fittest living by the validation stage."""
        colony, population = self._colony, self._colony.population
        leader = population.leader()
        if leader is None or colony.session.task.evaluation.validation is None:
            return
        chosen: list[Individual] = [colony.living.known((leader.host, leader.agent), leader.commit)]
        while len(chosen) < VALIDATED:
            rest = [i for i in colony.living.ordered if all(i.tree != c.tree for c in chosen)]
            if not rest:
                break
            chosen.append(best_of(colony.settings.direction, rest))
        for individual in chosen:
            before = population.best()
            evaluation = await colony.scoring.validate(individual.commit, individual.tree, individual.agent)
            if evaluation is not None:
                best = population.best()
                first = best is not None and best != before and best.commit == individual.commit
                colony.books.tell(events.Validated(individual.commit, individual.agent, evaluation.score, first))
