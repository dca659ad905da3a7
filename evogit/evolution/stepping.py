"""One step of one agent: plan → propose → check → evaluate → decide → record."""

from __future__ import annotations

import random
from dataclasses import replace

from evogit.errors import ModelError, StoreError, VariationError
from evogit.evolution import breeding
from evogit.evolution.colony import Colony, Worker
from evogit.evolution.contest import Spoken, behind, challenge, contest, paid
from evogit.evolution.epochs import Epochs
from evogit.evolution.events import Turn
from evogit.evolution.selection import Individual, Plan, parents
from evogit.evolution.services import FIXABLE, pick_model
from evogit.values import Evaluation, Oid, Proposal, Reason
from evogit.variation.request import Fruitless, Request, Retired

PATIENCE = 20  # how many idle proposals one that a model was asked for counts as


class Stepping:
    """Takes the steps of a colony's agents."""

    def __init__(self, colony: Colony, epochs: Epochs) -> None:
        self._colony, self._epochs = colony, epochs
        self._books = colony.books

    async def take(self, worker: Worker) -> bool:
        """One step of one agent. False if it led to no candidate."""
        colony = self._colony
        step = colony.next_step()
        colony.meter.begin()
        asked = colony.meter.tokens
        born = await self._breed(worker, step)
        if not born:
            colony.meter.give_back(PATIENCE if worker.variation.waits and colony.meter.tokens > asked else 1)
        await self._epochs.turn_if_due()
        return born

    async def _breed(self, worker: Worker, step: int) -> bool:
        """One candidate. False if nothing was evaluated or recorded."""
        colony = self._colony
        rng = random.Random(f"{colony.plan.seed}:{step}")
        try:
            model = await self._model(worker, rng)
        except Retired as error:
            colony.retired.add(worker.name)
            self._books.notify(f"{worker.name} stops: {error}")
            return False
        except VariationError as error:
            return self._skip(worker, step, worker.variation.operators[0], Reason(error.reason), str(error))
        plan, operator = self._plan(worker, step, rng)
        if plan is None:
            return self._skip(worker, step, operator, Reason.INVALID, "there is nobody to cross with yet")
        self._books.listen(Turn(worker.name, operator))
        # A generator of its own: replaying it then needs nothing of what planning drew.
        make = random.Random(f"{colony.plan.seed}:{step}:make")
        wanted = self._request(worker, plan, operator, model, rng, make)
        try:
            proposal = await worker.variation.propose(wanted)
        except Fruitless as error:
            failed = Proposal(
                (plan.receiver.commit,), {}, str(error), operator, model, None, error.evidence, error.calls
            )
            return self._reject(worker, step, plan, failed, Reason(error.reason))
        except VariationError as error:
            return self._skip(worker, step, operator, Reason(error.reason), str(error))
        proposal = replace(proposal, recipe=breeding.recipe(wanted, proposal, worker.agent.operator, colony.plan.seed))
        tree = self._tree_of(plan.receiver.tree, proposal, free_code=worker.agent.free_code)
        if isinstance(tree, Reason):
            return self._reject(worker, step, plan, proposal, tree)
        with colony.session.objects.holding(tree):
            return await self._judge(worker, step, self._now(plan), proposal, tree, wanted)

    async def _model(self, worker: Worker, rng: random.Random) -> str:
        """The model that `worker` asks next, if it asks any. Raises `Retired` if none will ever answer."""
        if not worker.agent.models:
            return ""
        colony = self._colony
        try:
            return await pick_model(colony.desk, colony.population, worker.agent, rng)
        except ModelError as error:
            if error.fatal:
                raise Retired(str(error), Reason.UNANSWERED.value) from error
            raise VariationError(str(error), Reason.UNANSWERED.value) from error

    def _plan(self, worker: Worker, step: int, rng: random.Random) -> tuple[Plan | None, str]:
        """The parents and the operator; no parents if the agent only crosses and there is nobody to cross with."""
        colony, variation = self._colony, worker.variation
        colony.watch.planned(worker.name)
        plan: Plan | None = parents(colony.policy, colony.scene(worker, step), rng)
        assert plan is not None
        operators = [o for o in variation.operators if variation.needs_mate(o) == bool(plan.mate)]
        if not operators and plan.mate is None:
            others = [i for i in colony.living.ordered if not colony.related(i.commit, plan.receiver.commit)]
            operators = list(variation.operators)
            plan = Plan(plan.receiver, rng.choice(others)) if others else None
        elif not operators:
            plan = Plan(plan.receiver)
            operators = list(variation.operators)
        return plan, colony.population.allocation(worker.agent.name).choose(operators, rng)

    def _request(
        self, worker: Worker, plan: Plan, operator: str, model: str, rng: random.Random, make: random.Random
    ) -> Request:
        colony = self._colony
        pool = rng.sample(colony.living.ordered, min(2, len(colony.living.ordered)))
        return breeding.request(
            colony.session.objects,
            colony.versions,
            colony.population.phylogeny,
            plan,
            operator,
            colony.session.task,
            pool,
            make,
            lambda: colony.teller.background(plan.receiver, worker.name, worker.agent.name),
            worker.name,
            model,
        )

    def _now(self, plan: Plan) -> Plan:
        """The plan with the scores of the present epoch, which may have turned while a model was thinking."""
        living = self._colony.living
        if plan.receiver.commit and living.epoch:
            parents = [living.known(i.name, i.commit) for i in (plan.receiver, plan.mate) if i is not None]
            return Plan(*parents)
        return plan

    def _tree_of(self, receiver: Oid, proposal: Proposal, *, free_code: bool) -> Oid | Reason:
        """The child's tree, or why it is none; a model's patch that was tried before is no news, wherever it is put."""
        colony = self._colony
        if not all(colony.versions.editable(path) for path in proposal.changes):
            return Reason.PROTECTED
        try:
            tree = colony.session.objects.edit(receiver, proposal.changes)
        except StoreError:
            return Reason.INVALID
        if tree == receiver:
            return Reason.NO_OP
        if colony.population.barred(tree):
            return Reason.PRUNED
        if free_code and len(proposal.parents) == 1 and proposal.donor is None:
            patch = breeding.patch_id(colony.versions, receiver, tree)
            if patch in colony.population.memory.patches.get(colony.session.digest, ()):
                return Reason.DUPLICATE
        return tree

    def _skip(self, worker: Worker, step: int, operator: str, reason: Reason, detail: str) -> bool:
        self._books.skip(worker.maker, step, operator, reason, detail)
        return False

    def _reject(self, worker: Worker, step: int, plan: Plan, proposal: Proposal, reason: Reason) -> bool:
        self._books.reject(worker.maker, step, plan.receiver.commit, proposal, reason)
        return False

    async def _judge(
        self, worker: Worker, step: int, plan: Plan, proposal: Proposal, tree: Oid, wanted: Request
    ) -> bool:
        colony = self._colony
        spoken: list[Spoken] = []
        with self._books.desk.owing(proposal.calls):
            known, evaluation = await self._evaluate(tree)
            decision = self._decide(worker, step, plan, tree, evaluation)
            if decision is None and self._may_be_luck(evaluation):
                known, evaluation = False, await colony.scoring.measure_again(tree, evaluation)
                decision = self._decide(worker, step, plan, tree, evaluation)
            judging, gated = colony.session.task.evaluation.judge, colony.services.gated
            if known and (decision is not None or judging == "decides" or gated):
                return self._reject(worker, step, plan, proposal, Reason.DUPLICATE)
            child = colony.living.measure((colony.session.host, worker.name), "", tree, evaluation)
            passes = gated and not behind(colony, child, colony.living[child.name].score)
            if evaluation.ok and (judging == "decides" or passes or (judging == "ties" and self._tied(child))):
                decision, spoken = await contest(colony, step, plan, child, evaluation, wanted.rng)
        if decision is None and colony.watch.outdated(worker.name):
            decision = Reason.OUTDATED
        if decision is None and not all(map(colony.population.fate.alive, proposal.parents)):
            decision = Reason.PRUNED  # meanwhile, by a person
        commit = self._record(worker, step, proposal, tree, evaluation, decision)
        if decision is None and (judging == "decides" or gated):
            known_to = {said.than for said in spoken}
            with self._books.desk.owing(paid(spoken)):
                met = await challenge(colony, step, replace(child, commit=commit), evaluation, wanted.rng, known_to)
            spoken += [met] if met else []
        for said in spoken:
            critic = colony.services.critic
            assert critic is not None
            self._books.verdict(commit, said.than, said.verdict, said.model, critic.name)
        mendable = evaluation.status in FIXABLE and worker.agent.free_code and proposal.operator != "repair"
        if mendable and colony.services.fixer is not None and not colony.over():
            await self._mend(worker, plan, commit, tree, evaluation, wanted)
        return True

    async def _evaluate(self, tree: Oid) -> tuple[bool, Evaluation]:
        """Whether the tree was evaluated before, and what it earns in the present epoch."""
        colony = self._colony
        known = await colony.scoring.known(tree, colony.living.epoch)
        evaluation = known or await colony.scoring.evaluate(tree, colony.living.epoch)
        while evaluation.epoch != colony.living.epoch or not colony.gate.is_set():
            # The epoch turned meanwhile: scores are compared within one epoch only.
            await colony.gate.wait()
            if evaluation.epoch != colony.living.epoch:
                known, evaluation = None, await colony.scoring.evaluate(tree, colony.living.epoch)
        return known is not None, evaluation

    def _may_be_luck(self, evaluation: Evaluation) -> bool:
        """Whether a noisy score was measured only once so far, be it for this candidate or for an equal one before."""
        spec = self._colony.session.task.evaluation
        return spec.noisy and len(evaluation.samples) <= spec.stages[-1].repeats

    def _tied(self, child: Individual) -> bool:
        return child.score is not None and child.score == self._colony.living[child.name].score

    def _decide(self, worker: Worker, step: int, plan: Plan, tree: Oid, evaluation: Evaluation) -> Reason | None:
        if not evaluation.ok:
            return Reason(evaluation.status)
        colony = self._colony
        child = colony.living.measure((colony.session.host, worker.name), "", tree, evaluation)
        return colony.policy.accept(colony.scene(worker, step), plan, child)

    def _record(
        self, worker: Worker, step: int, proposal: Proposal, tree: Oid, evaluation: Evaluation, decision: Reason | None
    ) -> Oid:
        """Put the candidate on record, and seat it if it was accepted. Its commit."""
        colony = self._colony
        commit = self._books.candidate(worker.maker, step, proposal, tree, evaluation, decision)
        me = colony.living[(colony.session.host, worker.name)]
        if decision is None:
            colony.session.journal.move(worker.ref, me.commit, commit)
            colony.living.seat(colony.living.measure(me.name, commit, tree, evaluation))
            colony.population.phylogeny.retain(i.commit for i in colony.living)
        worker.variation.learn(proposal, decision is None)
        if restarted := colony.watch.took(proposal.parents, evaluation, accepted=decision is None):
            self._books.tell(restarted)
        return commit

    async def _mend(
        self, worker: Worker, plan: Plan, commit: Oid, tree: Oid, evaluation: Evaluation, wanted: Request
    ) -> None:
        """Let the fixer try before a failed child is given up; what it makes is a candidate of its own."""
        colony, fixer = self._colony, self._colony.services.fixer
        assert fixer is not None
        step = colony.next_step()
        helper = replace(worker, agent=replace(fixer, free_code=True))
        colony.meter.begin()
        try:
            proposal = await colony.services.repair(wanted, colony.versions.version(commit, tree, None), evaluation)
        except (Fruitless, ModelError) as error:
            if isinstance(error, Fruitless) and error.calls:
                told = Proposal((commit,), {}, str(error), "repair", "", None, error.evidence, error.calls)
                self._books.attempt(helper.maker, step, commit, told, Reason(error.reason))
            colony.meter.give_back(0)
            return
        mended = self._tree_of(tree, proposal, free_code=True)
        if isinstance(mended, Reason):
            self._books.attempt(helper.maker, step, commit, proposal, mended)
            colony.meter.give_back(0)
            return
        with colony.session.objects.holding(mended):
            if not await self._judge(helper, step, plan, proposal, mended, wanted):
                colony.meter.give_back(0)
