"""What the next candidates would cost: the prompts that would be sent are written and counted, and nobody is asked."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass

from evogit.errors import VariationError
from evogit.evolution import breeding
from evogit.evolution.living import Living
from evogit.evolution.selection import Individual, Plan
from evogit.evolution.session import Session, living_refs
from evogit.evolution.telling import Teller
from evogit.evolution.versions import Versions
from evogit.models.desk import REPLY_TOKENS, Desk
from evogit.models.pricing import cost, estimate_tokens
from evogit.variation.model import Mutate

SAMPLES = 8  # prompts a definition
USUAL_REPLY = 600  # tokens, until the journal knows better


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one definition with one model: tokens and money of one proposal, on average; `most`: at most."""

    definition: str
    model: str
    agents: int
    prompt: int
    reply: int
    cost: float
    most: float


def forecast(session: Session, desk: Desk) -> list[Forecast]:
    """One row for each definition and model that mutates; the others ask only when something has happened."""
    versions = Versions(session.objects, session.editable)
    living = Living(session, versions)
    if session.base not in session.population.trees:
        session.population.trees[session.base] = session.base_tree
    teller = Teller(session, versions, living)
    found = [living.known(name, commit) for name, commit in living_refs(session.objects, session.plan.run).items()]
    parents = found or [living.base()]
    rows = []
    for agent, count in session.plan.agents:
        if agent.operator != "mutate":
            continue
        variation = Mutate(agent, desk, session.editable)
        for model in agent.models:
            sizes = [_prompt(session, versions, teller, variation, parents, model, n) for n in range(SAMPLES)]
            prompt = round(statistics.fmean(size for size in sizes if size)) if any(sizes) else 0
            table = desk.tables[model]
            limit = agent.max_tokens or table.max_tokens or REPLY_TOKENS
            reply = min(limit, _usual_reply(session, model))
            most = cost(table, prompt, limit) * (agent.repairs + 1)
            rows.append(Forecast(agent.name, model, count, prompt, reply, cost(table, prompt, reply), most))
    return rows


def _prompt(
    session: Session,
    versions: Versions,
    teller: Teller,
    variation: Mutate,
    parents: list[Individual],
    model: str,
    number: int,
) -> int:
    """Tokens of one prompt; 0 where these parents have none."""
    rng = random.Random(f"{session.plan.seed}:forecast:{number}")
    receiver = rng.choice(parents)
    wanted = breeding.request(
        session.objects,
        versions,
        session.population.phylogeny,
        Plan(receiver),
        variation.operators[0],
        session.task,
        [],
        rng,
        lambda: teller.background(receiver, "", ""),
        model=model,
    )
    try:
        return estimate_tokens(variation.question(wanted)[0])
    except VariationError:
        return 0


def _usual_reply(session: Session, model: str) -> int:
    spent = session.population.ledger.by(1).get(model)
    return round(spent.output / spent.calls) if spent and spent.calls else USUAL_REPLY
