"""The critic's part in a step: whether a child beats who stands in its way, by verdict instead of by score."""

from __future__ import annotations

import random
from dataclasses import dataclass

from evogit.errors import ModelError
from evogit.evolution.colony import Colony, Worker
from evogit.evolution.selection import Individual, Plan
from evogit.values import Evaluation, Oid, Proposal, Reason
from evogit.variation.judging import Verdict
from evogit.variation.request import Fruitless


@dataclass(frozen=True, slots=True)
class Spoken:
    """A verdict over a child: by which model, and over whom."""

    verdict: Verdict
    model: str
    than: Oid


async def contest(
    colony: Colony, worker: Worker, step: int, plan: Plan, child: Individual, told: Evaluation, rng: random.Random
) -> tuple[Reason | None, list[Spoken]]:
    """Whether `child` beats its agent's individual (and, in the paper's crossover, both parents), and what was said."""
    me = colony.living[child.name]
    rivals = [me]
    if colony.plan.policy == "paper" and plan.mate is not None:
        rivals += [i for i in (plan.receiver, plan.mate) if i.tree != me.tree]
    spoken: list[Spoken] = []
    for rival in rivals:
        try:
            verdict, model = await colony.services.judge(rng, child, told, rival)
        except Fruitless as error:
            if error.calls:
                failed = Proposal((rival.commit,), {}, str(error), "judge", "", None, error.evidence, error.calls)
                colony.books.attempt(worker.maker, step, rival.commit, failed, Reason(error.reason))
            return Reason.UNANSWERED, spoken
        except ModelError:
            return Reason.UNANSWERED, spoken
        spoken.append(Spoken(verdict, model, rival.commit))
        if verdict.outcome != "better":
            return Reason.WORSE, spoken
    return None, spoken


async def challenge(colony: Colony, newcomer: Individual, evaluation: Evaluation, rng: random.Random) -> Spoken | None:
    """A newcomer that has not met the champion meets it now: the best of a judged task is who was never beaten."""
    champion = colony.population.best()
    if champion is None or champion.commit == newcomer.commit:
        return None
    holder = colony.living.known((champion.host, champion.agent), champion.commit)
    try:
        verdict, model = await colony.services.judge(rng, newcomer, evaluation, holder)
    except (Fruitless, ModelError):
        return None
    return Spoken(verdict, model, champion.commit)
