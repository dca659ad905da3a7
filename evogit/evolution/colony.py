"""What the agents of one process share while they evolve: the session, what was made for it, and who works."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from evogit.catalog import Agent
from evogit.evaluation.engines import Evaluates
from evogit.evolution import events
from evogit.evolution.books import Books, Maker
from evogit.evolution.budget import Meter
from evogit.evolution.living import Living
from evogit.evolution.population import Population
from evogit.evolution.scoring import Scoring
from evogit.evolution.selection import POLICIES, Policy, Scene, Settings
from evogit.evolution.services import Services
from evogit.evolution.session import Plan, Session, agent_names
from evogit.evolution.standstill import Watch
from evogit.evolution.telling import Teller
from evogit.evolution.versions import Versions
from evogit.models.desk import Desk
from evogit.store import refs
from evogit.values import Oid
from evogit.variation.making import Workshop, make
from evogit.variation.request import Variation


@dataclass(frozen=True, slots=True)
class Worker:
    """One agent of this process. Agents of one definition share a variation."""

    name: str
    agent: Agent
    variation: Variation
    ref: str

    @property
    def maker(self) -> Maker:
        """How the books name it."""
        return Maker(self.name, self.agent.name, self.agent.free_code)


@dataclass
class Colony:
    """Made by `gather`. `gate` is closed while an epoch turns; `step` numbers the steps of the whole run."""

    session: Session
    policy: Policy
    settings: Settings
    versions: Versions
    living: Living
    desk: Desk
    meter: Meter
    scoring: Scoring
    teller: Teller
    services: Services
    books: Books
    workers: list[Worker]
    watch: Watch
    step: int
    retired: set[str] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: str | None = None

    @property
    def plan(self) -> Plan:
        return self.session.plan

    @property
    def population(self) -> Population:
        return self.session.population

    @property
    def mine(self) -> set[tuple[str, str]]:
        """Host and name of this process's agents."""
        return {(self.session.host, worker.name) for worker in self.workers}

    def next_step(self) -> int:
        """The number of the step that begins now."""
        self.step += 1
        return self.step - 1

    def stop(self, reason: str) -> None:
        """Begin nothing more, for the first reason given. Nobody waits for a resting model any longer."""
        self.stopped = self.stopped or reason
        self.desk.end()
        self.books.wake.set()

    def over(self) -> str | None:
        """Why nothing more is begun, or None."""
        reason = self.stopped or self.meter.exhausted() or ("exhausted" if self.watch.over else None)
        if reason is None and (len(self.retired) == len(self.workers) or self.services.without_judge):
            reason = "models"
        if reason is not None:
            self.desk.end()
        return reason

    def scene(self, worker: Worker, step: int) -> Scene:
        """What the policy may look at in `worker`'s step."""
        me = self.living[(self.session.host, worker.name)]
        turn = step // len(self.workers)
        return Scene(self.living.ordered or [me], me, turn, self.living.base, self.related, self.settings)

    def related(self, a: Oid, b: Oid) -> bool:
        """Whether one commit is an ancestor of the other, or the same."""
        graph = self.population.phylogeny
        return a == b or (a in graph and b in graph and (graph.is_ancestor(a, b) or graph.is_ancestor(b, a)))


def gather(session: Session, evaluator: Evaluates, listen: events.Listener, workshop: Workshop | None) -> Colony:
    """Everything that one session needs. Raises `UsageError` if the agents do not fit the task."""
    plan = session.plan
    settings = plan.selection or Settings(session.task.direction)
    versions = Versions(session.objects, session.editable)
    living = Living(session, versions)
    desk = workshop.desk if workshop else Desk({}, {}, time.monotonic)
    teller = Teller(session, versions, living)
    services = Services.of(session, desk, teller, plan)
    workers = _hire(session, workshop)
    meter = Meter(plan.budget, session.task.direction, time.monotonic)
    meter.idle_limit = max(2_000, 200 * len(workers))
    scoring = Scoring(session, evaluator, desk)
    books = Books(session, versions, desk, meter, scoring, listen)
    desk.purse, desk.notice = meter, books.notify
    desk.patient, desk.timed = plan.budget.seconds is not None, not plan.deterministic
    return Colony(
        session,
        POLICIES[plan.policy],
        settings,
        versions,
        living,
        desk,
        meter,
        scoring,
        teller,
        services,
        books,
        workers,
        Watch(plan.standstill, session, living, [worker.name for worker in workers]),
        session.population.steps,
    )


def _hire(session: Session, workshop: Workshop | None) -> list[Worker]:
    variations: dict[str, Variation] = {}
    workers = []
    for name, agent in agent_names(session.plan, session.number).items():
        if agent.name not in variations:
            variations[agent.name] = make(agent, workshop)
        ref = refs.individual(session.plan.run, session.host, name)
        workers.append(Worker(name, agent, variations[agent.name], ref))
    return workers
