"""Whatever somebody pushes as a journal entry: it is read or passed over, and the fold never breaks on it."""

from __future__ import annotations

import json
import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from evogit.errors import StoreError
from evogit.evolution.entries import flaw
from evogit.evolution.findings import Findings, Trust
from evogit.evolution.population import Population
from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import Entry, parse
from tests.agreement import essence
from tests.property.test_decisions import born
from tests.property.test_fold import oid

WRITER = "evil-0"

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["ok", "accepted", "better", "adopt", "prune", oid(1), oid(2), "x" * 40, "\ud800", "h0", "d", "1", 10**400]
    ),
)
values = st.recursive(
    odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def taken_in(message: str, parents: tuple[str, ...]) -> Entry | None:
    """The entry as readers get it: None if it is passed over."""
    try:
        entry = parse(oid(70), oid(71), parents, message)
    except StoreError:
        return None
    wrong = flaw(entry)
    assert wrong is None or wrong.strip()
    return entry if wrong is None else None


def base() -> list[Entry]:
    rng = random.Random(2)
    founded = {"digest": "d", "direction": "maximize", "task": "t"}
    births = [born(number, rng, 10 + number) for number in range(5)]
    return [Entry(oid(4999), "w0", 0, births[0].clock, "founded", founded, oid(0)), *births]


def fold(entries: list[Entry], trust: Trust) -> Population:
    population = Population(findings=Findings(trust), phylogeny=Phylogeny())
    for entry in entries:
        population.apply(entry)
    return population


# Not commits of others: an entry that claims other parents for one than its commit has is not found out by the fold.
PARENTS = st.lists(st.sampled_from([oid(69), oid(8888)]), max_size=3).map(tuple)


@settings(max_examples=100)
@given(
    st.text(max_size=60) | values.map(json.dumps) | st.binary(max_size=40).map(lambda b: b.decode("utf-8", "replace")),
    PARENTS,
)
@example("[" * 20_000, ())
@example('{"kind": "goal", "writer": "evil-0", "sequence": 1e999, "clock": [1, 0]}', ())
@example('{"kind": "goal", "writer": "evil-0", "sequence": 0, "clock": [1e999, 0]}', ())
@example('{"kind": "goal", "writer": "evil-0", "sequence": 0, "clock": {"0": 1}}', ())
@example('{"kind": "goal", "writer": "evil-0", "sequence": 0, "clock": [99999999999999999999999, 0]}', ())
@example('{"kind": "goal", "writer": "evil-0", "sequence": -5, "clock": [-5, -5]}', ())
@example('{"kind": "goal", "writer": "evil-0", "sequence": ' + "9" * 5000 + ', "clock": [1, 0]}', ())
def test_whatever_stands_in_a_message_is_an_entry_or_none(text: str, parents: tuple[str, ...]) -> None:
    entry = taken_in(f"subject\n\n{text}\n", parents)
    if entry is not None:
        essence(fold(sorted([*base(), entry], key=lambda e: e.order), Trust()))
