"""Versions of hosts that are not believed are evaluated here before they count for much."""

from __future__ import annotations

import asyncio

from evogit.evolution.colony import Colony

PAUSE = 0.5  # seconds


class Checking:
    """Evaluates, one at a time, what `Living.unchecked` names; says whose claims turn out to be false."""

    def __init__(self, colony: Colony) -> None:
        self._colony = colony
        self._told = set(colony.population.findings.caught)

    async def go_on(self) -> None:
        """Check as long as the run lasts. Nothing is to be done where everybody is believed."""
        colony = self._colony
        while not colony.population.findings.trust.everybody:
            await asyncio.sleep(PAUSE)
            self._tell()
            await colony.gate.wait()
            for individual in colony.living.unchecked(colony.session.host)[:1]:
                await colony.scoring.check(individual.commit, individual.tree, individual.agent, colony.living.epoch)
                colony.living.heed()

    def _tell(self) -> None:
        findings = self._colony.population.findings
        for host in findings.caught:
            if host not in self._told:
                self._told.add(host)
                tree, claimed, found = findings.refutations(host)[0]
                word = "fails" if found is None else f"has {found:.6g}"
                self._colony.books.notify(
                    f"{host} is not believed any more: it claimed {claimed:.6g} for tree {tree[:10]}, which {word} here"
                )
