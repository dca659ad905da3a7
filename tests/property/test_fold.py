"""Hosts that evaluated the same trees before they met agree on what counts, in whatever order they read."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evogit.evolution.findings import Findings, Trust
from evogit.evolution.population import Population, write_evaluation
from evogit.store.journal import Clock, Entry
from evogit.values import Direction, Evaluation
from tests.agreement import essence

HOSTS = 4


def oid(number: int) -> str:
    return f"{number:040x}"


@st.composite
def journals(draw: st.DrawFn) -> list[list[Entry]]:
    """Entries of some hosts, each in its sequence: the same few trees, scores that differ, sometimes measured twice."""
    direction: Direction = draw(st.sampled_from(["maximize", "minimize"]))
    found: list[list[Entry]] = []
    for host in range(HOSTS):
        clock, writer = draw(st.integers(0, 20)), f"h{host}-0"
        founded = {"digest": draw(st.sampled_from("de")), "direction": direction, "task": "t", "judge": "no"}
        entries = [Entry(oid(100 * host + 99), writer, 0, Clock(clock), "founded", founded, oid(0))]
        for at in range(draw(st.integers(0, 8))):
            clock += draw(st.integers(0, 5))
            commit = draw(st.integers(1, 5)) if draw(st.booleans()) else 1000 * (host + 1) + at
            born = commit >= 1000
            tree = commit % 5
            ok = draw(st.booleans()) or draw(st.booleans())
            score = float(draw(st.integers(0, 4)))
            samples = (score,) * draw(st.integers(1, 2))
            made = Evaluation("ok", score, samples=samples) if ok else Evaluation("failed")
            data: dict[str, Any] = write_evaluation(made, timed=True)
            data |= {"tree": oid(tree), "digest": draw(st.sampled_from("de")), "host": f"h{host}", "agent": f"a{at}"}
            if born:
                data |= {
                    "parents": [oid(draw(st.integers(0, 5)))],
                    "operator": "grow",
                    "step": at,
                    "decision": draw(st.sampled_from(["accepted", "worse"])),
                    "summary": f"s{at}",
                    "touched": {"f": [[1, 2]]},
                    "patch": f"p{tree}",
                }
            entry = Entry(oid(10_000 + 100 * host + at), writer, at + 1, Clock(clock), "evaluated", data, oid(commit))
            entries.append(entry)
        found.append(entries)
    return found


def interleaved(found: list[list[Entry]], rng: random.Random) -> list[Entry]:
    left = [list(entries) for entries in found]
    mixed = []
    while any(left):
        mixed.append(rng.choice([entries for entries in left if entries]).pop(0))
    return mixed


@given(journals(), st.randoms(use_true_random=False), st.sampled_from([("*",), ("h0", "h1"), ("h0",)]))
def test_what_counts_does_not_depend_on_the_order(
    found: list[list[Entry]], rng: random.Random, hosts: tuple[str, ...]
) -> None:
    kept = []
    for _ in range(4):
        population = Population(findings=Findings(Trust(hosts, check=0.5)))
        for entry in interleaved(found, rng):
            population.apply(entry)
        kept.append(essence(population))
    for field, first in kept[0].items():
        assert all(one[field] == first for one in kept), field


def claim(host: str, tree: int, score: float, at: int, *, commit: int = 0) -> Entry:
    data = {"status": "ok", "score": score, "tree": oid(tree), "digest": "d", "host": host, "agent": "a"}
    return Entry(oid(at), f"{host}-0", at, Clock(at), "evaluated", data, oid(commit or 100 + tree))


def watching(check: float) -> Population:
    population = Population(findings=Findings(Trust(("me", "ally-*"), check=check)))
    founded = {"digest": "d", "direction": "maximize", "task": "t"}
    population.apply(Entry(oid(1), "me-0", 0, Clock(0), "founded", founded, oid(0)))
    population.apply(claim("me", 1, 1.0, 2))
    return population


def test_a_claim_makes_no_champion_until_a_believed_host_has_measured_it() -> None:
    population = watching(0.0)
    population.apply(claim("stranger", 2, 50.0, 3))
    assert population.result(oid(2), 0) == Evaluation("ok", 50.0), "good enough for a parent"
    best = population.best()
    assert best is not None
    assert best.score == 1.0
    population.apply(claim("ally-7", 2, 50.0, 4))
    best = population.best()
    assert best is not None
    assert (best.score, best.tree) == (50.0, oid(2))
    assert population.findings.caught == {}


def test_who_is_caught_is_believed_in_nothing_any_more() -> None:
    population = watching(0.0)
    for tree in (2, 3, 4):
        population.apply(claim("stranger", tree, 50.0 + tree, 10 + tree))
    population.apply(claim("me", 3, 0.5, 20))
    assert population.findings.caught == {"stranger": 1}
    assert population.findings.refutations("stranger") == [(oid(3), 53.0, 0.5)]
    assert [population.result(oid(tree), 0) for tree in (2, 4)] == [None, None]
    population.apply(claim("stranger", 5, 2.0, 21))
    assert population.result(oid(5), 0) is None
    best = population.best()
    assert best is not None
    assert best.score == 1.0


def test_what_is_drawn_counts_only_once_it_was_checked() -> None:
    population = watching(1.0)
    population.apply(claim("stranger", 2, 0.25, 3))
    assert population.result(oid(2), 0) is None
    population.apply(claim("me", 2, 0.25, 4))
    assert population.result(oid(2), 0) == Evaluation("ok", 0.25)


def test_a_failure_that_a_stranger_claims_keeps_nobody_from_trying() -> None:
    population = watching(0.0)
    failed = claim("stranger", 2, 0.0, 3)
    population.apply(replace(failed, data={**failed.data, "status": "failed", "score": None}))
    assert population.result(oid(2), 0) is None
