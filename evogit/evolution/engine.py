"""The asynchronous population: one task per agent, no generation barrier, nothing lost at any instant.

An agent's step is plan → propose → check → evaluate → decide → record. Entries are published in small batches; an event
is sent only once its entry is durable. `--deterministic` takes the agents in turn instead. Agents that wait for a model
all wait at once; those that compute take turns, so that the processors are never asked for more than they have.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, replace

from evogit.catalog import Agent
from evogit.errors import EvaluationError, ModelError, StoreError, VariationError
from evogit.evaluation.evaluator import Evaluator
from evogit.evolution import breeding, events
from evogit.evolution.breeding import Birth
from evogit.evolution.budget import Meter
from evogit.evolution.ledger import DAY, Spent, read_calls, total, write_calls
from evogit.evolution.living import Living
from evogit.evolution.scoring import Scoring
from evogit.evolution.selection import POLICIES, Individual, Plan, Scene, Settings, best_of
from evogit.evolution.services import FIXABLE, Services, pick_model
from evogit.evolution.session import Session, agent_names, living_refs
from evogit.evolution.telling import Teller
from evogit.evolution.versions import Versions
from evogit.models.desk import Desk
from evogit.store import refs
from evogit.store.repository import repack
from evogit.values import Call, Evaluation, Oid, Proposal, Reason
from evogit.variation.judging import Verdict
from evogit.variation.making import Workshop, make
from evogit.variation.request import Fruitless, Request, Retired, Variation

PUBLISH_EVERY = 0.2  # seconds
PUBLISH_AT = 64  # entries
POLL_EVERY = 1.0  # seconds between looks at what other processes wrote
REPACK_AT = 48  # packs written since the last repack
GRACE = 5.0  # seconds that running evaluations get after the time budget is spent
PATIENCE = 20  # how many idle proposals one that a model was asked for counts as
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

    def __init__(
        self, session: Session, evaluator: Evaluator, listen: events.Listener, workshop: Workshop | None = None
    ) -> None:
        self.session = session
        self.plan = session.plan
        self.population = session.population
        self._evaluator = evaluator
        self._listen = listen
        self._policy = POLICIES[self.plan.policy]
        self._settings = self.plan.selection or Settings(session.task.direction)
        self._versions = Versions(session.objects, session.editable)
        self._living = Living(session, self._versions)
        self._desk = workshop.desk if workshop else Desk({}, {}, time.monotonic)
        self._scoring = Scoring(session, evaluator, self._desk)
        self._teller = Teller(session, self._versions, self._living)
        self._services = Services.of(session, self._desk, self._teller, self.plan)
        self._workers = self._hire(workshop)
        self._retired: set[str] = set()
        self._roles: dict[str, Spent] = {}
        self._today = 0
        self._meter = Meter(self.plan.budget, session.task.direction, time.monotonic)
        self._meter.idle_limit = max(2_000, 200 * len(self._workers))
        self._desk.purse, self._desk.notice = self._meter, self._notify
        self._desk.patient, self._desk.timed = self.plan.budget.seconds is not None, not self.plan.deterministic
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

    def _hire(self, workshop: Workshop | None) -> list[Worker]:
        variations: dict[str, Variation] = {}
        workers = []
        for name, agent in agent_names(self.plan, self.session.number).items():
            if agent.name not in variations:
                variations[agent.name] = make(agent, workshop)
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
            self._write_off()
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
            self._meter.tokens,
            self._meter.cost,
            {
                role: {"calls": spent.calls, "tokens": spent.input + spent.output, "cost": spent.cost}
                for role, spent in sorted(self._roles.items())
            },
        )

    def _notify(self, text: str) -> None:
        self._listen(events.Notice(text))

    async def _in_turn(self) -> str:
        while not (reason := self._over()):
            worker = self._workers[self._step % len(self._workers)]
            if worker.name in self._retired:
                self._step += 1
                continue
            await self._take_step(worker)
            if self._services.notes_due():
                await self._take_notes()
            if len(self._unpublished) >= PUBLISH_AT:
                self._publish()
        return reason

    async def _at_once(self) -> str:
        """All agents at once, with the publisher and the lookout beside them, until the time is over."""
        slots = asyncio.Semaphore(self.plan.jobs + 1)
        async with asyncio.TaskGroup() as beside:
            chores = [beside.create_task(chore()) for chore in (self._publish_often, self._look_out, self._scribble)]
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
        fruitless = 0
        while not self._over() and worker.name not in self._retired:
            if worker.variation.waits:
                await self._gate.wait()
                fruitless = 0 if await self._take_step(worker) else fruitless + 1
                # An agent that has nobody to cross with, or a program that ends at once, must not spin.
                await asyncio.sleep(min(1.0, 0.01 * 2**fruitless) if fruitless else 0)
                continue
            async with slots:
                await self._gate.wait()
                if not self._over():
                    await self._take_step(worker)
            await asyncio.sleep(0)

    def _over(self) -> str | None:
        reason = self._stop or self._meter.exhausted()
        if reason is None and len(self._retired) == len(self._workers):
            reason = "models"
        if reason is not None:
            self._desk.end()
        return reason

    # Before the first step

    async def _prepare(self) -> None:
        session, run = self.session, self.plan.run
        self._today = session.journal.now() // DAY
        self._meter.day_tokens, self._meter.day_cost = self.population.ledger.days.get(self._today, (0, 0.0))
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

    async def _take_step(self, worker: Worker) -> bool:
        """One step of one agent. False if it led to no candidate."""
        step, self._step = self._step, self._step + 1
        self._meter.begin()
        asked = self._meter.tokens
        born = await self._breed(worker, step)
        if not born:
            self._meter.give_back(PATIENCE if worker.variation.waits and self._meter.tokens > asked else 1)
        every = self.session.task.evaluation.epoch_every
        if every and self.population.candidates >= (self._living.epoch + 1) * every:
            await self._turn_epoch()
        return born

    async def _breed(self, worker: Worker, step: int) -> bool:
        """One candidate. False if nothing was evaluated or recorded."""
        rng = random.Random(f"{self.plan.seed}:{step}")
        try:
            model = await self._model(worker, rng)
        except Retired as error:
            self._retired.add(worker.name)
            self._notify(f"{worker.name} stops: {error}")
            return False
        except VariationError as error:
            return self._skip(worker, step, worker.variation.operators[0], Reason(error.reason), str(error))
        plan, operator = self._plan(worker, step, rng)
        if plan is None:
            return self._skip(worker, step, operator, Reason.INVALID, "there is nobody to cross with yet")
        self._listen(events.Turn(worker.name, operator))
        wanted = self._request(worker, plan, operator, model, rng)
        try:
            proposal = await worker.variation.propose(wanted)
        except Fruitless as error:
            failed = Proposal(
                (plan.receiver.commit,), {}, str(error), operator, model, None, error.evidence, error.calls
            )
            return self._reject(worker, step, plan, failed, Reason(error.reason))
        except VariationError as error:
            return self._skip(worker, step, operator, Reason(error.reason), str(error))
        try:
            tree = self._tree_of(worker, plan, proposal)
        except VariationError:
            tree = Reason.INVALID
        if isinstance(tree, Reason):
            return self._reject(worker, step, plan, proposal, tree)
        return await self._judge(worker, step, self._now(plan), proposal, tree, wanted)

    async def _model(self, worker: Worker, rng: random.Random) -> str:
        """The model that `worker` asks next, if it asks any. Raises `Retired` if none will ever answer."""
        if not worker.agent.models:
            return ""
        try:
            return await pick_model(self._desk, self.population, worker.agent, rng, wait=not self.plan.deterministic)
        except ModelError as error:
            if error.fatal:
                raise Retired(str(error), Reason.UNANSWERED.value) from error
            raise VariationError(str(error), Reason.UNANSWERED.value) from error

    def _plan(self, worker: Worker, step: int, rng: random.Random) -> tuple[Plan | None, str]:
        """The parents and the operator; no parents if the agent only crosses and there is nobody to cross with."""
        variation = worker.variation
        plan: Plan | None = self._policy.plan(self._scene(worker, step), rng)
        assert plan is not None
        operators = [o for o in variation.operators if variation.needs_mate(o) == bool(plan.mate)]
        if not operators and plan.mate is None:
            others = [i for i in self._living.ordered if not self._related(i.commit, plan.receiver.commit)]
            operators = list(variation.operators)
            plan = Plan(plan.receiver, rng.choice(others)) if others else None
        elif not operators:
            plan = Plan(plan.receiver)
            operators = list(variation.operators)
        return plan, self.population.allocation(worker.agent.name).choose(operators, rng)

    def _request(self, worker: Worker, plan: Plan, operator: str, model: str, rng: random.Random) -> Request:
        pool = rng.sample(self._living.ordered, min(2, len(self._living.ordered)))
        return breeding.request(
            self.session.objects,
            self._versions,
            self.population.phylogeny,
            plan,
            operator,
            self.session.task,
            pool,
            rng,
            lambda: self._teller.background(plan.receiver, worker.name, worker.agent.name),
            worker.name,
            model,
        )

    def _now(self, plan: Plan) -> Plan:
        """The plan with the scores of the present epoch, which may have turned while a model was thinking."""
        if plan.receiver.commit and self._living.epoch:
            parents = [self._living.known(i.name, i.commit) for i in (plan.receiver, plan.mate) if i is not None]
            return Plan(*parents)
        return plan

    def _scene(self, worker: Worker, step: int) -> Scene:
        me = self._living[(self.session.host, worker.name)]
        turn = step // len(self._workers)
        return Scene(self._living.ordered or [me], me, turn, self._living.base, self._related, self._settings)

    def _related(self, a: Oid, b: Oid) -> bool:
        graph = self.population.phylogeny
        return a == b or (a in graph and b in graph and (graph.is_ancestor(a, b) or graph.is_ancestor(b, a)))

    def _tree_of(self, worker: Worker, plan: Plan, proposal: Proposal) -> Oid | Reason:
        """The child's tree, or why it is none; a model's patch that was tried before is no news, wherever it is put."""
        if not all(self._versions.editable(path) for path in proposal.changes):
            return Reason.PROTECTED
        try:
            tree = self.session.objects.edit(plan.receiver.tree, proposal.changes)
        except StoreError as error:
            raise VariationError(str(error)) from error
        if tree == plan.receiver.tree:
            return Reason.NO_OP
        if worker.agent.free_code and len(proposal.parents) == 1 and proposal.donor is None:
            patch = breeding.patch_id(self._versions, plan.receiver.tree, tree)
            if patch in self.population.memory.patches:
                return Reason.DUPLICATE
        return tree

    def _reject(self, worker: Worker, step: int, plan: Plan, proposal: Proposal, reason: Reason) -> bool:
        """A proposal that is not evaluated. What a model was paid for goes into the journal, with what it said."""
        if not proposal.calls:
            return self._skip(worker, step, proposal.operator, reason, proposal.summary)
        self._attempt(worker, step, plan.receiver.commit, proposal, reason)
        return False

    def _attempt(self, worker: Worker, step: int, parent: Oid, proposal: Proposal, reason: Reason) -> None:
        session = self.session
        clock = session.journal.tick()
        birth = Birth(self.plan.run, session.host, worker.name, worker.agent.name, step, clock.milliseconds)
        data = breeding.attempt(birth, parent, proposal.operator, reason.value, proposal.summary, proposal)
        subject = f"{reason.value} ({worker.name}, {proposal.operator}): {proposal.summary}"
        entry = session.journal.append("attempted", subject, data, clock=clock, evidence=proposal.evidence)
        self.population.apply(entry)
        self._rejected[reason.value] += 1
        self._bill(proposal.calls)
        tokens, money = total(proposal.calls)
        told = events.Skipped(
            step, worker.name, proposal.operator, reason.value, proposal.summary, proposal.model, tokens, money
        )
        self._unpublished.append(told)

    def _bill(self, calls: tuple[Call, ...]) -> None:
        for call in calls:
            self._roles.setdefault(call.role, Spent()).add(call)

    def _write_off(self) -> None:
        """Requests that were cancelled when the run ended: the server may bill them, so they are on record."""
        calls, self._desk.lost[:] = tuple(self._desk.lost), []
        if not calls:
            return
        data = {
            "outcome": Reason.UNANSWERED.value,
            "parents": [],
            "host": self.session.host,
            "agent": "cancelled",
            "definition": "cancelled",
            "operator": "cancelled",
            "summary": f"{len(calls)} requests were under way when the run ended",
            "calls": write_calls(calls),
        }
        entry = self.session.journal.append("attempted", str(data["summary"]), data)
        self.population.apply(entry)
        self._bill(calls)

    def _skip(self, worker: Worker, step: int, operator: str, reason: Reason, detail: str) -> bool:
        """Count a rejection, at once here; the next entry carries the counts into the journal."""
        self.population.skip(worker.agent.name, operator, reason.value)
        self._skipped.setdefault(reason.value, Counter())[f"{worker.agent.name}/{operator}"] += 1
        self._rejected[reason.value] += 1
        self._listen(events.Skipped(step, worker.name, operator, reason.value, detail))
        return False

    async def _judge(
        self, worker: Worker, step: int, plan: Plan, proposal: Proposal, tree: Oid, wanted: Request
    ) -> bool:
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
        verdicts: list[tuple[Verdict, str, Oid]] = []
        if known is not None and (decision is not None or self._judging == "decides"):
            return self._reject(worker, step, plan, proposal, Reason.DUPLICATE)
        if self._judging != "no":
            decision = await self._ask_critic(worker, step, plan, tree, evaluation, decision, verdicts, wanted.rng)
        commit = self._record(worker, step, proposal, tree, evaluation, decision)
        for verdict, model, than in verdicts:
            self._journal_verdict(commit, than, verdict, model)
        if decision is None and self._judging == "decides":
            await self._challenge(worker, commit, tree, evaluation, wanted.rng)
        mendable = evaluation.status in FIXABLE and worker.agent.free_code and proposal.operator != "repair"
        if mendable and self._services.fixer is not None and not self._over():
            await self._mend(worker, plan, commit, tree, evaluation, wanted)
        return True

    @property
    def _judging(self) -> str:
        return self.session.task.evaluation.judge

    async def _ask_critic(
        self,
        worker: Worker,
        step: int,
        plan: Plan,
        tree: Oid,
        evaluation: Evaluation,
        decision: Reason | None,
        verdicts: list[tuple[Verdict, str, Oid]],
        rng: random.Random,
    ) -> Reason | None:
        """The decision once the critic has spoken; its verdicts are added to `verdicts`."""
        if not evaluation.ok:
            return decision
        me = self._living[(self.session.host, worker.name)]
        child = self._living.measure(me.name, "", tree, evaluation)
        rivals = [me]
        if self.plan.policy == "paper" and plan.mate is not None:
            rivals += [i for i in (plan.receiver, plan.mate) if i.tree != me.tree]
        if self._judging == "ties" and (child.score != me.score or child.score is None):
            return decision
        for rival in rivals:
            try:
                verdict, model = await self._services.judge(rng, child, evaluation, rival)
            except Fruitless as error:
                self._bill(error.calls)
                failed = Proposal((rival.commit,), {}, str(error), "judge", "", None, error.evidence, error.calls)
                if error.calls:
                    self._attempt(worker, step, rival.commit, failed, Reason(error.reason))
                return Reason.UNANSWERED
            except ModelError:
                return Reason.UNANSWERED
            verdicts.append((verdict, model, rival.commit))
            if verdict.outcome != "better":
                return Reason.WORSE
        return None

    async def _challenge(
        self, worker: Worker, commit: Oid, tree: Oid, evaluation: Evaluation, rng: random.Random
    ) -> None:
        """A newcomer that has not met the champion meets it now: the best of a judged task is who was never beaten."""
        champion = self.population.best()
        if champion is None or champion.commit == commit:
            return
        holder = self._living.known((champion.host, champion.agent), champion.commit)
        child = self._living.measure((self.session.host, worker.name), commit, tree, evaluation)
        try:
            verdict, model = await self._services.judge(rng, child, evaluation, holder)
        except (Fruitless, ModelError):
            return
        self._journal_verdict(commit, champion.commit, verdict, model)

    def _journal_verdict(self, commit: Oid, than: Oid, verdict: Verdict, model: str) -> None:
        session, critic = self.session, self._services.critic
        assert critic is not None
        data = {
            "verdict": verdict.outcome,
            "than": than,
            "reason": verdict.reason,
            "agreed": verdict.agreed,
            "digest": session.digest,
            "host": session.host,
            "agent": critic.name,
            "definition": critic.name,
            "model": model,
            "calls": write_calls(verdict.calls),
        }
        subject = f"judged {commit[:10]} {verdict.outcome} than {than[:10]}: {verdict.reason}"
        entry = session.journal.append("judged", subject, data, candidate=commit, evidence=verdict.evidence)
        self.population.apply(entry)
        self._bill(verdict.calls)
        self._unpublished.append(events.Judged(commit, than, verdict.outcome, verdict.reason))

    async def _mend(
        self, worker: Worker, plan: Plan, commit: Oid, tree: Oid, evaluation: Evaluation, wanted: Request
    ) -> None:
        """Let the fixer try before a failed child is given up; what it makes is a candidate of its own."""
        fixer = self._services.fixer
        assert fixer is not None
        step, self._step = self._step, self._step + 1
        helper = replace(worker, agent=replace(fixer, free_code=True))
        failed = self._versions.version(commit, tree, None)
        self._meter.begin()
        try:
            proposal = await self._services.repair(wanted, failed, evaluation)
        except (Fruitless, ModelError) as error:
            if isinstance(error, Fruitless) and error.calls:
                told = Proposal((commit,), {}, str(error), "repair", "", None, error.evidence, error.calls)
                self._attempt(helper, step, commit, told, Reason(error.reason))
            self._meter.give_back(0)
            return
        broken = replace(plan.receiver, commit=commit, tree=tree, score=None)
        try:
            mended = self._tree_of(helper, Plan(broken), proposal)
        except VariationError:
            mended = Reason.INVALID
        if isinstance(mended, Reason):
            self._attempt(helper, step, commit, proposal, mended)
            self._meter.give_back(0)
        elif not await self._judge(helper, step, plan, proposal, mended, wanted):
            self._meter.give_back(0)

    def _decide(self, worker: Worker, step: int, plan: Plan, tree: Oid, evaluation: Evaluation) -> Reason | None:
        if not evaluation.ok:
            return Reason(evaluation.status)
        child = self._living.measure((self.session.host, worker.name), "", tree, evaluation)
        return self._policy.accept(self._scene(worker, step), plan, child)

    def _record(
        self, worker: Worker, step: int, proposal: Proposal, tree: Oid, evaluation: Evaluation, decision: Reason | None
    ) -> Oid:
        """Commit and journal the candidate, count it, and seat it if it was accepted. Its commit."""
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
        self._bill(proposal.calls)
        tokens, money = total(proposal.calls)
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
                proposal.model,
                tokens,
                money,
            )
        )
        if len(self._unpublished) >= PUBLISH_AT:
            self._wake.set()
        return commit

    def _journal(
        self, worker: Worker, step: int, proposal: Proposal, tree: Oid, evaluation: Evaluation, decision: Reason | None
    ) -> tuple[Oid, bool]:
        """Write the candidate and its entry; its commit, and whether it leads the epoch now."""
        session, population = self.session, self.population
        clock = session.journal.tick()
        birth = Birth(self.plan.run, session.host, worker.name, worker.agent.name, step, clock.milliseconds)
        served = self._desk.served(proposal.model)
        commit = breeding.candidate(session.objects, birth, proposal, tree, evaluation, served)
        said = "accepted" if decision is None else decision.value
        data = breeding.record(
            birth, proposal, tree, session.digest, evaluation, said, timed=not self.plan.deterministic
        )
        if asked := self._scoring.calls(evaluation):
            data["calls"] = write_calls((*proposal.calls, *asked))
            self._bill(asked)
        if worker.agent.free_code and len(proposal.parents) == 1 and proposal.donor is None:
            parent = session.objects.commit(proposal.parents[0]).tree
            data["patch"] = breeding.patch_id(self._versions, parent, tree)
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
                self.population.memory.patches.clear()
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
            self._over()
            self._turn_day()
            entries = self.session.new_entries()
            for entry in entries:
                self.session.journal.observe(entry.clock)
                self.population.apply(entry)
                tokens, money = total(read_calls(entry.data))
                self._meter.day_tokens += tokens
                self._meter.day_cost += money
            if entries:
                self._living.see_others(self._mine())

    def _turn_day(self) -> None:
        """At midnight (UTC) the limits of a day begin anew; what was spent before counts only for the run."""
        today = self.session.journal.now() // DAY
        if today != self._today:
            self._today = today
            self._meter.day_tokens, self._meter.day_cost = -self._meter.tokens, -self._meter.cost

    async def _scribble(self) -> None:
        """Let the scribe write, now and then, while the others go on."""
        while self._services.scribe is not None:
            await asyncio.sleep(0.2)
            if self._services.notes_due() and not self._over():
                await self._take_notes()

    async def _take_notes(self) -> None:
        recent = list(self.population.memory.recent)
        entry = await self._services.take_notes(recent, random.Random(f"{self.plan.seed}:notes:{self._step}"))
        if entry is not None:
            self._bill(read_calls(entry.data))
            if entry.kind == "noted":
                self._unpublished.append(events.Noted(str(entry.data["text"])))
