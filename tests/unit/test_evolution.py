"""Selection, allocation, budgets, the fold and the display, as values in and values out."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.cli.display import Board, Plain, clock, sparkline
from evogit.evolution import events
from evogit.evolution.allocation import Allocation, Rule
from evogit.evolution.budget import Budget, Meter
from evogit.evolution.population import Population, fold, read_evaluation, write_evaluation
from evogit.evolution.ranking import VALIDATION
from evogit.evolution.selection import POLICIES, Individual, Plan, Scene, Settings, best_of
from evogit.store.journal import Clock, Entry
from evogit.values import Evaluation


def individual(name: str, score: float | None, size: int = 0, niche: str = "") -> Individual:
    return Individual("h", name, name * 8, f"tree-{name}", score, niche or name, size)


LIVING = [individual("a", 1.0), individual("b", 2.0), individual("c", 3.0), individual("d", 3.0, size=-2)]


def scene(me: str = "a", turn: int = 0, **settings: Any) -> Scene:
    found = next(i for i in LIVING if i.agent == me)
    base = individual("base", 0.0)
    return Scene(LIVING, found, turn, lambda: base, lambda a, b: a == b, Settings("maximize", **settings))


def test_the_best_is_the_smallest_among_equals() -> None:
    assert best_of("maximize", LIVING).agent == "d"
    assert best_of("minimize", LIVING).agent == "a"


def test_paper_mutates_its_own_and_crosses_every_third_turn() -> None:
    rng = random.Random(1)
    plans = [POLICIES["paper"].plan(scene(turn=turn), rng) for turn in range(6)]
    assert all(plan.receiver.agent == "a" for plan in plans)
    assert [plan.mate is not None for plan in plans] == [False, False, True, False, False, True]
    assert all(plan.mate.agent != "a" for plan in plans if plan.mate)


def test_paper_accepts_a_crossover_only_if_better_than_both() -> None:
    accept = POLICIES["paper"].accept
    plan = Plan(LIVING[0], LIVING[2])
    assert accept(scene(), plan, individual("x", 2.5)) == "worse"
    assert accept(scene(), plan, individual("x", 3.5)) is None
    assert accept(scene(), Plan(LIVING[0]), individual("x", 2.5)) is None
    assert accept(scene(), Plan(LIVING[0]), individual("x", 1.0)) == "worse"
    assert accept(scene(), Plan(LIVING[0]), individual("x", 1.0, size=-1)) is None


def test_tournament_prefers_the_fit_and_keeps_niches_apart() -> None:
    rng = random.Random(1)
    chosen = Counter(POLICIES["tournament"].plan(scene(), rng).receiver.agent for _ in range(300))
    assert chosen["d"] > chosen["c"] > chosen["a"]
    accept = POLICIES["tournament"].accept
    assert accept(scene(), Plan(LIVING[0]), individual("x", 5.0, niche="c")) == "crowded"
    assert accept(scene(niches=False), Plan(LIVING[0]), individual("x", 5.0, niche="c")) is None
    assert accept(scene(), Plan(LIVING[0]), individual("x", 5.0, niche="a")) is None


def test_baselines() -> None:
    rng = random.Random(1)
    assert POLICIES["greedy"].plan(scene(), rng).receiver.agent == "d"
    assert POLICIES["best-of-n"].plan(scene(), rng).receiver.agent == "base"
    assert POLICIES["tournament"].plan(scene(turn=2, crossover_every=0), rng).mate is None


def test_matching_keeps_to_the_weights_of_an_agent_until_something_is_earned() -> None:
    allocation, rng = Allocation("matching"), random.Random(1)
    drawn = [allocation.choose(["cheap", "dear"], rng, [9, 1]) for _ in range(1000)]
    assert 850 < drawn.count("cheap") < 950
    for name in ("cheap", "dear") * 20:
        allocation.record(name, accepted=name == "dear", best=False, seconds=1.0)
    drawn = [allocation.choose(["cheap", "dear"], rng, [9, 1]) for _ in range(1000)]
    assert 180 < drawn.count("cheap") < 270, "only the floor is shared by weight"


@pytest.mark.parametrize("rule", ["ucb", "matching"])
def test_allocation_prefers_what_works_and_never_forgets_the_rest(rule: Rule) -> None:
    allocation, rng = Allocation(rule), random.Random(1)
    tried: Counter[str] = Counter()
    for _ in range(2000):
        operator = allocation.choose(["good", "bad", "slow"], rng)
        tried[operator] += 1
        works = rng.random() < (0.05 if operator == "bad" else 0.5)
        allocation.record(operator, accepted=works, best=False, seconds=10.0 if operator == "slow" else 1.0)
    assert tried["good"] > 2 * tried["bad"]
    assert tried["good"] > 2 * tried["slow"]
    assert min(tried.values()) > 50


def test_budgets_are_checked_before_anything_starts() -> None:
    now = [0.0]
    meter = Meter(Budget(candidates=2, seconds=10, patience=5, target=3.0), "maximize", lambda: now[0])
    assert meter.exhausted() is None
    meter.begin()
    meter.begin()
    assert meter.exhausted() == "candidates"
    meter.give_back()
    assert meter.exhausted() is None
    now[0] = 10
    assert meter.exhausted() == "seconds"
    now[0] = 0
    meter.best = 3.0
    assert meter.exhausted() == "target"
    meter.best = 1.0
    for _ in range(5):
        meter.finish(new_best=False)
    assert meter.exhausted() == "patience"


def oid(name: str) -> str:
    return name.encode().hex().zfill(40)


def entry(writer: str, sequence: int, at: int, candidate: str, **data: Any) -> Entry:
    document = {
        "status": "ok",
        "tree": oid(f"t{candidate}"),
        "digest": "D",
        "agent": f"agent-{writer}",
        "definition": "tinker",
        "host": writer,
        "operator": "grow",
        "parents": [],
        "decision": "accepted",
        "step": sequence,
    }
    return Entry(f"{writer}{sequence}", writer, sequence, Clock(at), "evaluated", document | data, oid(candidate))


FOUNDED = Entry("f", "a", 0, Clock(1), "founded", {"digest": "D", "direction": "minimize", "task": "t"}, oid("base"))
SCORES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(2, 9), st.sampled_from([1.0, 2.0, 3.0])), max_size=12)


@given(SCORES, st.randoms(use_true_random=False))
def test_the_fold_does_not_depend_on_the_order_of_reading(
    rows: list[tuple[str, int, float]], shuffle: random.Random
) -> None:
    clocks: Counter[str] = Counter()
    entries = [FOUNDED]
    for number, (writer, step, score) in enumerate(rows):
        clocks[writer] += step
        decision = "accepted" if number % 2 else "worse"
        entries.append(entry(writer, number + 1, clocks[writer], f"c{number}", score=score, decision=decision))
    one = fold(entries)
    shuffled = list(entries)
    shuffle.shuffle(shuffled)
    other = fold(shuffled)
    assert one.best() == other.best()
    assert (one.seats, one.candidates, one.rejected) == (other.seats, other.candidates, other.rejected)
    grown = Population()
    for found in sorted(entries, key=lambda e: e.order):
        grown.apply(found)
    assert grown.best() == one.best()


def test_validation_ranks_across_epochs_and_scores_only_within_one() -> None:
    population = fold(
        [
            FOUNDED,
            entry("a", 1, 2, "x", score=1.0),
            entry("a", 2, 3, "y", score=5.0, epoch=1),
            entry("a", 3, 4, "z", score=4.0, epoch=1),
        ]
    )
    best = population.best()
    assert best is not None
    assert (best.commit, best.score, population.epoch) == (oid("z"), 4.0, 1)
    population.apply(entry("a", 4, 5, "y", score=0.5, epoch=VALIDATION, decision=None))
    best = population.best()
    assert best is not None
    assert (best.commit, best.validated, population.epoch) == (oid("y"), True, 1)


EVALUATIONS = st.builds(
    Evaluation,
    st.just("ok"),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    epoch=st.integers(-1, 9),
    stage=st.sampled_from(["", "main"]),
)


@given(EVALUATIONS)
def test_evaluations_are_read_as_written(evaluation: Evaluation) -> None:
    assert read_evaluation(write_evaluation(evaluation, timed=True)) == evaluation


def candidate(number: int, score: float | None, decision: str, *, best: bool = False) -> events.Candidate:
    return events.Candidate(
        number, f"tinker-{number:03d}", "grow", "c" * 40, (), "a summary", decision, score, 0, 0.1, best
    )


STARTED = events.Started(
    "main", "t", "b" * 40, False, 0, {f"tinker-{n:03d}": "tinker" for n in range(300)}, 2, "x", "minimize", 4.0
)


def test_three_hundred_agents_fit_on_a_small_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    from io import StringIO

    from rich.console import Console

    for columns, lines in ((80, 24), (40, 12), (200, 50)):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        board = Board(Budget(candidates=500))
        board.listen(STARTED)
        for number in range(300):
            board.listen(
                candidate(number, 3 - number / 300, "accepted" if number % 3 else "worse", best=number % 50 == 0)
            )
        out = StringIO()
        Console(file=out, width=columns, height=lines).print(board)
        shown = out.getvalue().rstrip("\n").splitlines()
        assert len(shown) <= lines + 2
        assert all(len(line) <= columns for line in shown)
        assert "200 candidates left" in out.getvalue() or columns < 80
        assert "more agents" in out.getvalue()


def test_plain_lines_tell_what_matters() -> None:
    plain = Plain()
    assert "300 agents" in plain.lines(STARTED)[0]
    assert plain.lines(candidate(1, 2.0, "worse")) == []
    assert plain.lines(candidate(2, 1.0, "accepted", best=True)) == ["new best 1 by tinker-002 (grow): a summary"]
    assert "c" * 10 in plain.lines(events.Finished("target", 2, 1, 1.0, "c" * 40, 1.0, {"worse": 1}))[0]


def test_sparkline_and_clock() -> None:
    assert sparkline([4, 3, 2, 1], 10) == "█▆▃▁"
    assert sparkline([], 10) == ""
    assert len(sparkline(list(range(100)), 10)) == 10
    assert (clock(7), clock(3723)) == ("0:07", "1:02:03")
