"""The tasks that verify what a candidate prints or lists: exactly, and without running it in the judge's process."""

from __future__ import annotations

import importlib
import itertools
import math
import random
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest

TASKS = Path(__file__).parents[2] / "tasks"

Judge = Callable[[str], ModuleType]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    def load(task: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(TASKS / task))
        monkeypatch.delitem(sys.modules, "evaluate", raising=False)
        return importlib.import_module("evaluate")

    return load


# circle-packing


def test_touching_is_allowed_and_a_hair_more_is_not(judge: Judge) -> None:
    module = judge("circle-packing")
    touching = module.read("0.25 0.5 0.25\n0.75 0.5 0.25\n", 2)
    module.verify(touching)
    for change in (
        f"0.25 0.5 0.25\n0.75 0.5 {math.nextafter(0.25, 1)!r}\n",
        f"0.25 0.5 0.25\n{math.nextafter(0.75, 0)!r} 0.5 0.25\n",
        f"{math.nextafter(0.25, 0)!r} 0.5 0.25\n0.75 0.5 0.25\n",
        f"0.25 {math.nextafter(0.25, 0)!r} 0.25\n0.75 0.5 0.25\n",
    ):
        with pytest.raises(ValueError, match=r"overlap|leaves the square"):
            module.verify(module.read(change, 2))


@pytest.mark.parametrize("text", ["0 0\n", "a b c\n", "nan 0.5 0.1\n", "0.5 0.5 inf\n", "0.5 0.5 0.1 9\n", ""])
def test_what_is_no_circle_is_refused(judge: Judge, text: str) -> None:
    with pytest.raises(ValueError, match=r"line|circles asked for"):
        judge("circle-packing").read(text, 1)


def test_a_radius_must_be_positive_and_a_score_never_claims_more(judge: Judge) -> None:
    module = judge("circle-packing")
    with pytest.raises(ValueError, match="positive"):
        module.verify(module.read("0.5 0.5 -0.1\n", 1))
    third = Fraction(1, 3)
    assert Fraction(module.below(third)) <= third
    assert Fraction(module.below(Fraction(2, 3))) <= Fraction(2, 3)


@pytest.mark.parametrize("circles", [26, 32])
def test_the_grid_and_the_reference_are_valid_for_both_numbers(judge: Judge, circles: int) -> None:
    module = judge("circle-packing")
    scores = {
        name: module.evaluate(TASKS / "circle-packing" / name, parameters={"circles": circles, "seconds": 60})["score"]
        for name in ("seed", "trials/reference")
    }
    assert scores["seed"] == pytest.approx(circles / 12, abs=1e-4)
    assert scores["trials/reference"] > {26: 2.62, 32: 2.92}[circles]


# sorting-network


def sorts(network: list[tuple[int, int]], values: list[int]) -> bool:
    for low, high in network:
        values[low], values[high] = min(values[low], values[high]), max(values[low], values[high])
    return values == sorted(values)


def test_what_the_judge_counts_is_a_network_that_sorts(judge: Judge) -> None:
    module = judge("sorting-network")
    rng = random.Random(1)
    bubble = [(at, at + 1) for last in range(4, 0, -1) for at in range(last)]
    for _ in range(20):
        own = [tuple(sorted(rng.sample(range(5), 2))) for _ in range(rng.randrange(12))]
        network, used = module.prune(own + bubble, 5, len(own))
        assert used <= len(own)
        assert all(sorts(network, list(values)) for values in itertools.permutations(range(5)))
    with pytest.raises(ValueError, match="does not sort"):
        module.prune(bubble[:-1], 5, 0)


def test_the_published_network_has_29_and_no_comparator_too_many(judge: Judge) -> None:
    module = judge("sorting-network")
    network = module.read(TASKS / "sorting-network/trials/reference/network.txt", 10)
    assert len(network) == 29
    assert module.evaluate(TASKS / "sorting-network/trials/reference")["score"] == 29
    for left_out in range(29):
        with pytest.raises(ValueError, match="does not sort"):
            module.prune(network[:left_out] + network[left_out + 1 :], 10, 29)


# tsp-heuristic


def test_a_tour_is_every_city_once_and_as_long_as_it_is(judge: Judge) -> None:
    module = judge("tsp-heuristic")
    import numpy as np

    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert module.length(square, module.read(b"0\n1\n2\n3\n", 4)) == 4.0
    assert module.length(square, module.read(b"2 0 1 3", 4)) == pytest.approx(2 + 2 * math.sqrt(2))
    for printed in (b"0 1 2", b"0 1 2 2", b"0 1 2 4", b"0 1 2 -3", b"0 1 2 3 0", b"0 1 2 x", b"", b"0 1 2 99999999"):
        with pytest.raises(ValueError, match=r"not the numbers|exactly once"):
            module.read(printed, 4)
    # What subgradient ascent on 1-trees found as the mean of ten instances of 200 cities.
    assert module.bound(200) == pytest.approx(10.58, abs=0.05)
