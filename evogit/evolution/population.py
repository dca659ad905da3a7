"""The state of a run: a fold over the union of all journals, independent of the order in which they are read."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evogit.evolution.allocation import Allocation, Rule
from evogit.evolution.decisions import Decisions, Fate
from evogit.evolution.findings import Findings, Trust, host_of
from evogit.evolution.hosts import Seen
from evogit.evolution.ledger import Ledger, read_calls, total
from evogit.evolution.memory import Memory
from evogit.evolution.ranking import VALIDATION, Champion, Key, Ranking
from evogit.evolution.selection import PEOPLE
from evogit.numbering import Column, Distinct, Names
from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import Clock, Entry
from evogit.values import Direction, Evaluation, Oid, Reason, better


@dataclass(frozen=True, slots=True)
class Seat:
    """The last accepted child of one agent, or where it began again: where its branch should stand."""

    commit: Oid
    tree: Oid
    order: tuple[Clock, str, int]


@dataclass(slots=True)
class Population:
    """What is known of a run. Build it with `apply` on entries in their order, or bit by bit as they arrive."""

    direction: Direction = "maximize"
    digest: str = ""
    base: Oid | None = None
    founded: Mapping[str, Any] = field(default_factory=dict)
    founded_evidence: Oid = ""
    founded_order: tuple[Clock, str, int] | None = None
    findings: Findings = field(default_factory=Findings)
    seats: dict[tuple[str, str], Seat] = field(default_factory=dict)
    trees: Column[Oid] = field(init=False)
    makers: Column[tuple[str, str]] = field(init=False)
    """Commit → host and agent that made it, or the first who looked at it."""
    hosts: dict[str, Seen] = field(default_factory=dict)
    phylogeny: Phylogeny = field(default_factory=Phylogeny)
    candidates: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    operators: dict[str, Allocation] = field(default_factory=dict)
    """Agent definition → what its operators earned."""
    models: dict[str, Allocation] = field(default_factory=dict)
    """Agent definition → what the models it asks earned."""
    ledger: Ledger = field(default_factory=Ledger)
    memory: Memory = field(default_factory=Memory)
    decisions: Decisions = field(default_factory=Decisions)
    fate: Fate = field(default_factory=Fate)
    rule: Rule = "ucb"
    epoch: int = 0
    steps: int = 0
    start: int = 0
    """How often the whole population began again."""
    restarts: int = 0
    """How often agents did, all of them or those of one lineage."""
    clock: Clock = field(default_factory=lambda: Clock(0))
    first: int = 0
    last: int = 0
    """Milliseconds of the first and the last entry."""
    _base_order: tuple[Clock, str, int] | None = None
    _directions: dict[str, Direction] = field(default_factory=dict)
    _lookers: dict[Oid, tuple[Clock, str, int]] = field(default_factory=dict)
    """Commits whose `makers` only looked at them, with when."""
    _duels: list[tuple[tuple[Clock, str, int], Oid, Oid, str]] = field(default_factory=list)
    """Verdicts for a challenger: when, over whom, who, under which evaluator."""
    _ranking: Ranking = field(init=False)
    _barred: set[Oid] = field(default_factory=set)
    _barred_of: int = 0
    """Of which change of fate the barred trees are."""

    def __post_init__(self) -> None:
        commits = Names()
        self.trees, self.makers = Column(commits, self.findings.trees), Column(commits, Distinct())
        self._ranking = Ranking(commits, self.findings.orders)

    @property
    def results(self) -> dict[Key, Evaluation]:
        """What counts of each tree that was evaluated."""
        return self.findings.results

    def apply(self, entry: Entry) -> None:
        """Take in one entry. Entries may come in any order."""
        self.clock = max(self.clock, entry.clock)
        self.first = min(self.first or entry.clock.milliseconds, entry.clock.milliseconds)
        self.last = max(self.last, entry.clock.milliseconds)
        host = host_of(entry.writer)
        seen = self.hosts.get(host)
        if seen is None:
            seen = self.hosts[host] = Seen()
        seen.entries += 1
        seen.last = max(seen.last, entry.clock.milliseconds)
        self.memory.apply(entry, self.candidates)
        self.ledger.apply(entry)
        if entry.kind == "founded":
            self._found(entry)
        elif entry.kind == "evaluated":
            self._evaluated(entry)
        elif entry.kind == "attempted":
            self._attempted(entry)
        elif entry.kind == "judged":
            self._judged(entry)
        elif entry.kind == "restarted":
            self.restarts += 1
            self.start = max(self.start, int(entry.data["start"]))
            self._reseated(entry)
        elif entry.kind == "seated":
            self._reseated(entry)
        elif entry.kind in ("decided", "goal"):
            self._decided(entry)

    def _found(self, entry: Entry) -> None:
        digest, direction = str(entry.data["digest"]), entry.data["direction"]
        if digest not in self._directions:
            self._directions[digest] = direction
            self._rank_anew()
        if entry.candidate is not None and (self._base_order is None or entry.order < self._base_order):
            self.base, self._base_order = entry.candidate, entry.order
            self.descend(entry.candidate, ())
        if self.founded_order is None or entry.order > self.founded_order:
            self.founded_order = entry.order
            self.founded, self.founded_evidence = entry.data, entry.evidence
            self.digest, self.direction = digest, direction

    def _evaluated(self, entry: Entry) -> None:
        data, candidate = entry.data, entry.candidate
        if candidate is None:
            return
        evaluation = read_evaluation(data)
        tree, agent, host = str(data["tree"]), str(data["agent"]), str(data["host"])
        decision = data.get("decision")
        digest = self.digest if data["digest"] == self.digest else str(data["digest"])
        key = (tree, digest, evaluation.epoch)
        self.trees[candidate] = tree
        self.epoch = max(self.epoch, evaluation.epoch)
        if decision is not None:
            self.descend(candidate, data.get("parents", ()))
        self._made(candidate, (host, agent), entry.order, looked=decision is None)
        new_best = self._score(key, candidate, evaluation, entry)
        if decision is None:
            return
        self.candidates += 1
        seen = self.hosts[host_of(entry.writer)]
        seen.candidates += 1
        seen.accepted += decision == "accepted"
        self.steps = max(self.steps, int(data.get("step", -1)) + 1)
        operator, definition = str(data["operator"]), str(data.get("definition", agent))
        if decision == "accepted":
            self.accepted += 1
            seat = self.seats.get((host, agent))
            if seat is None or entry.order > seat.order:
                self.seats[(host, agent)] = Seat(candidate, tree, entry.order)
        else:
            self.rejected[str(decision)] += 1
        for reason, counts in data.get("skipped", {}).items():
            for name, count in counts.items():
                self.skip(definition_of(name), name.partition("/")[2], reason, int(count))
        self._learn(data, definition, operator, accepted=decision == "accepted", best=new_best)

    def _score(self, key: Key, commit: Oid, evaluation: Evaluation, entry: Entry) -> bool:
        """Whether `commit` has the best score so far."""
        digest, epoch = key[1:]
        direction, findings = self._directions.get(digest, "maximize"), self.findings
        new, caught = findings.unheard(key), set(findings.caught)
        if evaluation.status == Reason.UNANSWERED:
            return False  # nothing is known of it, and it may be tried again
        changed = findings.hear(key, evaluation, entry.order)
        if not entry.data.get("trial"):
            self._ranking.note(digest, epoch, commit, entry.order)
            if evaluation.score is not None:
                self.hosts[host_of(entry.writer)].scored(key, commit, evaluation.score, entry.order)
        if set(findings.caught) != caught:
            self._rank_anew()
        elif changed and not new:
            self._rank_anew((digest, epoch))  # versions that were ranked, or not, are measured again
        counts = findings.believed(key)
        if entry.data.get("trial") or counts is None or counts.score is None or commit in self.fate.extinct:
            return False
        champion = Champion(commit, key[0], "", "", counts.score, counts, epoch == VALIDATION, entry.order)
        return self._ranking.take(digest, champion, direction)

    def _rank_anew(self, only: tuple[str, int] | None = None) -> None:
        findings = self.findings
        self._ranking.anew(
            self._directions, self.fate.extinct, self.trees, findings.believed_score, findings.believed, only
        )

    def _made(self, commit: Oid, who: tuple[str, str], order: tuple[Clock, str, int], *, looked: bool = False) -> None:
        """`who` made a commit, or only looked at it: the first who did counts until its maker is known."""
        if commit in self.makers and (commit not in self._lookers or (looked and self._lookers[commit] <= order)):
            return
        self.makers[commit] = who
        if looked:
            self._lookers[commit] = order
        else:
            self._lookers.pop(commit, None)

    def _learn(self, data: Mapping[str, Any], definition: str, operator: str, *, accepted: bool, best: bool) -> None:
        """What an operator, and the model it asked, earned and cost."""
        calls = read_calls(data)
        tokens, money = total(calls)
        seconds = float(data.get("seconds", 0.0)) + sum(call.seconds for call in calls)
        arms = [(self.allocation(definition), operator)]
        if calls and calls[0].role != "candidate":
            arms.append((self.model_allocation(definition), calls[0].model))
        for allocation, name in arms:
            allocation.record(name, accepted=accepted, best=best, seconds=seconds, tokens=tokens, money=money)

    def _attempted(self, entry: Entry) -> None:
        """A model was asked, and there is no child."""
        data = entry.data
        self.steps = max(self.steps, int(data.get("step", -1)) + 1)
        self.rejected[str(data["outcome"])] += 1
        self._learn(data, str(data["definition"]), str(data["operator"]), accepted=False, best=False)

    def _judged(self, entry: Entry) -> None:
        data, winner = entry.data, entry.candidate
        if winner is not None and data.get("verdict") == "better":
            self._duels.append((entry.order, str(data["than"]), winner, str(data.get("digest", ""))))

    def _reseated(self, entry: Entry) -> None:
        """Agents were given another place: where the run began, or a living relative of what was pruned."""
        data = entry.data
        for agent in data["agents"]:
            name = (str(data["host"]), str(agent))
            seat = self.seats.get(name)
            if seat is None or entry.order > seat.order:
                self.seats[name] = Seat(str(data["commit"]), str(data["tree"]), entry.order)

    def _decided(self, entry: Entry) -> None:
        data, commit = entry.data, entry.candidate
        if commit is not None and data.get("decision") == "adopt":
            self.trees[commit] = str(data["tree"])
            self._made(commit, (PEOPLE, str(data.get("author", ""))), entry.order)
            self.descend(commit, data.get("parents", ()))
        changed = self.decisions.apply(entry)
        if changed is not None and self.fate.reconsider(changed, self.decisions, self.phylogeny):
            self._rank_anew()

    def descend(self, commit: Oid, parents: Sequence[Oid]) -> None:
        """Take a commit into the phylogeny."""
        if commit not in self.phylogeny:
            self.phylogeny.add(commit, parents)
            self.fate.admit(commit, parents, self.decisions)
            late = self.phylogeny.children(commit)  # its children were read before it
            if late and self.fate.reconsider(commit, self.decisions, self.phylogeny):
                self._rank_anew()

    def skip(self, definition: str, operator: str, reason: str, count: int = 1) -> None:
        """Count proposals that were rejected before anything ran."""
        self.rejected[reason] += count
        for _ in range(count):
            self.allocation(definition).record(operator, accepted=False, best=False, seconds=0.0)

    def allocation(self, definition: str) -> Allocation:
        found = self.operators.get(definition)
        if found is None:
            found = self.operators[definition] = Allocation(self.rule)
        return found

    def model_allocation(self, definition: str) -> Allocation:
        return self.models.setdefault(definition, Allocation(self.rule))

    def result(self, tree: Oid, epoch: int) -> Evaluation | None:
        """What `tree` earned under the present evaluator in `epoch`, if it was ever evaluated."""
        return self.findings.result((tree, self.digest, epoch))

    def forget_epochs_before(self, epoch: int) -> None:
        """Drop the scores of past epochs, which nothing is compared with any more; validations stay."""
        self.findings.keep(epoch, VALIDATION)
        self._ranking.forget_before(epoch)

    def guests(self) -> list[Oid]:
        """Versions that people want in the population, whether an agent stands on them or not."""
        return sorted(c for c, standing in self.decisions.standing.items() if standing.kept and self.fate.alive(c))

    def barred(self, tree: Oid) -> bool:
        """Whether `tree` equals that of an extinct version: it never comes back."""
        if self._barred_of != self.fate.changes:
            self._barred = {self.trees[commit] for commit in self.fate.extinct if commit in self.trees}
            self._barred_of = self.fate.changes
        return tree in self._barred

    def best(self) -> Champion | None:
        """The champion: by verdicts in a judged task, else by validation score, else by score in the current epoch.

        Where the score is a gate, verdicts count as soon as there are any.
        """
        judged = self.founded.get("judge")
        if judged == "decides" or (judged == "gated" and any(duel[3] == self.digest for duel in self._duels)):
            return self._undefeated(gated=judged == "gated")
        return self._named(self._ranking.get(self.digest, VALIDATION)) or self.leader()

    def _named(self, champion: Champion | None) -> Champion | None:
        if champion is None:
            return None
        host, agent = self.makers[champion.commit]
        return replace(champion, host=host, agent=agent)

    def _undefeated(self, *, gated: bool) -> Champion | None:
        """Who beat who beat … the start. Who beats somebody that is no champion then has to beat the champion too.

        `gated`: unless that somebody scores better than the champion, which the score alone decides.
        """
        champion, when = self.base, self.founded_order
        for order, loser, winner, digest in sorted(self._duels):
            ahead = gated and self._ahead(loser, champion)
            if digest == self.digest and (loser == champion or ahead) and winner not in self.fate.extinct:
                champion, when = winner, order
        tree = self.trees.get(champion or "")
        evaluation = self.result(tree, self.epoch) if tree else None
        if champion is None or tree is None or when is None or evaluation is None or evaluation.score is None:
            return None
        host, agent = self.makers.get(champion, ("", "base"))
        return Champion(champion, tree, host, agent, evaluation.score, evaluation, False, when)

    def _ahead(self, one: Oid, other: Oid | None) -> bool:
        """Whether `one` scores better than `other` in the current epoch."""
        known = [self.result(self.trees.get(commit or "", ""), self.epoch) for commit in (one, other)]
        scores = [found.score for found in known if found is not None and found.score is not None]
        return len(scores) == 2 and better(self.direction, scores[0], scores[1])

    def leader(self) -> Champion | None:
        """The best by training score in the current epoch."""
        return self._named(self._ranking.get(self.digest, self.epoch))


def definition_of(name: str) -> str:
    """The agent definition in ``definition/operator``."""
    return name.partition("/")[0]


def read_evaluation(data: Mapping[str, Any]) -> Evaluation:
    """The `Evaluation` recorded in an ``evaluated`` entry (without its feedback and output)."""
    score = data.get("score")
    return Evaluation(
        status=sys.intern(str(data["status"])),
        score=None if score is None else float(score),
        metrics={str(k): float(v) for k, v in data.get("metrics", {}).items()},
        seconds=float(data.get("seconds", 0.0)),
        stage=sys.intern(str(data.get("stage", ""))),
        epoch=int(data.get("epoch", 0)),
        samples=tuple(float(x) for x in data.get("samples", ())),
    )


def write_evaluation(evaluation: Evaluation, *, timed: bool) -> dict[str, Any]:
    """The reverse of `read_evaluation`; times are left out where they would break determinism."""
    data: dict[str, Any] = {"status": evaluation.status, "score": evaluation.score}
    if evaluation.metrics:
        data["metrics"] = dict(evaluation.metrics)
    if timed:
        data["seconds"] = round(evaluation.seconds, 6)
    if evaluation.samples and len(evaluation.samples) > 1:
        data["samples"] = list(evaluation.samples)
    if evaluation.stage:
        data["stage"] = evaluation.stage
    if evaluation.epoch:
        data["epoch"] = evaluation.epoch
    return data


def fold(
    entries: Iterable[Entry], listen: Callable[[Entry], None] | None = None, trust: Trust | None = None
) -> Population:
    """The population after all `entries`, with everybody believed unless told.

    They may come in any order. What an operator earned is weighed by how lately, so a whole run comes in its own order.
    """
    population = Population(findings=Findings(trust or Trust()))
    for entry in entries:
        population.apply(entry)
        if listen is not None:
            listen(entry)
    return population
