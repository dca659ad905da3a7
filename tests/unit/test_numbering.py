"""Ids by the number behave as dictionaries do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evogit.evolution.measurements import Measurements, Orders
from evogit.numbering import Column, Distinct, Names
from evogit.store.journal import Clock
from evogit.values import Evaluation


def oid(number: int) -> str:
    return f"{number:040x}"


FINITE = st.floats(allow_nan=False, allow_infinity=False)
ORDERS = st.builds(
    lambda time, count, writer, sequence: (Clock(time, count), writer, sequence),
    st.integers(0, 2**62 - 1),
    st.integers(0, 2**62 - 1),
    st.sampled_from("abc"),
    st.integers(0, 2**62 - 1),
)
EVALUATIONS = st.builds(
    Evaluation,
    st.sampled_from(["ok", "failed"]),
    st.none() | FINITE,
    st.dictionaries(st.sampled_from("mno"), FINITE, max_size=3),
    seconds=FINITE,
    stage=st.sampled_from(["", "main"]),
    samples=st.lists(FINITE, max_size=3).map(tuple),
)
KEYS = st.tuples(st.integers(0, 40).map(oid), st.sampled_from("de"), st.integers(-1, 4))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.sampled_from("xyz")), max_size=200))
def test_columns_of_one_table_are_dictionaries(rows: list[tuple[int, int, str]]) -> None:
    names = Names()
    trees, makers = Column(names, Names()), Column(names, Distinct[str]())
    expected: dict[str, str] = {}
    made: dict[str, str] = {}
    for commit, tree, maker in rows:
        trees[oid(commit)] = expected[oid(commit)] = oid(tree)
        if commit % 2:
            makers[oid(commit)] = made[oid(commit)] = maker
    assert (dict(trees), len(trees)) == (expected, len(expected))
    assert (dict(makers), len(makers)) == (made, len(made))
    assert list(names) == list(expected), "numbered as they came"
    assert [oid(n) in makers for n in range(201)] == [oid(n) in made for n in range(201)]
    assert [makers.get(word) for word in ("", "abc", "no id", "é" * 40)] == [None] * 4


@given(st.lists(st.tuples(KEYS, EVALUATIONS, ORDERS, st.booleans()), max_size=60), st.integers(-1, 4))
def test_measurements_are_kept_as_they_were(
    rows: list[tuple[tuple[str, str, int], Evaluation, tuple[Clock, str, int], bool]], epoch: int
) -> None:
    kept = Measurements(Names(), Orders())
    expected: dict[tuple[str, str, int], tuple[Evaluation, tuple[Clock, str, int]]] = {}
    for key, evaluation, order, drops in rows:
        if drops:
            kept.drop(key)
            expected.pop(key, None)
        else:
            kept.put(key, evaluation, order)
            expected[key] = (evaluation, order)
    for _ in range(2):
        assert {key: (kept.get(key), kept.order(key)) for key in kept} == expected
        assert {key: kept.score(key) for key in kept} == {key: found[0].score for key, found in expected.items()}
        kept.keep(epoch, -1)
        expected = {key: found for key, found in expected.items() if key[2] >= epoch or key[2] == -1}
    assert kept.get((oid(999), "d", 0)) is None
