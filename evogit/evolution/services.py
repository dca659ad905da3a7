"""The agents that serve the others: fixers, critics and scribes. They own no branch; the engine calls on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from evogit.catalog import Agent
from evogit.errors import ModelError, UsageError
from evogit.evolution.ledger import write_calls
from evogit.evolution.population import Population
from evogit.evolution.selection import Individual
from evogit.evolution.session import Plan, Session
from evogit.evolution.telling import Teller
from evogit.models.desk import Desk
from evogit.store.journal import Entry
from evogit.values import Evaluation, Proposal, Reason, Version
from evogit.variation.judging import Contender, Distil, Judge, Verdict
from evogit.variation.prompts import feedback
from evogit.variation.repair import Repair
from evogit.variation.request import Fruitless, Request

FIXABLE = frozenset(
    reason.value for reason in (Reason.FAILED, Reason.CRASHED, Reason.TIMEOUT, Reason.MEMORY, Reason.NO_RESULT)
)


async def pick_model(desk: Desk, population: Population, agent: Agent, rng: random.Random, *, wait: bool = True) -> str:
    """The model that `agent` asks next, by what each earned per unit spent; rests are waited for.

    Raises:
        ModelError: all have left, or the run ends.
    """
    names = list(agent.models)
    awake = desk.awake(names)
    if not awake and wait:
        await desk.until_awake(names)
        awake = desk.awake(names)
    if not awake:
        raise ModelError(f"no model of {agent.name} can be asked now", fatal=desk.gone(names))
    return population.model_allocation(agent.name).choose(awake, rng, [agent.models[name] for name in awake])


@dataclass
class Services:
    """Whoever serves in one session."""

    session: Session
    desk: Desk
    teller: Teller
    fixer: Agent | None = None
    critic: Agent | None = None
    scribe: Agent | None = None

    @classmethod
    def of(cls, session: Session, desk: Desk, teller: Teller, plan: Plan) -> Services:
        """Raises `UsageError` when the task needs a judge and there is none, or one kind serves twice."""
        found: dict[str, Agent] = {}
        for agent, count in plan.agents:
            if agent.serves and count:
                if agent.operator in found:
                    raise UsageError(f"{found[agent.operator].name} and {agent.name} both {agent.operator}: name one")
                found[agent.operator] = agent
        if session.task.evaluation.judge in ("decides", "ties") and "judge" not in found:
            raise UsageError(
                f"task {session.task.name!r} is decided by a judge: add critic to the agents, as "
                '--agents "coder:4, critic"'
            )
        return cls(session, desk, teller, found.get("repair"), found.get("judge"), found.get("distil"))

    @property
    def gated(self) -> bool:
        """Whether a critic decides among those that the score lets pass."""
        return self.session.task.evaluation.judge == "gated" and self.critic is not None

    @property
    def without_judge(self) -> bool:
        """Whether nothing can be decided any more: the task needs verdicts, and its critic's models have all left."""
        decides = self.session.task.evaluation.judge in ("decides", "gated")
        return decides and self.critic is not None and self.desk.gone(self.critic.models)

    async def repair(self, request: Request, child: Version, evaluation: Evaluation) -> Proposal:
        """A mended child. Raises `Fruitless` or `ModelError`."""
        assert self.fixer is not None
        model = await pick_model(self.desk, self.session.population, self.fixer, request.rng)
        mender = Repair(self.fixer, self.desk, self.session.editable)
        return await mender.mend(request, child, evaluation, model)

    async def judge(
        self, rng: random.Random, challenger: Individual, told: Evaluation, holder: Individual
    ) -> tuple[Verdict, str]:
        """Whether `challenger` beats `holder`, and the model that says so. Raises `Fruitless` or `ModelError`."""
        assert self.critic is not None
        model = await pick_model(self.desk, self.session.population, self.critic, rng)
        known = self.teller.evaluation(holder.commit, holder.tree)
        diffs = (
            self.teller.diff(holder.tree, challenger.tree, 400),
            self.teller.diff(challenger.tree, holder.tree, 400),
        )
        stage = self.session.population.decisions.stage
        goal = "\n\n".join(filter(None, (self.session.task.goal.strip(), stage.text if stage else "")))
        verdict = await Judge(self.critic, self.desk).compare(
            goal,
            Contender(told.score, feedback(told)),
            Contender(holder.score, feedback(known)),
            diffs,
            model,
        )
        return verdict, model

    def notes_due(self) -> bool:
        population = self.session.population
        return self.scribe is not None and population.candidates - population.memory.noted_at >= self.scribe.every

    async def take_notes(self, recent: Sequence[Entry], rng: random.Random) -> Entry | None:
        """Distil the `recent` entries into notes and journal them; None if the model had nothing to say."""
        assert self.scribe is not None
        session, population = self.session, self.session.population
        population.memory.noted_at = population.candidates
        before = "\n".join(text for _, text in population.memory.notes)
        try:
            model = await pick_model(self.desk, population, self.scribe, rng, wait=False)
            text, calls, evidence = await Distil(self.scribe, self.desk).notes(
                session.task.goal.strip(), "\n".join(_line(entry) for entry in recent), before, model
            )
        except Fruitless as error:
            if not error.calls:
                return None
            return self._attempt(error)
        except ModelError:
            return None
        data = {
            "text": text,
            "agent": self.scribe.name,
            "definition": self.scribe.name,
            "host": session.host,
            "model": model,
            "candidates": population.candidates,
            "calls": write_calls(calls),
        }
        entry = session.journal.append("noted", f"noted by {self.scribe.name}: {text}", data, evidence=evidence)
        population.apply(entry)
        return entry

    def _attempt(self, error: Fruitless) -> Entry:
        assert self.scribe is not None
        data = {
            "outcome": error.reason,
            "agent": self.scribe.name,
            "definition": self.scribe.name,
            "host": self.session.host,
            "operator": "distil",
            "summary": str(error)[:300],
            "parents": [],
            "calls": write_calls(error.calls),
        }
        entry = self.session.journal.append(
            "attempted", f"{error.reason} ({self.scribe.name})", data, evidence=error.evidence
        )
        self.session.population.apply(entry)
        return entry


def _line(entry: Entry) -> str:
    data = entry.data
    score = data.get("score")
    shown = "" if score is None else f" score {score:.6g}"
    return f"- {data.get('summary', '')} → {data.get('decision', data.get('outcome', ''))}{shown}"
