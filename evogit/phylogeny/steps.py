"""What single steps earn: children against their parents, by operator, agent and model; plateaus and spent lineages.

A child is compared with a parent only on a scale both were measured on. Pure functions of a `History`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from evogit.phylogeny.history import Facts, History
from evogit.phylogeny.measures import ACCEPTED, candidates
from evogit.values import Direction, better

By = Literal["operator", "agent", "model"]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Steps that left no commit: rejected before anything ran. `reason` says why, `count` how many of the kind."""

    definition: str
    operator: str
    model: str
    reason: str
    count: int = 1
    seconds: float = 0.0
    cost: float = 0.0
    tokens: int = 0


def gain(direction: Direction, before: float, after: float) -> float:
    """By how much `after` is better than `before`; negative if worse."""
    return after - before if direction == "maximize" else before - after


def gains(history: History, i: int, facts: Facts) -> list[float | None]:
    """The child's gain over each of its parents; None where the two were not measured alike."""
    found: list[float | None] = []
    for parent in history.parents(i):
        before = history.facts(parent).score_on(facts.scale) if facts.score is not None else None
        found.append(None if before is None or facts.score is None else gain(history.direction, before, facts.score))
    return found


# Earnings


@dataclass(slots=True)
class Earnings:
    """What the steps of one operator, agent or model came to.

    `tried` counts all steps, those that left no commit too; `compared` those whose child has a score beside its
    receiver's, and `beneficial` the better ones among them. `bests` counts new best scores of the whole population, and
    `improvement` sums by how much they advanced it.
    """

    name: str
    tried: int = 0
    evaluated: int = 0
    accepted: int = 0
    compared: int = 0
    beneficial: int = 0
    bests: int = 0
    improvement: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0
    tokens: int = 0

    @property
    def rate(self) -> float:
        return self.accepted / self.tried if self.tried else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.accepted, self.tried)


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927), which stays honest for rare successes and few trials."""
    if not trials:
        return 0.0, 1.0
    rate, spread = successes / trials, z * z / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / trials / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def earnings(history: History, attempts: Iterable[Attempt] = (), by: By = "operator") -> list[Earnings]:
    """What each operator, agent definition or model earned and cost, the most successful first.

    Steps without a model do not count by model.
    """
    found: dict[str, Earnings] = {}
    bests = dict(new_bests(history))
    for i, facts in candidates(history):
        name = _name(by, facts.operator, facts.definition or facts.agent, facts.model)
        if not name:
            continue
        row = found.setdefault(name, Earnings(name))
        row.tried += 1
        row.evaluated += 1
        row.accepted += facts.decision == ACCEPTED
        row.bests += i in bests
        row.improvement += bests.get(i, 0.0)
        row.seconds += facts.seconds
        row.cost += facts.cost
        row.tokens += facts.tokens
        first = next(iter(gains(history, i, facts)), None)
        if first is not None:
            row.compared += 1
            row.beneficial += first > 0
    for attempt in attempts:
        name = _name(by, attempt.operator, attempt.definition, attempt.model)
        if name:
            row = found.setdefault(name, Earnings(name))
            row.tried += attempt.count
            row.seconds += attempt.seconds
            row.cost += attempt.cost
            row.tokens += attempt.tokens
    return sorted(found.values(), key=lambda row: (-row.rate, row.name))


def _name(by: By, operator: str, definition: str, model: str) -> str:
    return {"operator": operator, "agent": definition, "model": model}[by]


# The landscape


@dataclass(frozen=True, slots=True)
class Landscape:
    """What one step does to the score: how many children are better than, equal to, or worse than their receiver.

    `failed` have no score. `correlation` is that of parents' and children's scores: near 1 the landscape is smooth,
    near 0 rugged (Weinberger 1990, on evolved rather than random steps); None where it is not defined.
    """

    beneficial: int
    neutral: int
    deleterious: int
    failed: int
    correlation: float | None


def landscape(history: History, tolerance: float = 0.0) -> Landscape:
    """Rugged, neutral or smooth, as seen by all candidates. Gains within `tolerance` are neutral (Kimura 1968)."""
    counts = {"beneficial": 0, "neutral": 0, "deleterious": 0, "failed": 0}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for i, facts in candidates(history):
        if facts.score is None:
            counts["failed"] += 1
            continue
        first = next(iter(gains(history, i, facts)), None)
        if first is None:
            continue
        kind = "neutral" if abs(first) <= tolerance else "beneficial" if first > 0 else "deleterious"
        counts[kind] += 1
        before = facts.score - first if history.direction == "maximize" else facts.score + first
        pairs.setdefault(facts.scale, []).append((before, facts.score))
    return Landscape(**counts, correlation=_correlation(list(pairs.values())))


def _correlation(groups: Sequence[Sequence[tuple[float, float]]]) -> float | None:
    """Pearson's, within groups: each is centred on its own mean."""
    xx = yy = xy = 0.0
    for group in groups:
        mean_x = math.fsum(x for x, _ in group) / len(group)
        mean_y = math.fsum(y for _, y in group) / len(group)
        xx += math.fsum((x - mean_x) ** 2 for x, _ in group)
        yy += math.fsum((y - mean_y) ** 2 for _, y in group)
        xy += math.fsum((x - mean_x) * (y - mean_y) for x, y in group)
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else None


