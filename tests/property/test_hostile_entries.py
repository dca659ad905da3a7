"""Whatever somebody pushes as a journal entry: it is read or passed over, and the fold never breaks on it."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from evogit.errors import StoreError
from evogit.evolution.entries import flaw
from evogit.evolution.findings import Findings, Trust
from evogit.evolution.population import Population
from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import KINDS, Entry, parse
from tests.agreement import essence
from tests.property.test_decisions import born, said
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
CALL = {"model": "m", "role": "agent", "input": 1, "output": 2, "cost": 0.5, "seconds": 1.0}


def sound() -> list[Entry]:
    """One entry of each kind, as this version writes them, with every key it knows."""
    rng = random.Random(1)
    extra = {"calls": [CALL], "skipped": {"no-op": {"tinker/grow": 2}}, "touched": {"f": [[1, 2]]}, "patch": "p",
             "metrics": {"a": 1.0}, "samples": [1.0, 2.0], "epoch": 1, "stage": "s", "seconds": 1.0}  # fmt: skip
    full = born(3, rng, 9)
    where = {"host": "h0", "agents": ["a0"], "commit": oid(1), "tree": oid(2)}
    tried = {key: full.data[key] for key in ("host", "agent", "definition", "operator", "summary", "parents", "step")}
    documents: list[tuple[str, dict[str, Any]]] = [
        ("founded", {"digest": "d", "direction": "maximize", "task": "t", "judge": "gated", "agents": {"a": 1}}),
        ("evaluated", {**full.data, **extra}),
        ("evaluated", {key: full.data[key] for key in ("status", "score", "tree", "digest", "host", "agent")}),
        ("attempted", {**tried, "outcome": "invalid", "calls": [CALL], "touched": {"f": [[1, 2]]}}),
        ("judged", {"verdict": "better", "than": oid(1), "digest": "d", "calls": [CALL]}),
        ("noted", {"text": "n", "candidates": 3}),
        ("seated", where),
        ("restarted", {**where, "start": 1}),
        ("verified", {"score": 1.0, "samples": [1.0], "holds": True}),
    ]
    spoken = [
        said(k, verb, rng, 5, []) for k, verb in enumerate(("promote", "exclusive", "tag", "adopt", "guide", "goal"))
    ]
    return [
        *(Entry(oid(70), WRITER, 3, full.clock, kind, data, oid(3), oid(69)) for kind, data in documents),
        *spoken,
    ]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A sound entry's document with some of its keys lost, replaced or foreign."""
    entry = draw(st.sampled_from(sound()))
    clock = [entry.clock.milliseconds, entry.clock.count]
    document: dict[str, Any] = {"kind": entry.kind, "writer": WRITER, "sequence": 3, "clock": clock, **entry.data}
    for key in draw(st.lists(st.sampled_from(sorted(document)), max_size=3)):
        document.pop(key, None)
        if draw(st.booleans()):
            document[key] = draw(values)
    if draw(st.booleans()):
        document["kind"] = draw(st.sampled_from(sorted(KINDS)) | st.text(max_size=5))
    document |= draw(
        st.dictionaries(st.sampled_from(["calls", "metrics", "data", "seal", "text", "on"]), values, max_size=2)
    )
    return document


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


# Commits of others too: an entry may claim whatever it likes.
PARENTS = st.lists(st.sampled_from([oid(69), oid(8888), oid(1), oid(2), oid(3), oid(10), oid(11)]), max_size=3).map(
    tuple
)


@settings(max_examples=150)
@given(st.lists(st.tuples(documents(), PARENTS), min_size=1, max_size=4), st.sampled_from([("*",), ("w0",)]))
def test_no_entry_breaks_the_fold(found: list[tuple[dict[str, Any], tuple[str, ...]]], hosts: tuple[str, ...]) -> None:
    hostile = [taken_in(f"subject\n\n{json.dumps(document)}\n", parents) for document, parents in found]
    entries = sorted([*base(), *(entry for entry in hostile if entry is not None)], key=lambda e: e.order)
    one = fold(entries, Trust(hosts, check=0.5))
    essence(one)
    one.guests()
    one.decisions.guidance, one.decisions.stage, one.decisions.exclusive  # noqa: B018  # they are computed
    one.ledger.by(0)
    one.allocation("tinker").choose(["grow", "drop"], random.Random(1))
    json.dumps([one.candidates, one.accepted, dict(one.rejected), one.steps, one.start, one.first, one.last])
    assert essence(fold(entries[::-1], Trust(hosts, check=0.5))).keys() == essence(one).keys()


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
