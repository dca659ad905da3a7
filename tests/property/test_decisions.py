"""Any interleaving of decisions by several reviewers and hosts folds to the same population."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evogit.evolution.population import Population
from evogit.store.journal import Clock, Entry

VERBS = ("promote", "exclusive", "prune", "restore", "pin", "adopt", "guide", "withdraw", "goal", "tag")
COMMITS = 12


def oid(number: int) -> str:
    return f"{number:040x}"


def born(number: int, rng: random.Random, clock: int) -> Entry:
    """Candidate `number`, a child of one or two earlier ones."""
    parents = sorted({oid(rng.randrange(number)) for _ in range(rng.choice((1, 1, 2)))}) if number else []
    data: dict[str, Any] = {
        "status": "ok",
        "score": float((number // 2 * 7) % 5),
        "tree": oid(1000 + number // 2),
        "digest": "d",
        "parents": parents,
        "host": f"h{number % 2}",
        "agent": f"a{number % 3}",
        "operator": "grow",
        "definition": "tinker",
        "step": number,
        "decision": "accepted",
        "summary": "",
    }
    return Entry(oid(5000 + number), f"w{number % 2}", number, Clock(clock), "evaluated", data, oid(number))


def said(number: int, verb: str, rng: random.Random, clock: int, guided: list[str]) -> Entry:
    """Something a person said at `clock`, by one of three reviewers."""
    commit: str | None = oid(rng.randrange(COMMITS))
    entry, writer = oid(9000 + number), f"r{rng.randrange(3)}"
    data: dict[str, Any] = {"decision": verb, "author": writer}
    kind = "decided"
    if verb == "exclusive":
        data |= {"decision": "promote", "exclusive": True, "name": "n"}
    elif verb == "tag":
        data |= {"decision": "prune", "tag": "evogit/main/prune/x", "object": commit}
    elif verb == "adopt":
        mine = rng.randrange(3)
        commit, clock = oid(100 + mine), max(clock, 10 + 4 * mine)  # nobody adopts what has not been born
        data |= {"tree": oid(2000), "parents": [oid(4 * mine)], "status": "ok"}
    elif verb == "guide":
        data |= {"text": f"t{number}"}
        guided.append(entry)
        commit = None
    elif verb == "withdraw":
        data |= {"entry": rng.choice(guided) if guided else oid(1)}
        commit = None
    elif verb == "goal":
        kind, commit, data = "goal", None, {"text": f"g{number}", "author": writer}
    return Entry(entry, writer, number, Clock(clock, 1), kind, data, commit)


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    rng = draw(st.randoms(use_true_random=False))
    verbs = draw(st.lists(st.sampled_from(VERBS), max_size=14))
    founded = {"digest": "d", "direction": "maximize", "task": "t"}
    entries = [Entry(oid(4999), "w0", 0, Clock(0), "founded", founded, oid(0))]
    entries += [born(number, rng, 10 + number) for number in range(COMMITS)]
    guided: list[str] = []
    entries += [said(k, verb, rng, rng.randrange(5, 40), guided) for k, verb in enumerate(verbs)]
    return entries


def essence(population: Population) -> object:
    """What agents and reviewers act on."""
    decisions, commits = population.decisions, list(population.phylogeny)
    best = population.best()
    return (
        best and (best.commit, best.score),
        population.fate.extinct,
        {commit for commit in commits if population.fate.alive(commit)},
        population.guests(),
        {name: seat.commit for name, seat in population.seats.items()},
        decisions.standing,
        [guidance.text for guidance in decisions.guidance],
        decisions.stage and decisions.stage.text,
        {tree for tree in map(oid, range(1000, 1010)) if population.barred(tree)},
    )


@given(histories(), st.randoms(use_true_random=False))
def test_any_interleaving_folds_to_the_same_population(entries: list[Entry], rng: random.Random) -> None:
    births = [entry for entry in entries if entry.kind in ("founded", "evaluated")]
    spoken = [entry for entry in entries if entry.kind in ("decided", "goal")]
    straight = Population()
    for entry in sorted(entries, key=lambda e: e.order):
        straight.apply(entry)
    for _ in range(3):
        # Births and adoptions come after their parents: readers hold them back until these are there.
        mixed, rest = Population(), list(births)
        rng.shuffle(spoken)
        later = list(spoken)
        while rest or later:
            ready = [e for e in later if all(p in mixed.phylogeny for p in e.data.get("parents", ()))]
            if rest and (not ready or rng.random() < 0.5):
                mixed.apply(rest.pop(0))
            else:
                later.remove(ready[-1])
                mixed.apply(ready[-1])
        assert essence(mixed) == essence(straight)


@given(histories())
def test_what_descends_from_pruned_versions_alone_is_extinct(entries: list[Entry]) -> None:
    population = Population()
    for entry in sorted(entries, key=lambda e: e.order):
        population.apply(entry)
    graph, standing = population.phylogeny, population.decisions.standing
    for commit in graph:
        own = standing.get(commit)
        expected = bool(own and own.fate == "prune") or (
            not (own and own.kept) and any(parent in population.fate.extinct for parent in graph.parents(commit))
        )
        assert (commit in population.fate.extinct) == expected
    best = population.best()
    assert best is None or best.commit not in population.fate.extinct
