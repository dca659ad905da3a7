"""The critic's part in a step: whether a child beats who stands in its way, by verdict instead of by score."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from dataclasses import dataclass

from evogit.errors import ModelError
from evogit.evolution.books import Maker
from evogit.evolution.colony import Colony
from evogit.evolution.selection import Individual, Plan
from evogit.values import Call, Evaluation, Oid, Proposal, Reason, better
from evogit.variation.judging import Verdict
from evogit.variation.request import Fruitless


@dataclass(frozen=True, slots=True)
class Spoken:
    """A verdict over a child: by which model, and over whom."""

    verdict: Verdict
    model: str
    than: Oid


def paid(spoken: Sequence[Spoken]) -> tuple[Call, ...]:
    """What the verdicts cost."""
    return tuple(call for each in spoken for call in each.verdict.calls)


async def contest(
    colony: Colony, step: int, plan: Plan, child: Individual, told: Evaluation, rng: random.Random
) -> tuple[Reason | None, list[Spoken]]:
    """Whether `child` beats its agent's individual (and, in the paper's crossover, both parents), and what was said."""
    me = colony.living[child.name]
    rivals = [me]
    if colony.plan.policy == "paper" and plan.mate is not None:
        rivals += [i for i in (plan.receiver, plan.mate) if i.tree != me.tree]
    spoken: list[Spoken] = []
    for rival in rivals:
        with colony.books.desk.owing(paid(spoken)):
            said = await _ask(colony, step, child, told, rival, rng)
        if said is None:
            return Reason.UNANSWERED, spoken
        spoken.append(said)
        if said.verdict.outcome != "better":
            return Reason.WORSE, spoken
    return None, spoken


def behind(colony: Colony, child: Individual, score: float | None) -> bool:
    """Whether `child` scores worse than that: then no critic is asked about it."""
    if child.score is None or score is None:
        return child.score is None
    return better(colony.settings.direction, score, child.score)


async def challenge(
    colony: Colony, step: int, newcomer: Individual, evaluation: Evaluation, rng: random.Random, beaten: Set[Oid]
) -> Spoken | None:
    """A newcomer that has not met the champion meets it now: the best of a judged task is who was never beaten.

    `beaten`: whom it has met.
    """
    champion = colony.population.best()
    if champion is None or champion.commit in (newcomer.commit, *beaten):
        return None
    if colony.services.gated and behind(colony, newcomer, champion.score):
        return None
    holder = colony.living.known((champion.host, champion.agent), champion.commit)
    return await _ask(colony, step, newcomer, evaluation, holder, rng)


async def _ask(
    colony: Colony, step: int, child: Individual, told: Evaluation, rival: Individual, rng: random.Random
) -> Spoken | None:
    """The verdict; None where there is none. What was asked in vain is the critic's attempt, on record and billed."""
    critic = colony.services.critic
    assert critic is not None
    try:
        verdict, model = await colony.services.judge(rng, child, told, rival)
    except Fruitless as error:
        failed = Proposal((rival.commit,), {}, str(error), "judge", "", None, error.evidence, error.calls)
        maker = Maker(critic.name, critic.name, free_code=False)
        colony.books.reject(maker, step, rival.commit, failed, Reason(error.reason))
        return None
    except ModelError:
        return None
    return Spoken(verdict, model, rival.commit)
