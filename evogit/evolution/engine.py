"""The asynchronous population: one task per agent, no generation barrier, nothing lost at any instant.

`--deterministic` takes the agents in turn instead. Agents that wait for a model all wait at once; those that compute
take turns, so that the processors are never asked for more than they have.
"""

from __future__ import annotations

import asyncio
import random

from evogit.errors import EvaluationError
from evogit.evaluation.engines import Evaluates
from evogit.evolution import events
from evogit.evolution.checking import Checking
from evogit.evolution.colony import Worker, gather
from evogit.evolution.epochs import Epochs
from evogit.evolution.ferry import Ferry
from evogit.evolution.heeding import Heeding
from evogit.evolution.ledger import DAY, read_calls, spent_on, total
from evogit.evolution.selection import best_of
from evogit.evolution.session import Session, living_refs
from evogit.evolution.stepping import Stepping
from evogit.store import refs
from evogit.store.remote import Remote
from evogit.store.repository import repack
from evogit.values import Oid
from evogit.variation.making import Workshop

PUBLISH_EVERY = 0.2  # seconds
POLL_EVERY = 1.0  # seconds between looks at what other processes wrote
REPACK_AT = 48  # packs written since the last repack
GRACE = 5.0  # seconds that running evaluations get after the time budget is spent


