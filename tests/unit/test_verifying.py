"""When a claim holds: intervals against published quantiles, claims with and without noise, gains on a holdout."""

from __future__ import annotations

import random
import statistics

import pytest

from evogit.review.intervals import difference, mean, predicted, quantile
from evogit.review.verifying import Series, judge_claim, judge_holdout
from evogit.values import Direction, Evaluation


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (4, 2.7764), (4.9, 2.7764), (30, 2.0423), (40, 2.0211), (60, 2.0003), (120, 1.9799)],
)
def test_quantiles_are_those_of_the_tables(freedom: float, expected: float) -> None:
    assert quantile(freedom) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_intervals_cover_what_they_say(count: int) -> None:
    """Of 4,000 experiments about 95 % hold the true mean, the next value, the true difference."""
    rng = random.Random(count)
    held = [0, 0, 0]
    for _ in range(4000):
        values, other = ([rng.gauss(at, width) for _ in range(count)] for at, width in ((3, 2), (1, 0.5)))
        held[0] += mean(values).low <= 3 <= mean(values).high
        held[1] += predicted(values).low <= rng.gauss(3, 2) <= predicted(values).high
        held[2] += difference(values, other).low <= 2 <= difference(values, other).high
    assert all(0.94 <= part / 4000 <= 0.995 for part in held), held
    assert held[0] <= 4000 * 0.96


def series(*scores: float, failed: str = "") -> Series:
    return Series(list(scores), [failed] if failed else [])


@pytest.mark.parametrize(
    ("direction", "claimed", "measured", "holds"),
    [
        ("maximize", 1.0, (1.0, 1.0, 1.0), True),
        ("maximize", 1.0, (1.0,), True),
        ("maximize", 1.0001, (1.0, 1.0), False),
        ("minimize", 0.9999, (1.0, 1.0), False),
        ("minimize", 1.1, (1.0, 1.0), True),  # better than claimed
        ("maximize", 10.4, (10.0, 10.5, 9.6, 10.1), True),
        ("maximize", 13.0, (10.0, 10.5, 9.6, 10.1), False),
        ("minimize", 7.0, (10.0, 10.5, 9.6, 10.1), False),
        ("minimize", 13.0, (10.0, 10.5, 9.6, 10.1), True),
    ],
)
def test_claims(direction: Direction, claimed: float, measured: tuple[float, ...], holds: bool) -> None:
    assert judge_claim(direction, Evaluation("ok", claimed), series(*measured)).holds is holds


def test_a_claim_that_is_a_mean_of_many_must_be_nearer() -> None:
    measured = series(10.0, 10.5, 9.6, 10.1)
    assert judge_claim("maximize", Evaluation("ok", 11.2), measured, 1).holds
    assert not judge_claim("maximize", Evaluation("ok", 11.2), measured, 8).holds


def test_one_failure_is_enough() -> None:
    found = judge_claim("maximize", Evaluation("ok", 1.0), series(1.0, 1.0, failed="timeout: ran into the deadline"))
    assert not found.holds
    assert "1 of 3 evaluations failed (timeout" in found.why


@pytest.mark.parametrize(
    ("direction", "score", "start", "held", "held_start", "holds"),
    [
        ("maximize", (4, 4), (1, 1), (3, 3), (1, 1), True),
        ("maximize", (4, 4), (1, 1), (1, 1), (1, 1), False),  # knew the training inputs
        ("maximize", (4, 4), (1, 1), (0, 0), (1, 1), False),
        ("minimize", (1, 1), (4, 4), (2, 2), (4, 4), True),
        ("minimize", (1, 1), (4, 4), (4, 4), (4, 4), False),
        ("maximize", (1, 1), (1, 1), (1, 1), (2, 2), True),  # claims no gain
        ("maximize", (9.0, 9.2, 8.9), (5.0, 5.1, 4.9), (8.0, 8.3, 7.9), (5.0, 5.2, 4.7), True),
        ("maximize", (9.0, 9.2, 8.9), (5.0, 5.1, 4.9), (5.2, 5.6, 4.8), (5.0, 5.2, 4.7), False),
    ],
)
def test_holdouts(
    direction: Direction,
    score: tuple[float, ...],
    start: tuple[float, ...],
    held: tuple[float, ...],
    held_start: tuple[float, ...],
    holds: bool,
) -> None:
    found = judge_holdout(direction, (series(*score), series(*start)), (series(*held), series(*held_start)))
    assert found.holds is holds, found
    assert found.gap is not None
    sign = 1 if direction == "maximize" else -1
    assert found.gap.centre == pytest.approx(sign * (statistics.fmean(score) - statistics.fmean(held)))


def test_a_version_that_fails_on_the_holdout_does_not_hold() -> None:
    scores = series(4, 4), series(1, 1)
    found = judge_holdout("maximize", scores, (series(4, failed="crashed: killed by SIGSEGV"), series(1, 1)))
    assert not found.holds
    assert found.gap is None
    # The start may fail: then there is nothing to compare with, and that is said.
    found = judge_holdout("maximize", scores, (series(4, 4), series(failed="failed: no such function")))
    assert found.holds
    assert "nothing to compare" in found.why
