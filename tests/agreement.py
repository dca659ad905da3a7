"""What hosts that have read the same journals agree on, all of it."""

from __future__ import annotations

from evogit.evolution.population import Population


def essence(population: Population) -> dict[str, object]:
    best, leader = population.best(), population.leader()
    return {
        "best": best and (best.commit, best.score, best.host, best.agent, best.order),
        "leader": leader and (leader.commit, leader.score),
        "results": population.results,
        "makers": population.makers,
        "base": population.base,
        "digest": population.digest,
        "seats": population.seats,
        "hosts": population.hosts,
        "rejected": population.rejected,
        "failures": population.memory.failures,
        "recent": population.memory.recent,
        "patches": population.memory.patches,
        "caught": population.findings.caught,
    }