class Engine:
    """Runs one session until its budget is spent, a stop is asked for, or nothing new can be found."""

    def __init__(
        self,
        session: Session,
        evaluator: Evaluates,
        listen: events.Listener,
        workshop: Workshop | None = None,
        remote: Remote | None = None,
    ) -> None:
        self.session = session
        self.plan = session.plan
        self.population = session.population
        self._evaluator = evaluator
        self._slots = asyncio.Semaphore(1)
        self._room = 0
        self._colony = colony = gather(session, evaluator, listen, workshop)
        self._books, self._living, self._meter = colony.books, colony.living, colony.meter
        self._epochs = Epochs(colony)
        self._stepping = Stepping(colony, self._epochs)
        self._heeding = Heeding(colony)
        self._checking = Checking(colony)
        self._ferry = Ferry(colony, remote, session.plan.sync_every) if remote else None
        self._today = 0

    # The run as a whole

    def stop(self, reason: str = "interrupted") -> None:
        """End gracefully: nothing new is begun, what runs is finished and recorded."""
        self._colony.stop(reason)

    async def run(self) -> events.Finished:
        """Evolve. Whatever ends it, what was evaluated is published before this returns or raises.

        Raises:
            EvaluationError: the starting version fails its own evaluation.
            StoreError: the repository can no longer be written. What was acknowledged stays.
        """
        try:
            await self._prepare()
            self._colony.gate.set()
            reason = await (self._in_turn() if self.plan.deterministic else self._at_once())
            if reason != "interrupted":
                await self._epochs.validate_champions()
        finally:
            self._books.write_off()
            self._publish()
        if self._ferry is not None:
            await self._ferry.cross()
            await self._look()
        if self._books.packs > 8:
            await asyncio.to_thread(repack, self.session.repository)
            self.session.objects.reopen()
        best = self.population.best()
        return events.Finished(
            reason,
            self._meter.finished,
            self._books.accepted,
            self._meter.seconds,
            best.commit if best else None,
            best.score if best else None,
            dict(self._books.rejected),
            self._meter.tokens,
            self._meter.cost,
            {
                role: {"calls": spent.calls, "tokens": spent.input + spent.output, "cost": spent.cost}
                for role, spent in sorted(self._books.roles.items())
            },
            dict(self._evaluator.report()),
        )

    async def _in_turn(self) -> str:
        try:
            async with asyncio.timeout(self._time_left()):
                while not self._colony.over():
                    await self._turn()
        except TimeoutError:
            self.stop("seconds")
        return self._colony.over() or "interrupted"

    async def _turn(self) -> None:
        worker = self._colony.workers[self._colony.step % len(self._colony.workers)]
        if worker.name in self._colony.retired:
            self._colony.step += 1
            return
        await self._stepping.take(worker)
        if self._colony.services.notes_due():
            await self._take_notes()
        if self._books.full:
            self._publish()
            await self._join_packs()
            await self._look()

    async def _at_once(self) -> str:
        """All agents at once, with the publisher and the lookout beside them, until the time is over."""
        slots = self._slots
        self._make_room()
        async with asyncio.TaskGroup() as beside:
            doing = [self._publish_often, self._look_out, self._scribble, self._checking.go_on]
            doing += [self._ferry.ply] if self._ferry is not None else []
            chores = [beside.create_task(chore()) for chore in doing]
            try:
                async with asyncio.timeout(self._time_left()), asyncio.TaskGroup() as agents:
                    for worker in self._colony.workers:
                        agents.create_task(self._live(worker, slots))
            except TimeoutError:
                self.stop("seconds")
            finally:
                for chore in chores:
                    chore.cancel()
        return self._colony.over() or "interrupted"

    def _make_room(self) -> None:
        """One agent more than evaluations at a time may work at once; also when a cluster has grown."""
        for _ in range(self._room, self._evaluator.slots):
            self._slots.release()
        self._room = max(self._room, self._evaluator.slots)

    def _time_left(self) -> float | None:
        seconds = self.plan.budget.seconds
        return None if seconds is None else max(0.0, seconds - self._meter.seconds) + GRACE

    async def _live(self, worker: Worker, slots: asyncio.Semaphore) -> None:
        fruitless = 0
        while not self._colony.over() and worker.name not in self._colony.retired:
            if worker.variation.waits:
                await self._colony.gate.wait()
                fruitless = 0 if await self._stepping.take(worker) else fruitless + 1
                # An agent that has nobody to cross with, or a program that ends at once, must not spin.
                await asyncio.sleep(min(1.0, 0.01 * 2**fruitless) if fruitless else 0)
                continue
            async with slots:
                await self._colony.gate.wait()
                if not self._colony.over():
                    await self._stepping.take(worker)
            await asyncio.sleep(0)

    # Before the first step

    async def _prepare(self) -> None:
        session, run = self.session, self.plan.run
        self._today = session.journal.now() // DAY
        self._meter.day_tokens, self._meter.day_cost = self._spent_today()
        if session.base not in self.population.trees:
            self.population.trees[session.base] = session.base_tree
        await self._score_base()
        found = self._catch_up(living_refs(session.objects, run))
        for name, commit in found.items():
            individual = self._living.known(name, commit)
            if individual.score is None and (commit in self.population.trees or name in self._colony.mine):
                await self._colony.scoring.score(commit, individual.tree, name[1], self._living.epoch)
            self._living.seat(self._living.known(name, commit))
        rng = random.Random(f"{self.plan.seed}:start:{session.number}")
        others = list(self._living.ordered)
        for worker in self._colony.workers:
            name = (session.host, worker.name)
            if name not in found:
                first = (
                    best_of(self._colony.settings.direction, rng.choices(others, k=2))
                    if others
                    else self._living.base()
                )
                session.journal.move(worker.ref, None, first.commit)
                self._living.seat(self._living.copy(first, name))
        await self._heeding.heed()
        self._publish()
        best = self.population.best()
        self._meter.best = best.score if best else None
        self._books.listen(
            events.Started(
                run,
                session.task.name,
                session.base,
                session.resumed,
                self.population.candidates,
                {worker.name: worker.agent.name for worker in self._colony.workers},
                self._evaluator.slots,
                self._evaluator.confinement,
                session.task.direction,
                best.score if best else None,
                dict(self._evaluator.report()),
            )
        )

    def _catch_up(self, found: dict[tuple[str, str], Oid]) -> dict[tuple[str, str], Oid]:
        """After a kill between the journal's ref and an agent's: the journal says where the branch should stand."""
        known, mine = self.population.trees, self._colony.mine
        for name, seat in self.population.seats.items():
            at = found.get(name)
            if name in mine and at != seat.commit and (at is None or at in known):
                self.session.journal.move(refs.individual(self.plan.run, *name), at, seat.commit)
                found[name] = seat.commit
        return found

    async def _score_base(self) -> None:
        """The start is scored like any version; a start that fails its own evaluation is the user's to mend."""
        session = self.session
        evaluation = await self._colony.scoring.score(session.base, session.base_tree, "base", self._living.epoch)
        if not evaluation.ok:
            stage = f", stage {evaluation.stage}" if evaluation.stage else ""
            raise EvaluationError(
                f"the starting version {session.base[:10]} fails its own evaluation ({evaluation.status}{stage}). "
                f"Mend it or the task {session.task.name!r}, then: evogit run\n{evaluation.feedback}".rstrip()
            )
        await self._colony.scoring.validate(session.base, session.base_tree, "base")

    # Beside the agents

    def _publish(self) -> None:
        """Make everything so far durable; an agent whose branch somebody else moved goes on from there."""
        for ref, error in self._books.publish().items():
            self._books.notify(f"{error}; the agent continues from where the branch stands now")
            self._living.follow(ref)

    async def _publish_often(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PUBLISH_EVERY):
                    await self._books.wake.wait()
            except TimeoutError:
                pass
            self._books.wake.clear()
            self._publish()
            await self._join_packs()

    async def _join_packs(self) -> None:
        if self._books.packs < REPACK_AT:
            return
        self._books.packs = 0
        complaint = await asyncio.to_thread(repack, self.session.repository)
        self.session.objects.reopen()
        if complaint:
            self._books.notify(f"git repack did not work, packs stay small: {complaint}")

    async def _look_out(self) -> None:
        """See what other processes write into this repository."""
        while True:
            await asyncio.sleep(POLL_EVERY)
            self._colony.over()
            self._make_room()
            self._turn_day()
            await self._look()

    async def _look(self) -> None:
        """Take in what others wrote since the last look, and heed what people decided."""
        entries = self._heeding.entries()
        for entry in entries:
            if restarted := self._colony.watch.heard(entry):
                self._books.tell(restarted)
            tokens, money = total(read_calls(entry.data))
            self._meter.day_tokens += tokens
            self._meter.day_cost += money
        if entries:
            for complaint in self._ferry.moor() if self._ferry is not None else ():
                self._books.notify(complaint)
            self._living.see_others(self._colony.mine)
        await self._heeding.heed()

    def _spent_today(self) -> tuple[int, float]:
        """By this run; where a day's spending is limited, also by the repository's other runs so far."""
        tokens, money = self.population.ledger.days.get(self._today, (0, 0.0))
        if self.plan.budget.day_tokens is None and self.plan.budget.day_cost is None:
            return tokens, money
        others = [run for run in self.session.repository.runs() if run != self.plan.run]
        more = spent_on(self.session.objects, others, self._today)
        return tokens + more[0], money + more[1]

    def _turn_day(self) -> None:
        """At midnight (UTC) the limits of a day begin anew; what was spent before counts only for the run."""
        today = self.session.journal.now() // DAY
        if today != self._today:
            self._today = today
            self._meter.day_tokens, self._meter.day_cost = -self._meter.tokens, -self._meter.cost

    async def _scribble(self) -> None:
        """Let the scribe write, now and then, while the others go on."""
        while self._colony.services.scribe is not None:
            await asyncio.sleep(0.2)
            if self._colony.services.notes_due() and not self._colony.over():
                await self._take_notes()

    async def _take_notes(self) -> None:
        recent = list(self.population.memory.recent)
        entry = await self._colony.services.take_notes(
            recent, random.Random(f"{self.plan.seed}:notes:{self._colony.step}")
        )
        if entry is not None:
            self._books.bill(read_calls(entry.data))
            if entry.kind == "noted":
                self._books.tell(events.Noted(str(entry.data["text"])))
