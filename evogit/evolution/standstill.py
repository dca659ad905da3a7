"""What a run does where it stands still: it ends, or agents begin again from where the run began.

A plateau is `patience` candidates without a new best since the present start: then all agents begin again, as in
multi-start search (Martí 2003). A lineage is exhausted after `tries` children in vain: then the agents that stand on it
begin again, as scouts of the artificial bee colony leave a food source after its limit (Karaboga 2005). What was found
stays in the record, so the best is never lost. The journal says so in an entry ``restarted``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from evogit.evolution import events
from evogit.evolution.budget import Standstill
from evogit.evolution.living import Living, Name
from evogit.evolution.session import Session
from evogit.store import refs
from evogit.store.journal import Entry
from evogit.values import Direction, Evaluation, Oid, better

PLATEAU, EXHAUSTED = "plateau", "exhausted"


@dataclass(slots=True)
class Count:
    """What is known of the present start: its best score, and what has come to nothing since.

    `vain` holds versions that had children, with their number, as long as none was accepted.
    """

    direction: Direction
    epoch: int = 0
    best: float | None = None
    barren: int = 0
    vain: dict[Oid, int] = field(default_factory=dict)
    fertile: set[Oid] = field(default_factory=set)

    def take(self, receiver: Oid, evaluation: Evaluation, *, accepted: bool) -> None:
        """One candidate more, a child of `receiver`."""
        if evaluation.epoch != self.epoch:  # scores of different epochs do not compare
            self.epoch, self.best = evaluation.epoch, None
        score = evaluation.score if evaluation.ok else None
        if score is not None and (self.best is None or better(self.direction, score, self.best)):
            self.best, self.barren = score, 0
        else:
            self.barren += 1
        if accepted:
            self.fertile.add(receiver)
            self.vain.pop(receiver, None)
        elif receiver not in self.fertile:
            self.vain[receiver] = self.vain.get(receiver, 0) + 1

    def begin_again(self) -> None:
        """The scores so far count no more. What was tried on a version stays tried."""
        self.best, self.barren = None, 0


class Watch:
    """Watches this process's agents and, where the rule says so, lets them begin again. `over`: nothing is left to try.

    Processes that share a run begin again together: who reads of another's plateau follows. `start` numbers the starts.
    """

    def __init__(self, rule: Standstill, session: Session, living: Living, agents: Iterable[str]) -> None:
        self._rule = rule
        self._session = session
        self._living = living
        self._mine: list[Name] = [(session.host, agent) for agent in agents]
        self._count = Count(session.task.direction)
        self._planned: dict[str, int] = {}
        self.start = session.population.start
        self.over = False

    def planned(self, agent: str) -> None:
        """`agent` has just chosen the parents of its next child."""
        self._planned[agent] = self.start

    def outdated(self, agent: str) -> bool:
        """Whether everybody has begun again since `agent` chose the parents of what it made."""
        return self._planned.get(agent, self.start) != self.start

    def took(self, parents: Sequence[Oid], evaluation: Evaluation, *, accepted: bool) -> events.Restarted | None:
        """A candidate was recorded. What follows from it, if anything."""
        receiver, rule, count = parents[0], self._rule, self._count
        count.take(receiver, evaluation, accepted=accepted)
        if rule.then == "restart" and rule.patience is not None and count.barren >= rule.patience:
            return self._begin_again(PLATEAU, self._mine)
        if accepted or not self._spent(receiver):
            return None
        if rule.then == "restart":
            return self._begin_again(EXHAUSTED, [name for name in self._mine if self._living[name].commit == receiver])
        self.over = all(self._spent(self._living[name].commit) for name in self._mine)
        return None

    def heard(self, entry: Entry) -> events.Restarted | None:
        """Another process wrote `entry`: follow it into its next start."""
        if entry.kind != "restarted" or self._rule.then != "restart" or int(entry.data["start"]) <= self.start:
            return None
        return self._begin_again(PLATEAU, self._mine, int(entry.data["start"]))

    def _spent(self, commit: Oid) -> bool:
        return self._rule.tries is not None and self._count.vain.get(commit, 0) >= self._rule.tries

    def _begin_again(self, reason: str, names: list[Name], start: int | None = None) -> events.Restarted | None:
        """Seat the agents at the start of the run; those that stand there already stay."""
        session, living, base = self._session, self._living, self._living.base()
        moving = [name for name in names if living[name].commit != base.commit]
        if reason == PLATEAU:
            self._count.begin_again()
            if moving or start is not None:
                self.start = start or self.start + 1
        if not moving:
            return None
        leader = session.population.leader()
        data = {
            "reason": reason,
            "start": self.start,
            "host": session.host,
            "agents": [agent for _, agent in moving],
            "commit": base.commit,
            "tree": base.tree,
        }
        subject = f"{reason}: {len(moving)} agents begin again from {base.commit[:10]}"
        session.population.apply(session.journal.append("restarted", subject, data, candidate=base.commit))
        for name in moving:
            session.journal.move(refs.individual(session.plan.run, *name), living[name].commit, base.commit)
            living.seat(living.copy(base, name))
        return events.Restarted(reason, len(moving), self.start, leader.score if leader else None)
