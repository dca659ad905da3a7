"""Measures of the phylogeny: on trees against phylotrackpy and DendroPy, on graphs with merges against counting."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.phylogeny import measures, steps
from evogit.phylogeny.bisecting import bisect, metrics_of
from evogit.phylogeny.history import Facts, History, from_edges
from evogit.phylogeny.steps import Attempt

with warnings.catch_warnings():  # DendroPy escapes carelessly
    warnings.simplefilter("ignore")
    import dendropy
    from phylotrackpy.systematics import Systematics

SEEDS = st.integers(0, 10**9)


def graph(parents: Sequence[Sequence[int]], facts: Sequence[Facts] | None = None, **rest: Any) -> History:
    return from_edges([f"{i:040x}" for i in range(len(parents))], parents, facts=facts, **rest)


def random_tree(rng: random.Random, count: int) -> tuple[list[list[int]], list[int]]:
    """Parents, and some living versions, also inner ones."""
    parents: list[list[int]] = [[], *([rng.randrange(max(0, i - 6), i)] for i in range(1, count))]
    return parents, sorted(rng.sample(range(count), rng.randint(2, min(8, count))))


def tracked(history: History, living: Sequence[int]) -> Any:
    """The same tree as phylotrackpy has it, born generation by generation."""
    found = Systematics(lambda organism: organism, True, True, False, False)
    taxa: dict[int, Any] = {}
    for i in sorted(range(len(history)), key=lambda i: int(history.generations[i])):
        found.set_update(int(history.generations[i]))
        above = history.parents(i)
        taxa[i] = found.add_org(i, taxa[above[0]]) if above else found.add_org(i)
    for i in range(len(history)):
        if i not in living:
            found.remove_org(taxa[i])
    return found


def as_dendropy(history: History, living: Sequence[int]) -> Any:
    """The same tree in DendroPy: edges of length one, each living version a leaf, by an edge of no length if inner."""
    namespace = dendropy.TaxonNamespace([str(i) for i in living])
    known = [i for i in range(len(history)) if any(history.is_ancestor(i, j) for j in living)]
    nodes = {i: dendropy.Node(edge_length=1.0 if history.parents(i) else 0.0) for i in known}
    for i in known:
        for parent in history.parents(i):
            nodes[parent].add_child(nodes[i])
    for i in living:
        nodes[i].add_child(dendropy.Node(edge_length=0.0, taxon=namespace.get_taxon(str(i))))
    return dendropy.Tree(seed_node=nodes[0], taxon_namespace=namespace)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(3, 40))
def test_on_trees_we_agree_with_phylotrackpy(seed: int, count: int) -> None:
    parents, living = random_tree(random.Random(seed), count)
    history = graph(parents)
    theirs = tracked(history, living)
    assert measures.phylogenetic_diversity(history, living, rooted=True) == theirs.get_phylogenetic_diversity()
    assert measures.mean_pairwise_distance(history, living) == pytest.approx(theirs.get_mean_pairwise_distance(False))
    assert history.mrca(*living) == [theirs.get_mrca().get_info()]
    if set(living) & set(history.mrca(*living)):
        return  # theirs stops counting at a living common ancestor
    # It also counts the time since each version was born, shared by the version's own living descendants.
    now = int(history.generations.max())
    waits = [(now - int(history.generations[i])) / sum(history.is_ancestor(i, j) for j in living) for i in living]
    ours = measures.distinctiveness(history, living)
    mean = (math.fsum(ours.values()) + math.fsum(waits)) / len(living)
    assert mean == pytest.approx(theirs.get_mean_evolutionary_distinctiveness(now))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(3, 40))
def test_on_trees_we_agree_with_dendropy(seed: int, count: int) -> None:
    parents, living = random_tree(random.Random(seed), count)
    history = graph(parents)
    tree = as_dendropy(history, living)
    distances = tree.phylogenetic_distance_matrix()
    ours = history.all_distances(living)
    for a, one in enumerate(tree.taxon_namespace):
        for b, other in enumerate(tree.taxon_namespace):
            assert distances.patristic_distance(one, other) == ours[a, b]
    assert measures.mean_pairwise_distance(history, living) == pytest.approx(distances.mean_pairwise_distance())
    below = sum(edge.length or 0.0 for edge in tree.preorder_edge_iter() if edge.head_node is not tree.seed_node)
    leaves = {int(leaf.taxon.label): leaf for leaf in tree.leaf_node_iter()}
    shared = sum(node.edge_length or 0.0 for node in _above_the_fork(tree))
    assert measures.phylogenetic_diversity(history, living) == below - shared
    for i, share in measures.distinctiveness(history, living, rooted=True).items():
        way = [leaves[i], *leaves[i].ancestor_iter()]
        assert share == pytest.approx(sum((node.edge_length or 0.0) / len(node.leaf_nodes()) for node in way))


def _above_the_fork(tree: Any) -> list[Any]:
    """The nodes below the root that all leaves descend from."""
    everyone = len(tree.leaf_nodes())
    return [n for n in tree.preorder_node_iter() if n is not tree.seed_node and len(n.leaf_nodes()) == everyone]


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 30))
def test_shares_of_distinctiveness_add_up_to_diversity_on_any_graph(seed: int, count: int) -> None:
    rng = random.Random(seed)
    parents: list[list[int]] = [[]]
    parents += [sorted(rng.sample(range(i), min(i, rng.choice((1, 1, 2))))) for i in range(1, count)]
    history, heads = graph(parents), sorted(rng.sample(range(count), rng.randint(1, min(6, count))))
    for rooted in (False, True):
        shares = measures.distinctiveness(history, heads, rooted=rooted)
        assert math.fsum(shares.values()) == pytest.approx(
            measures.phylogenetic_diversity(history, heads, rooted=rooted)
        )
    if len(heads) == 2:
        assert measures.phylogenetic_diversity(history, heads) == history.distance(*heads)


def born(score: float | None, decision: str = "accepted", agent: str = "a", **rest: Any) -> Facts:
    return Facts(agent=agent, host="h", decision=decision, score=score, status="ok", scale="e/0", **rest)


START = Facts(score=1.0, scale="e/0")


def test_where_the_living_meet() -> None:
    #   0 - 1 - 2 - 4
    #        \- 3 -/ \- 5     two best common ancestors of 5 and 6
    #         \   \- 6 (2, 3)
    history = graph([[], [0], [1], [1], [2, 3], [2, 3]])
    met = measures.coalescence(history, [4, 5])
    assert (met.commits, met.generations, met.milliseconds) == ((2, 3), 1, 2000)
    apart = measures.coalescence(graph([[], []]), [0, 1])
    assert (apart.commits, apart.generations) == ((), None)
    assert measures.coalescence(history, []).commits == ()


def test_a_lineage_takes_over() -> None:
    facts = [START, born(2.0, agent="a"), born(2.5, agent="b"), born(3.0, agent="c"), born(3.5, agent="b")]
    history = graph([[], [0], [0], [1], [1, 2]], facts, base=0)
    spread = measures.takeover(history, 1)
    assert spread.curve == ((1000, 1 / 3), (3000, 2 / 3), (4000, 1.0))
    assert (spread.half, spread.whole) == (2000, 3000)
    assert measures.takeover(history, 2).whole is None
    assert measures.takeover(history, 0).curve == ()


@pytest.mark.parametrize(
    ("parents", "size"),
    [
        ([[0], [0], [0], [0]], 1.0),  # one parent for all
        ([[0], [0], [1], [1]], 1.0),  # one for each generation of two
        ([[0], [0], [1], [2]], 2.0),  # shared in one generation of two
        ([[1], [2], [3], [4]], None),  # never shared
    ],
)
def test_effective_size(parents: list[list[int]], size: float | None) -> None:
    others: list[list[int]] = [[] for _ in range(5)]
    facts = [Facts()] * 5 + [born(1.0, agent="ab"[k % 2]) for k in range(len(parents))]
    assert measures.effective_size(graph([*others, *parents], facts)) == size


def test_effective_size_is_near_that_of_an_ideal_population() -> None:
    """Wright-Fisher: every child picks one of the N last at random, so parents are shared with probability 1/N."""
    rng, n, generations = random.Random(1), 20, 60
    parents: list[list[int]] = [[] for _ in range(n)]
    for generation in range(generations):
        parents += [[rng.randrange(generation * n, generation * n + n)] for _ in range(n)]
    facts = [Facts()] * n + [born(1.0, agent=str(k % n)) for k in range(n * generations)]
    found = measures.effective_size(graph(parents, facts))
    assert found is not None
    assert found == pytest.approx(n, rel=0.15)


def test_earnings_count_all_steps() -> None:
    facts = [
        START,
        born(2.0, operator="grow", seconds=1.0),
        born(1.5, "worse", operator="grow", seconds=2.0, cost=0.5, tokens=10),
        born(None, "failed", operator="drop"),
        born(4.0, operator="grow"),
    ]
    history = graph([[], [0], [1], [1], [1]], facts, base=0)
    attempts = [Attempt("d", "drop", "", "invalid", 3), Attempt("d", "drop", "m", "refused", cost=1.0, tokens=5)]
    grow, drop = steps.earnings(history, attempts)
    assert (grow.name, grow.tried, grow.accepted, grow.compared, grow.beneficial, grow.bests) == ("grow", 3, 2, 3, 2, 2)
    assert (grow.improvement, grow.seconds, grow.cost, grow.tokens) == (3.0, 3.0, 0.5, 10)
    assert (drop.name, drop.tried, drop.evaluated, drop.accepted, drop.cost) == ("drop", 5, 1, 0, 1.0)
    [model] = steps.earnings(history, attempts, "model")
    assert (model.name, model.tried) == ("m", 1)
    assert {row.name for row in steps.earnings(history, attempts, "agent")} == {"a", "d"}


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_interval_of_a_rate_holds_it(one: int, other: int) -> None:
    successes, trials = min(one, other), max(one, other)
    low, high = steps.wilson(successes, trials)
    assert 0 <= low <= high <= 1
    if trials:
        assert low <= successes / trials + 1e-12
        assert high >= successes / trials - 1e-12


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_steps_are_beneficial_neutral_or_deleterious(direction: Any, sign: int) -> None:
    scores = [1.0, 2.0, 2.0, 1.0, None, 3.0]
    decisions = ["", "accepted", "accepted", "worse", "failed", "accepted"]
    facts = [
        Facts(decision=d, scale="e/0", score=None if s is None else sign * s)
        for s, d in zip(scores, decisions, strict=True)
    ]
    history = graph([[], [0], [1], [2], [2], [2]], facts, base=0, direction=direction)
    found = steps.landscape(history)
    assert (found.beneficial, found.neutral, found.deleterious, found.failed) == (2, 1, 1, 1)
    pairs = np.array([(1, 2), (2, 2), (2, 1), (2, 3)], dtype=float) * sign
    assert found.correlation == pytest.approx(np.corrcoef(pairs.T)[0, 1])
    assert dict(steps.new_bests(history)) == {1: 1.0, 5: 1.0}


def test_scores_of_different_epochs_are_never_compared() -> None:
    facts = [
        Facts(score=1.0, scale="e/0", scores={"e/0": 1.0, "e/1": 10.0}),
        Facts(score=2.0, scale="e/0", scores={"e/0": 2.0, "e/1": 12.0}, decision="accepted"),
        Facts(score=11.0, scale="e/1", decision="worse"),
        Facts(score=13.0, scale="e/1", decision="accepted"),
        Facts(score=1.5, scale="other/0", decision="accepted"),
    ]
    history = graph([[], [0], [1], [1], [3]], facts, base=0)
    assert steps.gains(history, 2, facts[2]) == [-1.0]
    assert steps.gains(history, 4, facts[4]) == [None]
    assert dict(steps.new_bests(history)) == {1: 1.0, 3: 1.0, 4: 0.0}


def test_what_a_crossover_gains_over_both_parents() -> None:
    facts = [START, born(2.0), born(3.0), *(born(score) for score in (4.0, 3.0, 2.5, 1.0, None))]
    merges = [[1, 2]] * 5
    found = steps.merge_benefit(graph([[], [0], [0], *merges], facts, base=0))
    assert (found.merges, found.better_than_both, found.equal_to_better) == (5, 1, 1)
    assert (found.between, found.worse_than_both, found.failed) == (1, 1, 1)
    assert found.mean_gain == pytest.approx((1.0 + 0.0 - 0.5 - 2.0) / 4)
    assert steps.merge_benefit(graph([[], [0]])).mean_gain is None


def test_standing_still() -> None:
    facts = [START, born(2.0), *(born(1.0, "worse") for _ in range(6)), born(2.0)]
    history = graph([[], [0], *([1] for _ in range(6)), [0]], facts, base=0, living=frozenset({1, 8}))
    flat = steps.plateau(history, 7)
    assert (flat.last, flat.since, flat.reached) == (1, 7, True)
    assert not steps.plateau(history, 8).reached
    assert steps.exhausted(history, 6) == [steps.Exhausted(1, 6)]
    assert steps.exhausted(history, 7) == []


def test_bisect_names_where_a_metric_arose_not_where_it_was_merged() -> None:
    facts = [
        Facts(score=0.0, scale="e", metrics={"size": 1.0}),
        Facts(score=5.0, scale="e", metrics={"size": 1.0}),
        Facts(score=1.0, scale="e", metrics={"size": 9.0}),
        Facts(score=5.5, scale="e", metrics={"size": 9.0}),
        Facts(score=7.0, scale="f"),
    ]
    history = graph([[], [0], [0], [2, 1], [3]], facts)
    found = bisect(history, 4)
    assert [(step.commit, step.change) for step in found.changes] == [(1, 5.0), (2, 1.0), (3, 0.5)]
    assert (found.steps, found.unknown) == (4, 1)
    assert bisect(history, 4, "size").changes[0].commit == 2
    assert [step.commit for step in bisect(history, 3, first_parent=True).changes] == [3, 2]
    assert metrics_of(history, 4) == ["score", "size"]


def test_nothing_is_measured_without_breaking() -> None:
    alone = graph([[]], living=frozenset({0}))
    shape = measures.shape(alone)
    assert (shape.living, shape.diversity, shape.mean_distance, shape.effective_size) == (1, 0, 0.0, None)
    nobody = graph([])
    assert measures.shape(nobody).diversity == 0
    assert steps.landscape(nobody).correlation is None
    assert not steps.plateau(nobody).reached
