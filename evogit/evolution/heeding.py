"""What people and other processes say takes effect in a running process, within a second or two.

Decisions come as journal entries of reviewers, as Git tags, and as commits on ``human/`` branches; tags and branches
are written into this process's journal once, so that they travel with it. An agent whose place is no longer in the
population continues from the nearest living relative; the journal says so in an entry ``seated``.
"""

from __future__ import annotations

from evogit.errors import StoreError
from evogit.evolution import events
from evogit.evolution.adopting import adopt
from evogit.evolution.colony import Colony, Worker
from evogit.evolution.decisions import Decision
from evogit.evolution.selection import Individual, fitter
from evogit.evolution.tags import read_tags
from evogit.store import refs
from evogit.store.journal import Entry
from evogit.values import Oid


class Heeding:
    """Looks for decisions and lets a colony's agents heed them."""

    def __init__(self, colony: Colony) -> None:
        self._colony = colony
        self._refused: set[tuple[str, Oid]] = set()
        self._told: int | None = None
        """How many decisions have taken effect here."""

    def entries(self) -> list[Entry]:
        """Take in what other writers of the journal have added."""
        session = self._colony.session
        found = session.new_entries()
        for entry in found:
            session.journal.observe(entry.clock)
            session.population.apply(entry)
        return found

    async def heed(self) -> None:
        """Read tags and branches of people, then let everybody take the place that decisions leave them."""
        for complaint in read_tags(self._colony.session, self._refused):
            self._colony.books.notify(complaint)
        await self._read_branches()
        colony = self._colony
        made = colony.population.decisions.made
        if len(made) == self._told:
            return
        known, self._told = self._told, len(made)
        colony.living.heed()
        for guest in colony.population.guests():
            await colony.scoring.score(guest, colony.population.trees[guest], "human", colony.living.epoch)
        colony.living.heed()
        for worker in colony.workers:
            me = colony.living[(colony.session.host, worker.name)]
            if not colony.population.fate.alive(me.commit):
                self._reseat(worker, me, self._cause(me.commit))
        leader = colony.population.leader()
        colony.meter.best = leader.score if leader else None
        for decision in made[known:] if known is not None else ():
            colony.books.tell(events.Decided(decision.verb, decision.commit, decision.author, decision.reason))

    # Branches of people

    async def _read_branches(self) -> None:
        colony, session = self._colony, self._colony.session
        for ref, oid in session.objects.refs(refs.people(session.plan.run)).items():
            branch = refs.branch_of(ref)
            if (branch, oid) in colony.population.decisions.branches:
                continue
            try:
                author = session.objects.commit(oid).author
            except StoreError:
                continue  # not a commit
            _, evaluation = await adopt(
                session, colony.scoring, oid, author=author, reason="", epoch=colony.living.epoch, branch=branch
            )
            if not evaluation.ok:
                colony.books.notify(f"{branch} at {oid[:10]} is not adopted: its evaluation ended {evaluation.status}")

    # Places

    def _cause(self, commit: Oid) -> Decision:
        """The latest decision by which `commit` is out of the population."""
        decisions, graph = self._colony.population.decisions, self._colony.population.phylogeny
        if commit not in self._colony.population.fate.extinct and decisions.exclusive is not None:
            return decisions.exclusive
        prunings = [d for d in reversed(decisions.made) if decisions.of(d.commit).fate == "prune" and d.commit in graph]
        above = (d for d in prunings if commit in graph and graph.is_ancestor(d.commit, commit))
        return next(above, decisions.made[-1])

    def _reseat(self, worker: Worker, me: Individual, because: Decision) -> None:
        """Give an agent another place, and say so in the journal."""
        colony, session = self._colony, self._colony.session
        place = self._relative(me)
        data = {
            "host": session.host,
            "agents": [worker.name],
            "commit": place.commit,
            "tree": place.tree,
            "because": because.entry,
        }
        subject = f"{worker.name} continues from {place.commit[:10]}: {because.verb} {because.commit[:10]}"
        session.population.apply(session.journal.append("seated", subject, data, candidate=place.commit))
        session.journal.move(worker.ref, me.commit, place.commit)
        colony.living.seat(colony.living.copy(place, me.name))

    def _relative(self, me: Individual) -> Individual:
        """Where an agent goes whose place is gone: the exclusive version, or its nearest living relative."""
        colony, graph = self._colony, self._colony.population.phylogeny
        if colony.population.decisions.exclusive is not None or not colony.living.ordered:
            return colony.living.base()
        direction = colony.settings.direction
        found, nearest = colony.living.ordered[0], -1
        for other in colony.living.ordered:
            there = me.commit in graph and other.commit in graph
            distance = graph.distance(me.commit, other.commit) if there else len(graph)
            if nearest < 0 or distance < nearest or (distance == nearest and fitter(direction, other, found)):
                found, nearest = other, distance
        return found
