"""What the shape of the phylogeny says: diversity, distinctiveness, coalescence, takeover, effective population size.

All are pure functions of a `History`. A commit weighs one step: it stands for the edge above it, so that every measure
equals its textbook definition on a tree with edges of length one, and still means something where lineages merge.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evogit.phylogeny.history import Facts, History

ACCEPTED = "accepted"


def phylogenetic_diversity(history: History, heads: Sequence[int], *, rooted: bool = False) -> int:
    """How many steps of evolution the `heads` embody between them (Faith 1992), since their last common ancestor.

    On a tree: the edges of the smallest subtree that spans them. On a graph with merges: the commits that are ancestors
    of some, but not of all, which for two heads is their distance. `rooted` counts from the root, as Faith did and
    phylotrackpy does: the commits that are ancestors of any, less the roots.
    """
    return sum(_groups(history, list(dict.fromkeys(heads)), rooted).values())


def _groups(history: History, heads: Sequence[int], rooted: bool) -> dict[int, int]:
    """How many commits, each with an edge above it, have each set of heads as descendants (bit k: ``heads[k]``)."""
    if not rooted:
        return history.apart(heads)
    above = history.first_parents.tolist()
    return Counter(word for i, word in enumerate(history.reached(heads)) if word and above[i] >= 0)


def mean_pairwise_distance(history: History, heads: Sequence[int]) -> float:
    """Mean of |A…B| over pairs of different `heads` (Webb 2000); 0 for fewer than two."""
    different = list(dict.fromkeys(heads))
    k = len(different)
    return float(history.all_distances(different).sum()) / (k * (k - 1)) if k > 1 else 0.0


def distinctiveness(history: History, heads: Sequence[int], *, rooted: bool = False) -> dict[int, float]:
    """Each head's share of the evolution the `heads` embody: fair proportion (Redding 2003; Isaac et al. 2007).

    Every step is shared equally by the heads that descend from it, so the shares add up to the phylogenetic diversity.
    On trees that is the textbook measure; on any graph it is, if `rooted`, the Shapley value of that diversity (Fuchs
    and Jin 2015). phylotrackpy adds the time since each version was born, which our living have not spent evolving.
    """
    different = list(dict.fromkeys(heads))
    shares = dict.fromkeys(different, 0.0)
    for word, weight in _groups(history, different, rooted).items():
        owners = [head for bit, head in enumerate(different) if word >> bit & 1]
        for head in owners:
            shares[head] += weight / len(owners)
    return shares


@dataclass(frozen=True, slots=True)
class Coalescence:
    """Where the living meet: their best common ancestors, newest last. `generations` and `milliseconds` back from the
    deepest of the living and from the newest commit; None when they have no common ancestor."""

    commits: tuple[int, ...]
    generations: int | None
    milliseconds: int | None


def coalescence(history: History, heads: Sequence[int]) -> Coalescence:
    """How far back the most recent common ancestor of all `heads` lies (Kingman 1982, as observed, not inferred)."""
    found = history.mrca(*dict.fromkeys(heads)) if heads else []
    if not found:
        return Coalescence((), None, None)
    deepest = max(int(history.generations[i]) for i in heads)
    newest = max(found, key=lambda i: int(history.times[i]))
    depth = max(int(history.generations[i]) for i in found)
    return Coalescence(tuple(found), deepest - depth, int(history.times.max()) - int(history.times[newest]))


@dataclass(frozen=True, slots=True)
class Takeover:
    """How the descendants of one commit spread over the agents' seats.

    `curve` is (milliseconds, share) at each change; `half` and `whole` are milliseconds after the commit, or None.
    """

    commit: int
    curve: tuple[tuple[int, float], ...]
    half: int | None
    whole: int | None


def takeover(history: History, commit: int) -> Takeover:
    """The share of agents that stand on a descendant of `commit`, over time (takeover time: Goldberg and Deb 1991).

    Every agent that ever made a candidate has a seat, on the base until its first accepted child.
    """
    inside = history.descendants(commit)
    births = list(accepted_births(history))
    makers = {(facts.host, facts.agent) for _, facts in candidates(history)}
    start = history.base is not None and bool(inside[history.base])
    seats = dict.fromkeys(makers, start)
    held = sum(seats.values())
    curve: list[tuple[int, float]] = []
    begun = int(history.times[commit])
    half = whole = None
    for i, facts in births:
        name = (facts.host, facts.agent)
        if bool(inside[i]) == seats[name]:
            continue
        seats[name] = bool(inside[i])
        held += 1 if inside[i] else -1
        share, now = held / len(seats), int(history.times[i])
        curve.append((now, share))
        if half is None and share >= 0.5:
            half = now - begun
        if whole is None and held == len(seats):
            whole = now - begun
    return Takeover(commit, tuple(curve), half, whole)


def effective_size(history: History) -> float | None:
    """How large an ideal population would have to be for parents to be shared as often as here; None if unknown.

    The haploid inbreeding effective size: one over the probability that two births have the same parent, which is how
    sibship estimates work (Wang 2009). Births are taken in groups as large as the number of agents, one generation
    each; a merge descends from each parent by half. Means over generations are of probabilities, so that the result is
    the harmonic mean, as usual. Agents that all breed alike give about their number; one parent for all gives one.
    """
    births = [history.parents(i) for i, _ in accepted_births(history)]
    births = [parents for parents in births if parents]
    size = len({(facts.host, facts.agent) for _, facts in candidates(history)})
    if size < 2 or len(births) < size:
        return None
    chances = [_same_parent(births[at : at + size]) for at in range(0, len(births) - size + 1, size)]
    mean = sum(chances) / len(chances)
    return 1 / mean if mean else None


def _same_parent(births: Sequence[Sequence[int]]) -> float:
    """The probability that two different births of these descend from one parent."""
    given: dict[int, float] = defaultdict(float)
    alone = 0.0
    for parents in births:
        for parent in parents:
            given[parent] += 1 / len(parents)
        alone += 1 / len(parents)
    pairs = len(births) * (len(births) - 1)
    return (sum(weight * weight for weight in given.values()) - alone) / pairs


def candidates(history: History) -> Iterator[tuple[int, Facts]]:
    """Every commit that was proposed and decided on."""
    for i in range(len(history)):
        facts = history.facts(i)
        if facts.decision:
            yield i, facts


def accepted_births(history: History) -> Iterator[tuple[int, Facts]]:
    """The candidates that became individuals, in the order of the graph, which is that of time."""
    return ((i, facts) for i, facts in candidates(history) if facts.decision == ACCEPTED)


@dataclass(frozen=True, slots=True)
class Shape:
    """The measures of the living in one table. Steps are commits."""

    living: int
    diversity: int
    mean_distance: float
    coalescence: Coalescence
    effective_size: float | None
    distinctiveness: dict[int, float]
    depth: int
    """Steps on the longest lineage."""


def shape(history: History) -> Shape:
    """Everything about the living at once."""
    heads = sorted(history.living)
    return Shape(
        len(heads),
        phylogenetic_diversity(history, heads),
        mean_pairwise_distance(history, heads),
        coalescence(history, heads),
        effective_size(history),
        distinctiveness(history, heads),
        int(np.max(history.generations, initial=0)),
    )
