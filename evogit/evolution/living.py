"""The living individuals as this process sees them: its own agents' and everybody else's, in a stable order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from evogit.evolution import breeding
from evogit.evolution.selection import PEOPLE, Individual, niche
from evogit.evolution.session import Session, living_refs
from evogit.evolution.versions import Versions
from evogit.store import refs
from evogit.values import Evaluation, Oid, better

Name = tuple[str, str]
"""Host and agent."""


class Living:
    """Who is alive and how fit in the current epoch. `ordered` holds those with a score, by name.

    Versions that people keep are guests: individuals without an agent.
    """

    def __init__(self, session: Session, versions: Versions) -> None:
        self._session = session
        self._versions = versions
        self._individuals: dict[Name, Individual] = {}
        self._guests: dict[Name, Individual] = {}
        self.epoch = session.population.epoch
        self.ordered: list[Individual] = []

    def __getitem__(self, name: Name) -> Individual:
        return self._individuals[name]

    def __contains__(self, name: Name) -> bool:
        return name in self._individuals

    def __iter__(self) -> Iterator[Individual]:
        return iter([*self._individuals.values(), *self._guests.values()])

    def measure(self, name: Name, commit: Oid, tree: Oid, evaluation: Evaluation | None) -> Individual:
        """An individual with its niche and its size; without a score if the evaluation failed or is not known."""
        session = self._session
        size = breeding.grown(session.objects, self._versions, session.base_tree, tree)
        promoted = session.population.decisions.of(commit).fate == "promote"
        if evaluation is None or not evaluation.ok:
            return Individual(*name, commit, tree, None, "", size, promoted)
        # In a judged task every version has a niche of its own: a score that is only a gate says nothing of behaviour.
        place = tree if session.task.evaluation.judge == "decides" else niche(evaluation)
        return Individual(*name, commit, tree, evaluation.score, place, size, promoted)

    def known(self, name: Name, commit: Oid) -> Individual:
        """The individual that stands at `commit`, with what is known of it in this epoch."""
        population = self._session.population
        tree = population.trees.get(commit)
        if tree is None:  # put there by somebody else
            found = self._session.objects.commit(commit)
            tree = found.tree
            population.descend(commit, found.parents)
        return self.measure(name, commit, tree, population.result(tree, self.epoch))

    def base(self) -> Individual:
        """Where everybody begins, as if it were alive: the run's first version, or what a person put in its place."""
        exclusive = self._session.population.decisions.exclusive
        return self.known(("", "base"), exclusive.commit if exclusive else self._session.base)

    def heed(self) -> None:
        """People have decided: seat their guests, and let nobody count who is out of the population."""
        self._guests = {
            (PEOPLE, commit[:12]): self.known((PEOPLE, commit[:12]), commit)
            for commit in self._session.population.guests()
        }
        for name, individual in self._individuals.items():
            self._individuals[name] = self.known(name, individual.commit)
        self._order()

    def seat(self, individual: Individual) -> None:
        """`individual` now stands in its agent's place."""
        self._individuals[(individual.host, individual.agent)] = individual
        self._order()

    def turn(self, epoch: int) -> None:
        """Scores from now on are those of `epoch`."""
        self.epoch = epoch
        self.heed()

    def see_others(self, mine: set[Name]) -> None:
        """Take in where everybody else's branches stand now."""
        found = living_refs(self._session.objects, self._session.plan.run)
        for name, commit in found.items():
            held = self._individuals.get(name)
            if name not in mine and (held is None or held.commit != commit or self._scored_since(held)):
                self._individuals[name] = self.known(name, commit)
        for name in [n for n in self._individuals if n not in mine and n not in found]:
            del self._individuals[name]
        self._order()

    def _scored_since(self, held: Individual) -> bool:
        """Whether the score of an individual without one has arrived: an epoch turned, and its host journaled it."""
        if held.score is not None:
            return False
        found = self._session.population.result(held.tree, self.epoch)
        return found is not None and found.ok

    def follow(self, ref: str) -> None:
        """Somebody else moved a branch: continue from where it stands; if it is gone, set it up again."""
        name = refs.agent_of(ref, self._session.plan.run)
        if name is None or name not in self._individuals:
            return
        commit = self._session.objects.ref(ref)
        if commit is None:
            self._session.journal.move(ref, None, self._individuals[name].commit)
        else:
            self.seat(self.known(name, commit))

    def copy(self, individual: Individual, name: Name) -> Individual:
        """The same version, standing in another agent's place."""
        return replace(individual, host=name[0], agent=name[1])

    def _order(self) -> None:
        alive = self._session.population.fate.alive
        standing = {individual.commit for individual in self._individuals.values()}
        guests = {name: guest for name, guest in self._guests.items() if guest.commit not in standing}
        living = sorted((self._individuals | guests).items())
        self.ordered = [i for _, i in living if i.score is not None and alive(i.commit) and not self._doubtful(i)]

    def _doubtful(self, individual: Individual) -> bool:
        """Whether only somebody who is not believed says that it would lead."""
        population = self._session.population
        if self._confirmed(individual):
            return False
        leader, direction = population.leader(), self._session.task.direction
        return leader is None or individual.score is None or not better(direction, leader.score, individual.score)

    def _confirmed(self, individual: Individual) -> bool:
        findings = self._session.population.findings
        return findings.trust.everybody or findings.confirmed((individual.tree, self._session.digest, self.epoch))

    def unchecked(self, own: str) -> list[Individual]:
        """Individuals of hosts other than `own` that are no parents before they have been evaluated here."""
        strangers = (i for i in self._individuals.values() if i.host != own)
        return [i for i in strangers if not self._confirmed(i) and (i.score is None or self._doubtful(i))]
