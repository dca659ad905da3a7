"""The asynchronous population: one task per agent, no generation barrier, nothing lost at any instant.

An agent's step is plan → propose → check → evaluate → decide → record. Entries are published in small batches; an event
is sent only once its entry is durable. `--deterministic` takes the agents in turn instead.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, replace

from evogit.catalog import Agent
from evogit.errors import EvaluationError, StoreError, VariationError
from evogit.evaluation.evaluator import Evaluator
from evogit.evolution import breeding, events
from evogit.evolution.breeding import Birth
from evogit.evolution.budget import Meter
from evogit.evolution.living import Living
from evogit.evolution.scoring import Scoring
from evogit.evolution.selection import POLICIES, Individual, Plan, Scene, Settings, best_of
from evogit.evolution.session import Session, agent_names, living_refs
from evogit.evolution.versions import Versions
from evogit.store import refs
from evogit.store.repository import repack
from evogit.values import Evaluation, Oid, Proposal, Reason
from evogit.variation.making import make
from evogit.variation.request import Variation

PUBLISH_EVERY = 0.2  # seconds
PUBLISH_AT = 64  # entries
POLL_EVERY = 1.0  # seconds between looks at what other processes wrote
REPACK_AT = 48  # packs written since the last repack
GRACE = 5.0  # seconds that running evaluations get after the time budget is spent
VALIDATED = 4  # versions that are validated when an epoch ends: its leader and the fittest living


@dataclass(frozen=True, slots=True)
class Worker:
    """One agent of this process. Agents of one definition share a variation."""

    name: str
    agent: Agent
    variation: Variation
    ref: str


class Engine:
    """Runs one session until its budget is spent, a stop is asked for, or nothing new can be found."""

    def __init__(self, session: Session, evaluator: Evaluator, listen: events.Listener) -> None:
        self.session = session
        self.plan = session.plan
        self.population = session.population
        self._evaluator = evaluator
        self._listen = listen
        self._policy = POLICIES[self.plan.policy]
        self._settings = self.plan.selection or Settings(session.task.direction)
        self._versions = Versions(session.objects, session.editable)
        self._living = Living(session, self._versions)
        self._scoring = Scoring(session, evaluator)
        self._workers = self._hire()
        self._meter = Meter(self.plan.budget, session.task.direction, time.monotonic)
        self._meter.idle_limit = max(2_000, 200 * len(self._workers))
        self._step = self.population.steps
        self._gate = asyncio.Event()
        self._turning = asyncio.Lock()
        self._stop: str | None = None
        self._skipped: dict[str, Counter[str]] = {}
        self._unpublished: list[events.Event] = []
        self._wake = asyncio.Event()
        self._packs = 0
        self._accepted = 0
        self._rejected: Counter[str] = Counter()

    def _hire(self) -> list[Worker]:
        variations: dict[str, Variation] = {}
        workers = []
        for name, agent in agent_names(self.plan, self.session.number).items():
            if agent.name not in variations:
                variations[agent.name] = make(agent)
            ref = refs.individual(self.plan.run, self.session.host, name)
            workers.append(Worker(name, agent, variations[agent.name], ref))
        return workers

    # The run as a whole

    def stop(self, reason: str = "interrupted") -> None:
        """End gracefully: nothing new is begun, what runs is finished and recorded."""
        self._stop = self._stop or reason
        self._wake.set()

    async def run(self) -> events.Finished:
        """Evolve. Whatever ends it, what was evaluated is published before this returns or raises.

        Raises:
            EvaluationError: the starting version fails its own evaluation.
            StoreError: the repository can no longer be written. What was acknowledged stays.
        """
        try:
            await self._prepare()
            self._gate.set()
            reason = await (self._in_turn() if self.plan.deterministic else self._at_once())
            if reason != "interrupted":
                await self._validate_champions()
        finally:
            self._publish()
        if self._packs > 8:
            await asyncio.to_thread(repack, self.session.repository)
        best = self.population.best()
        return events.Finished(
            reason,
            self._meter.finished,
            self._accepted,
            self._meter.seconds,
            best.commit if best else None,
            best.score if best else None,
            dict(self._rejected),
        )

    async def _in_turn(self) -> str:
        while not (reason := self._over()):
            await self._take_step(self._workers[self._step % len(self._workers)])
            if len(self._unpublished) >= PUBLISH_AT:
                self._publish()
        return reason

    async def _at_once(self) -> str:
        """All agents at once, with the publisher and the lookout beside them, until the time is over."""
        slots = asyncio.Semaphore(self.plan.jobs + 1)
        async with asyncio.TaskGroup() as beside:
            chores = [beside.create_task(chore()) for chore in (self._publish_often, self._look_out)]
            try:
                async with asyncio.timeout(self._time_left()), asyncio.TaskGroup() as agents:
                    for worker in self._workers:
                        agents.create_task(self._live(worker, slots))
            except TimeoutError:
                self.stop("seconds")
            finally:
                for chore in chores:
                    chore.cancel()
        return self._over() or "interrupted"

    def _time_left(self) -> float | None:
        seconds = self.plan.budget.seconds
        return None if seconds is None else max(0.0, seconds - self._meter.seconds) + GRACE

    async def _live(self, worker: Worker, slots: asyncio.Semaphore) -> None:
        while not self._over():
            async with slots:
                await self._gate.wait()
                if not self._over():
                    await self._take_step(worker)
            await asyncio.sleep(0)

    def _over(self) -> str | None:
        return self._stop or self._meter.exhausted()

    # Before the first step

    async def _prepare(self) -> None:
        session, run = self.session, self.plan.run
        self.population.trees.setdefault(session.base, session.base_tree)
        await self._score_base()
        found = self._catch_up(living_refs(session.objects, run))
        for name, commit in found.items():
            individual = self._living.known(name, commit)
            if individual.score is None and (commit in self.population.trees or name in self._mine()):
                await self._scoring.score(commit, individual.tree, name[1], self._living.epoch)
            self._living.seat(self._living.known(name, commit))
        rng = random.Random(f"{self.plan.seed}:start:{session.number}")
        others = list(self._living.ordered)
        for worker in self._workers:
            name = (session.host, worker.name)
            if name not in found:
                first = best_of(self._settings.direction, rng.choices(others, k=2)) if others else self._living.base()
                session.journal.move(worker.ref, None, first.commit)
                self._living.seat(self._living.copy(first, name))
        self._publish()
        best = self.population.best()
        self._meter.best = best.score if best else None
        self._listen(
            events.Started(
                run,
                session.task.name,
                session.base,
                session.resumed,
                self.population.candidates,
                {worker.name: worker.agent.name for worker in self._workers},
                self.plan.jobs,
                self._evaluator.sandbox.name,
                session.task.direction,
                best.score if best else None,
            )
        )

    def _mine(self) -> set[tuple[str, str]]:
        return {(self.session.host, worker.name) for worker in self._workers}

    def _catch_up(self, found: dict[tuple[str, str], Oid]) -> dict[tuple[str, str], Oid]:
        """After a kill between the journal's ref and an agent's: the journal says where the branch should stand."""
        known, mine = self.population.trees, self._mine()
        for name, seat in self.population.seats.items():
            at = found.get(name)
            if name in mine and at != seat.commit and (at is None or at in known):
                self.session.journal.move(refs.individual(self.plan.run, *name), at, seat.commit)
                found[name] = seat.commit
        return found

    async def _score_base(self) -> None:
        """The start is scored like any version; a start that fails its own evaluation is the user's to mend."""
        session = self.session
        evaluation = await self._scoring.score(session.base, session.base_tree, "base", self._living.epoch)
        if not evaluation.ok:
            stage = f", stage {evaluation.stage}" if evaluation.stage else ""
            raise EvaluationError(
                f"the starting version {session.base[:10]} fails its own evaluation ({evaluation.status}{stage}). "
                f"Mend it or the task {session.task.name!r}, then: evogit run\n{evaluation.feedback}".rstrip()
            )
        await self._scoring.validate(session.base, session.base_tree, "base")

    # One step

    async def _take_step(self, worker: Worker) -> None:
        step, self._step = self._step, self._step + 1
        self._meter.begin()
        if not await self._breed(worker, step):
            self._meter.give_back()
        every = self.session.task.evaluation.epoch_every
        if every and self.population.candidates >= (self._living.epoch + 1) * every:
            await self._turn_epoch()

    async def _breed(self, worker: Worker, step: int) -> bool:
        """One candidate. False if nothing was evaluated or recorded."""
        rng = random.Random(f"{self.plan.seed}:{step}")
        plan = self._policy.plan(self._scene(worker, step), rng)
        operators = [o for o in worker.variation.operators if worker.variation.needs_mate(o) == bool(plan.mate)]
        if not operators:
            plan = Plan(plan.receiver)
            operators = [o for o in worker.variation.operators if not worker.variation.needs_mate(o)]
        operator = self.population.allocation(worker.agent.name).choose(operators, rng)
        self._listen(events.Turn(worker.name, operator))
        pool = rng.sample(self._living.ordered, min(2, len(self._living.ordered)))
        objects, graph = self.session.objects, self.population.phylogeny
        wanted = breeding.request(objects, self._versions, graph, plan, operator, self.session.task, pool, rng)
        try:
            proposal = await worker.variation.propose(wanted)
            tree = self._tree_of(plan, proposal)
        except VariationError as error:
            return self._skip(worker, step, operator, Reason.INVALID, str(error))
        if isinstance(tree, Reason):
            return self._skip(worker, step, operator, tree, proposal.summary)
        return await self._judge(worker, step, plan, proposal, tree)

    def _scene(self, worker: Worker, step: int) -> Scene:
        me = self._living[(self.session.host, worker.name)]
        turn = step // len(self._workers)
        return Scene(self._living.ordered or [me], me, turn, self._living.base, self._related, self._settings)

    def _related(self, a: Oid, b: Oid) -> bool:
        graph = self.population.phylogeny
        return a == b or (a in graph and b in graph and (graph.is_ancestor(a, b) or graph.is_ancestor(b, a)))

    def _tree_of(self, plan: Plan, proposal: Proposal) -> Oid | Reason:
        """The child's tree, or why it is none."""
        if not all(self._versions.editable(path) for path in proposal.changes):
            return Reason.PROTECTED
        try:
            tree = self.session.objects.edit(plan.receiver.tree, proposal.changes)
        except StoreError as error:
            raise VariationError(str(error)) from error
        return Reason.NO_OP if tree == plan.receiver.tree else tree

    def _skip(self, worker: Worker, step: int, operator: str, reason: Reason, detail: str) -> bool:
        """Count a rejection, at once here; the next entry carries the counts into the journal."""
        self.population.skip(worker.agent.name, operator, reason.value)
        self._skipped.setdefault(reason.value, Counter())[f"{worker.agent.name}/{operator}"] += 1
        self._rejected[reason.value] += 1
        self._listen(events.Skipped(step, worker.name, operator, reason.value, detail))
        return False

    async def _judge(self, worker: Worker, step: int, plan: Plan, proposal: Proposal, tree: Oid) -> bool:
        known = await self._scoring.known(tree, self._living.epoch)
        evaluation = known or await self._scoring.evaluate(tree, self._living.epoch)
        while evaluation.epoch != self._living.epoch or not self._gate.is_set():
            # The epoch turned meanwhile: scores are compared within one epoch only.
            await self._gate.wait()
            if evaluation.epoch != self._living.epoch:
                known, evaluation = None, await self._scoring.evaluate(tree, self._living.epoch)
        decision = self._decide(worker, step, plan, tree, evaluation)
        if decision is None and known is None and self.session.task.evaluation.noisy:
            evaluation = await self._scoring.measure_again(tree, evaluation)
            decision = self._decide(worker, step, plan, tree, evaluation)
        if known is not None and decision is not None:
            return self._skip(worker, step, proposal.operator, Reason.DUPLICATE, proposal.summary)
        self._record(worker, step, proposal, tree, evaluation, decision)
        return True

    def _decide(self, worker: Worker, step: int, plan: Plan, tree: Oid, evaluation: Evaluation) -> Reason | None:
        if not evaluation.ok:
            return Reason(evaluation.status)
        child = self._living.measure((self.session.host, worker.name), "", tree, evaluation)
        return self._policy.accept(self._scene(worker, step), plan, child)

    def _record(
        self, worker: Worker, step: int, proposal: Proposal, tree: Oid, evaluation: Evaluation, decision: Reason | None
    ) -> None:
        """Commit and journal the candidate, count it, and seat it if it was accepted."""
        commit, best = self._journal(worker, step, proposal, tree, evaluation, decision)
        me = self._living[(self.session.host, worker.name)]
        if decision is None:
            self._accepted += 1
            self.session.journal.move(worker.ref, me.commit, commit)
            self._living.seat(self._living.measure((me.host, me.agent), commit, tree, evaluation))
            self.population.phylogeny.retain(i.commit for i in self._living)
        else:
            self._rejected[decision.value] += 1
        worker.variation.learn(proposal, decision is None)
        self._meter.finish(best)
        self._unpublished.append(
            events.Candidate(
                step,
                worker.name,
                proposal.operator,
                commit,
                proposal.parents,
                proposal.summary,
                "accepted" if decision is None else decision.value,
                evaluation.score,
                evaluation.epoch,
                evaluation.seconds,
                best,
            )
        )
        if len(self._unpublished) >= PUBLISH_AT:
            self._wake.set()

    def _journal(
        self, worker: Worker, step: int, proposal: Proposal, tree: Oid, evaluation: Evaluation, decision: Reason | None
    ) -> tuple[Oid, bool]:
        """Write the candidate and its entry; its commit, and whether it leads the epoch now."""
        session, population = self.session, self.population
        clock = session.journal.tick()
        birth = Birth(self.plan.run, session.host, worker.name, worker.agent.name, step, clock.milliseconds)
        commit = breeding.candidate(session.objects, birth, proposal, tree, evaluation)
        said = "accepted" if decision is None else decision.value
        data = breeding.record(
            birth, proposal, tree, session.digest, evaluation, said, timed=not self.plan.deterministic
        )
        if self._skipped:
            data["skipped"] = {reason: dict(counts) for reason, counts in self._skipped.items()}
            self._skipped = {}
        before = population.leader()
        entry = session.journal.append(
            "evaluated",
            f"{said} {commit[:10]}: {breeding.shown(evaluation)} ({worker.name}, {proposal.operator})",
            data,
            clock=clock,
            candidate=commit,
            evidence=breeding.evidence(proposal, evaluation),
        )
        counted = replace(entry, data={key: value for key, value in data.items() if key != "skipped"})
        population.apply(counted)
        leader = population.leader()
        if leader is not None:
            self._meter.best = leader.score
        return commit, leader is not None and leader != before

    # Epochs and validation

    async def _turn_epoch(self) -> None:
        """Redraw the training data: evaluate the start and everyone alive again while the agents wait."""
        if self._turning.locked():
            return
        async with self._turning:
            self._gate.clear()
            try:
                await self._validate_champions()
                epoch = self._living.epoch + 1
                await self._score_all(epoch)
                self._living.turn(epoch)
                self.population.epoch = max(self.population.epoch, epoch)
                self.population.forget_epochs_before(epoch)
            finally:
                self._gate.set()
        leader = self.population.leader()
        self._meter.best = leader.score if leader else None
        self._unpublished.append(
            events.EpochTurned(self._living.epoch, len(self._living.ordered), leader.score if leader else None)
        )

    async def _score_all(self, epoch: int) -> None:
        session = self.session
        versions = {session.base_tree: (session.base, "base")}
        for individual in self._living:
            versions.setdefault(individual.tree, (individual.commit, individual.agent))
        if self.plan.deterministic:
            for tree, (commit, agent) in versions.items():
                await self._scoring.score(commit, tree, agent, epoch)
            return
        async with asyncio.TaskGroup() as group:
            for tree, (commit, agent) in versions.items():
                group.create_task(self._scoring.score(commit, tree, agent, epoch))

    async def _validate_champions(self) -> None:
        """Rank the epoch's leader and the fittest living by the validation stage."""
        leader = self.population.leader()
        if leader is None or self.session.task.evaluation.validation is None:
            return
        chosen: list[Individual] = [self._living.known((leader.host, leader.agent), leader.commit)]
        while len(chosen) < VALIDATED:
            rest = [i for i in self._living.ordered if all(i.tree != c.tree for c in chosen)]
            if not rest:
                break
            chosen.append(best_of(self._settings.direction, rest))
        for individual in chosen:
            before = self.population.best()
            evaluation = await self._scoring.validate(individual.commit, individual.tree, individual.agent)
            if evaluation is not None:
                best = self.population.best()
                first = best is not None and best != before and best.commit == individual.commit
                told = events.Validated(individual.commit, individual.agent, evaluation.score, first)
                self._unpublished.append(told)

    # Beside the agents

    def _publish(self) -> None:
        """Make everything so far durable, then tell the listener about it."""
        self._packs += self.session.objects.pending > 0
        for ref, error in self.session.journal.publish().items():
            self._listen(events.Notice(f"{error}; the agent continues from where the branch stands now"))
            self._living.follow(ref)
        told, self._unpublished = self._unpublished, []
        for event in told:
            self._listen(event)

    async def _publish_often(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PUBLISH_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._publish()
            if self._packs >= REPACK_AT:
                self._packs = 0
                complaint = await asyncio.to_thread(repack, self.session.repository)
                if complaint:
                    self._listen(events.Notice(f"git repack did not work, packs stay small: {complaint}"))

    async def _look_out(self) -> None:
        """See what other processes write into this repository."""
        while True:
            await asyncio.sleep(POLL_EVERY)
            entries = self.session.new_entries()
            for entry in entries:
                self.session.journal.observe(entry.clock)
                self.population.apply(entry)
            if entries:
                self._living.see_others(self._mine())