@dataclass(frozen=True, slots=True)
class MergeBenefit:
    """Crossovers against both parents: how many are better than both, between, equal to the better one, worse.

    `mean_gain` is over the better parent, None without comparable merges; `failed` have no score.
    """

    merges: int = 0
    better_than_both: int = 0
    equal_to_better: int = 0
    between: int = 0
    worse_than_both: int = 0
    failed: int = 0
    mean_gain: float | None = None


def merge_benefit(history: History) -> MergeBenefit:
    """Whether joining two lineages gives more than the better of them had."""
    counts = dict.fromkeys(("better_than_both", "equal_to_better", "between", "worse_than_both", "failed"), 0)
    over_better: list[float] = []
    merges = 0
    for i, facts in candidates(history):
        over = gains(history, i, facts)
        if len(over) < 2:
            continue
        merges += 1
        if facts.score is None:
            counts["failed"] += 1
            continue
        known = [value for value in over if value is not None]
        if len(known) < len(over):
            continue
        least, most = min(known), max(known)  # over the better parent, over the worse one
        over_better.append(least)
        kind = "better_than_both" if least > 0 else "equal_to_better" if least == 0 else "between"
        counts["worse_than_both" if most < 0 else kind] += 1
    mean = math.fsum(over_better) / len(over_better) if over_better else None
    return MergeBenefit(merges, **counts, mean_gain=mean)


# Standing still


def new_bests(history: History) -> Iterator[tuple[int, float]]:
    """Candidates that were better than everything before them on their scale, and by how much.

    What was measured again when an epoch turned counts as before it. The first of a scale that nothing was measured on
    before advances the best by nothing.
    """
    best = _carried_over(history)
    for i, facts in candidates(history):
        if facts.score is None:
            continue
        held = best.get(facts.scale)
        if held is None or better(history.direction, facts.score, held):
            best[facts.scale] = facts.score
            yield i, 0.0 if held is None else gain(history.direction, held, facts.score)


def _carried_over(history: History) -> dict[str, float]:
    """The best score on each scale of the versions born on another one, and of the base."""
    best: dict[str, float] = {}
    for i in range(len(history)):
        facts = history.facts(i)
        known = {scale: score for scale, score in facts.scores.items() if scale != facts.scale}
        if i == history.base and facts.score is not None:
            known[facts.scale] = facts.score
        for scale, score in known.items():
            if scale not in best or better(history.direction, score, best[scale]):
                best[scale] = score
    return best


@dataclass(frozen=True, slots=True)
class Plateau:
    """How long nothing better has come. `reached` when `since` is at least the window asked for."""

    last: int | None
    since: int
    window: int
    reached: bool = field(default=False)


def plateau(history: History, window: int = 500) -> Plateau:
    """Candidates since the last new best; a run may stop, or restart, once there were `window` in vain."""
    numbered = {i: count for count, (i, _) in enumerate(candidates(history), 1)}
    last = max((i for i, _ in new_bests(history)), default=None)
    since = len(numbered) - (numbered[last] if last is not None else 0)
    return Plateau(last, since, window, since >= window)


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A living version none of whose `tried` children was accepted."""

    commit: int
    tried: int


def exhausted(history: History, tries: int = 60) -> list[Exhausted]:
    """Living versions with `tries` children or more and no success, the most tried first.

    After n failures in a row the success rate is below 3/n with 95 % confidence (the rule of three: Hanley and
    Lippman-Hand 1983), so 60 mean fewer than one success in 20.
    """
    births = (
        (first, facts.decision == ACCEPTED)
        for i, facts in candidates(history)
        if (first := next(iter(history.parents(i)), None)) is not None
    )
    return [Exhausted(i, count) for i, count in in_vain(births, sorted(history.living), tries)]


def in_vain(births: Iterable[tuple[K, bool]], living: Iterable[K], tries: int) -> list[tuple[K, int]]:
    """Who of `living` had `tries` children or more, none accepted, and how many; the most first.

    `births` are (receiver, whether the child was accepted); a run can count its own as they come.
    """
    tried = dict.fromkeys(living, 0)
    fertile: set[K] = set()
    for receiver, accepted in births:
        if receiver in tried:
            tried[receiver] += 1
            if accepted:
                fertile.add(receiver)
    spent = [(who, count) for who, count in tried.items() if count >= tries and who not in fertile]
    return sorted(spent, key=lambda found: -found[1])
