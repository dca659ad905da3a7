"""The demonstration's own eyes: work that is done twice is told from work that is looked up or could not be avoided."""

from __future__ import annotations

from benchmarks.verdicts import SLACK, Ran, arrived_at, ran, twice
from evogit.store import refs
from evogit.store.journal import Clock, Entry


def evaluated(writer: str, sequence: int, at: float, tree: str, seconds: float) -> Entry:
    data = {"tree": tree, "digest": "d", "status": "ok", "score": 1.0, "seconds": seconds, "decision": "accepted"}
    return Entry(f"{writer}{sequence}", writer, sequence, Clock(int(at * 1000)), "evaluated", data, "c")


def test_an_accepted_child_with_a_known_tree_was_looked_up() -> None:
    entries = [
        evaluated("a-0", 0, 10.0, "t", 0.125),
        evaluated("b-0", 0, 20.0, "t", 0.125),
        evaluated("b-0", 1, 30.0, "t", 0.25),
        evaluated("b-0", 2, 40.0, "u", 0.125),
    ]
    assert [(run.host, run.key[0], run.ended) for run in ran(entries)] == [
        ("a", "t", 10),
        ("b", "t", 30),
        ("b", "u", 40),
    ]


def test_entries_arrive_with_their_journals_tip() -> None:
    entries = [evaluated("a-0", n, float(n), f"t{n}", 0.1) for n in range(3)]
    ref = refs.journal("main", "a-0")
    seen = [(5.0, {ref: "a-01"}), (7.0, {ref: "a-01", "other": "x"}), (9.0, {ref: "a-02"})]
    assert arrived_at(entries, seen) == {"a-00": 5.0, "a-01": 5.0, "a-02": 9.0}
    assert arrived_at(entries, seen[:1]) == {"a-00": 5.0, "a-01": 5.0}


def test_what_was_evaluated_after_it_was_known_is_waste() -> None:
    first = Ran(("t", "d", 0), "e", "a", 10.0, 1.0)
    again = Ran(("t", "d", 0), "f", "b", 100.0, 1.0)

    def wasted(arrived: float, *spawned: float) -> bool:
        apart, found = twice([first, again], {"a": {"e": 10.0}, "b": {"e": arrived}}, {"b": list(spawned), "a": [0.0]})
        assert len(apart) + len(found) == 1
        return bool(found)

    assert not wasted(1000.0, 1.0), "it arrived afterwards"
    assert wasted(98.0 - SLACK, 1.0), "it was there for long"
    assert not wasted(98.0, 1.0), "it may have been decided on before"
    assert wasted(90.0, 1.0, 95.0), "whatever a process does, it has read all journals first"
    assert not wasted(96.0, 1.0, 95.0)
    assert twice([first, Ran(("u", "d", 0), "f", "b", 100.0, 1.0)], {"a": {}, "b": {}}, {"a": [], "b": []}) == ([], [])
