"""`run --dry-run`: what the prompts would cost, with nobody asked and nothing written."""

from __future__ import annotations

import time
from dataclasses import asdict

from evogit.cli.place import Place, print_json

NOT_ESTIMATED = {
    "cross": "asks only where two versions conflict",
    "repair": "asks only after a child failed its evaluation",
    "judge": "asks twice for each comparison, in both orders",
    "distil": "asks once in a while, for notes",
    "command": "is a program: what it spends is known only afterwards",
}
"""Operator → why a proposal's cost cannot be told from a prompt that would be sent now."""


def estimate(place: Place, *, base: str, json: bool) -> int:
    """Print tokens and cost of a proposal of each agent, and of the whole budget of candidates; the exit code."""
    from evogit.cli.run import make_plan
    from evogit.evolution.forecast import forecast
    from evogit.evolution.session import opened
    from evogit.models.desk import Desk

    plan = make_plan(place, base=base, alongside=True)
    with opened(place.repository, plan) as session:
        rows = forecast(session, Desk({}, place.config.models, time.monotonic))
    agents = sum(count for agent, count in plan.agents if not agent.serves)
    candidates = plan.budget.candidates
    each = sum(row.cost * row.agents for row in rows) / max(1, agents)
    tokens = sum((row.prompt + row.reply) * row.agents for row in rows) / max(1, agents)
    others = {
        agent.name: NOT_ESTIMATED[agent.operator]
        for agent, count in plan.agents
        if count and (agent.asks_a_model or agent.operator == "command") and agent.operator in NOT_ESTIMATED
    }
    if json:
        found = [asdict(row) for row in rows]
        print_json(
            {
                "agents": found,
                "not_estimated": others,
                "tokens_per_candidate": tokens,
                "cost_per_candidate": each,
                "candidates": candidates,
                "tokens": None if candidates is None else tokens * candidates,
                "cost": None if candidates is None else each * candidates,
            }
        )
        return 0
    if not rows and not others:
        print("no agent of this population asks a model: nothing to pay")
        return 0
    for name, why in others.items():
        print(f"{name}: not in this estimate, it {why}")
    if not rows:
        print("cap what these may spend with --max-cost and --max-tokens")
        return 0
    for row in rows:
        print(
            f"{row.definition} × {row.agents} with {row.model}: about {row.prompt} tokens in, {row.reply} out, "
            f"{row.cost:.6f} a proposal (at most {row.most:.6f} with repairs)"
        )
    print(f"on average {tokens:.0f} tokens and {each:.6f} a candidate, offline agents included")
    if candidates is not None:
        print(f"{candidates} candidates: about {tokens * candidates:.0f} tokens, {each * candidates:.4f}")
    else:
        print("say --candidates N for the whole; cap it with --max-cost and --max-tokens")
    return 0
