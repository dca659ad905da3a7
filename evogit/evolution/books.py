"""One process's books: what became of each step goes into the journal, the fold, the counts and the events here.

Entries are published in small batches; an event is sent only once its entry is durable.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace

from evogit.errors import StoreError
from evogit.evolution import breeding, events
from evogit.evolution.breeding import Birth
from evogit.evolution.budget import Meter
from evogit.evolution.ledger import Spent, total, write_calls
from evogit.evolution.scoring import Scoring
from evogit.evolution.session import Session
from evogit.evolution.versions import Versions
from evogit.models.desk import Desk
from evogit.values import Call, Evaluation, Oid, Proposal, Reason
from evogit.variation.judging import Verdict

PUBLISH_AT = 64  # entries


@dataclass(frozen=True, slots=True)
class Maker:
    """Who took a step: an agent's name, its definition's, and whether it may write any code."""

    name: str
    definition: str
    free_code: bool


@dataclass
class Books:
    """Writes entries and counts. `wake` is set when there is much to publish."""

    session: Session
    versions: Versions
    desk: Desk
    meter: Meter
    scoring: Scoring
    listen: events.Listener
    roles: dict[str, Spent] = field(default_factory=dict)
    """What models were asked for → what it cost."""
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    packs: int = 0
    """Written since the last repack."""
    _untold: list[events.Event] = field(default_factory=list)
    _skipped: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether it is time to publish."""
        return len(self._untold) >= PUBLISH_AT

    def notify(self, text: str) -> None:
        """Tell the listener at once something that stops nothing."""
        self.listen(events.Notice(text))

    def tell(self, event: events.Event) -> None:
        """Send `event` once everything written so far is durable."""
        self._untold.append(event)

    def publish(self) -> dict[str, StoreError]:
        """Make everything so far durable, then tell the listener about it. The refs that could not be moved."""
        self.packs += self.session.objects.pending > 0
        failed = self.session.journal.publish()
        told, self._untold = self._untold, []
        for event in told:
            self.listen(event)
        return failed

    # Steps that led to no candidate

    def skip(self, maker: Maker, step: int, operator: str, reason: Reason, detail: str) -> None:
        """Count a rejection, at once here; the next entry carries the counts into the journal."""
        self.session.population.skip(maker.definition, operator, reason.value)
        self._skipped.setdefault(reason.value, Counter())[f"{maker.definition}/{operator}"] += 1
        self.rejected[reason.value] += 1
        self.listen(events.Skipped(step, maker.name, operator, reason.value, detail))

    def reject(self, maker: Maker, step: int, parent: Oid, proposal: Proposal, reason: Reason) -> None:
        """A proposal that is not evaluated. What a model was paid for goes into the journal, with what it said."""
        if proposal.calls:
            self.attempt(maker, step, parent, proposal, reason)
        else:
            self.skip(maker, step, proposal.operator, reason, proposal.summary)

    def attempt(self, maker: Maker, step: int, parent: Oid, proposal: Proposal, reason: Reason) -> None:
        """Journal what a model or a program was asked, and that there is no child."""
        session = self.session
        clock = session.journal.tick()
        birth = self._birth(maker, step, clock.milliseconds)
        data = breeding.attempt(birth, parent, proposal.operator, reason.value, proposal.summary, proposal)
        subject = f"{reason.value} ({maker.name}, {proposal.operator}): {proposal.summary}"
        session.population.apply(
            session.journal.append("attempted", subject, data, clock=clock, evidence=proposal.evidence)
        )
        self.rejected[reason.value] += 1
        self.bill(proposal.calls)
        tokens, money = total(proposal.calls)
        self.tell(
            events.Skipped(
                step, maker.name, proposal.operator, reason.value, proposal.summary, proposal.model, tokens, money
            )
        )

    def write_off(self) -> None:
        """Requests that were cancelled when the run ended: the server may bill them, so they are on record."""
        calls, self.desk.lost[:] = tuple(self.desk.lost), []
        if not calls:
            return
        data = {
            "outcome": Reason.UNANSWERED.value,
            "parents": [],
            "host": self.session.host,
            "agent": "cancelled",
            "definition": "cancelled",
            "operator": "cancelled",
            "summary": f"{len(calls)} requests were under way when the run ended",
            "calls": write_calls(calls),
        }
        self.session.population.apply(self.session.journal.append("attempted", str(data["summary"]), data))
        self.bill(calls)

    def bill(self, calls: tuple[Call, ...]) -> None:
        for call in calls:
            self.roles.setdefault(call.role, Spent()).add(call)

    # Candidates and verdicts

    def candidate(
        self,
        maker: Maker,
        step: int,
        proposal: Proposal,
        tree: Oid,
        evaluation: Evaluation,
        decision: Reason | None,
    ) -> Oid:
        """Write the candidate's commit and its entry, and count it. Its commit."""
        said = "accepted" if decision is None else decision.value
        commit, best = self._journal(maker, step, proposal, tree, evaluation, said)
        if decision is None:
            self.accepted += 1
        else:
            self.rejected[said] += 1
        self.meter.finish(best)
        self.bill(proposal.calls)
        tokens, money = total(proposal.calls)
        self.tell(
            events.Candidate(
                step,
                maker.name,
                proposal.operator,
                commit,
                proposal.parents,
                proposal.summary,
                said,
                evaluation.score,
                evaluation.epoch,
                evaluation.seconds,
                best,
                proposal.model,
                tokens,
                money,
            )
        )
        if self.full:
            self.wake.set()
        return commit

    def _journal(
        self, maker: Maker, step: int, proposal: Proposal, tree: Oid, evaluation: Evaluation, said: str
    ) -> tuple[Oid, bool]:
        """The candidate's commit, and whether it leads the epoch now."""
        session, population = self.session, self.session.population
        clock = session.journal.tick()
        birth = self._birth(maker, step, clock.milliseconds)
        served = self.desk.served(proposal.model)
        commit = breeding.candidate(session.objects, birth, proposal, tree, evaluation, served)
        timed = not session.plan.deterministic
        data = breeding.record(birth, proposal, tree, session.digest, evaluation, said, timed=timed)
        if asked := self.scoring.calls(evaluation):
            data["calls"] = write_calls((*proposal.calls, *asked))
            self.bill(asked)
        tried = evaluation.status != Reason.UNANSWERED
        if tried and maker.free_code and len(proposal.parents) == 1 and proposal.donor is None:
            parent = session.objects.commit(proposal.parents[0]).tree
            data["patch"] = breeding.patch_id(self.versions, parent, tree)
        if self._skipped:
            data["skipped"] = {reason: dict(counts) for reason, counts in self._skipped.items()}
            self._skipped = {}
        before = population.leader()
        entry = session.journal.append(
            "evaluated",
            f"{said} {commit[:10]}: {breeding.shown(evaluation)} ({maker.name}, {proposal.operator})",
            data,
            clock=clock,
            candidate=commit,
            evidence=breeding.evidence(proposal, evaluation),
        )
        # The skipped ones were counted when they were skipped.
        population.apply(replace(entry, data={key: value for key, value in data.items() if key != "skipped"}))
        leader = population.leader()
        if leader is not None:
            self.meter.best = leader.score
        return commit, leader is not None and leader != before

    def verdict(self, commit: Oid, than: Oid, verdict: Verdict, model: str, critic: str) -> None:
        """Journal what the `critic` said of two versions."""
        session = self.session
        data = {
            "verdict": verdict.outcome,
            "than": than,
            "reason": verdict.reason,
            "agreed": verdict.agreed,
            "digest": session.digest,
            "host": session.host,
            "agent": critic,
            "definition": critic,
            "model": model,
            "calls": write_calls(verdict.calls),
        }
        subject = f"judged {commit[:10]} {verdict.outcome} than {than[:10]}: {verdict.reason}"
        session.population.apply(
            session.journal.append("judged", subject, data, candidate=commit, evidence=verdict.evidence)
        )
        self.bill(verdict.calls)
        self.tell(events.Judged(commit, than, verdict.outcome, verdict.reason))

    def _birth(self, maker: Maker, step: int, milliseconds: int) -> Birth:
        session = self.session
        stage = session.population.decisions.stage
        seen = stage.entry[:10] if stage else ""
        return Birth(session.plan.run, session.host, maker.name, maker.definition, step, milliseconds, seen)
