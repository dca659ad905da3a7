"""Individuals of other hosts as parents: whom `[sync] immigrants` lets in, and how often `immigration` does."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from evogit.evolution.selection import PEOPLE, POLICIES, Individual, Scene, Settings, parents, renewed
from tests.conftest import run_git
from tests.functional.test_engine import evogit, status
from tests.functional.test_sync import clone, origin  # noqa: F401

HERE, FAR, FARTHER = "here", "far", "farther"
LIVING = [
    *(Individual(HERE, f"a{n}", f"h{n}", f"h{n}", float(n)) for n in range(3)),
    *(Individual(FAR, f"a{n}", f"f{n}", f"f{n}", float(10 + n)) for n in range(3)),
    *(Individual(FARTHER, f"a{n}", f"g{n}", f"g{n}", float(20 - n)) for n in range(3)),
    Individual(PEOPLE, "kept", "p", "p", 1.0),
]


def drawn(immigrants: Literal["best", "all", "none"], immigration: float, times: int = 2000) -> Counter[str]:
    """How often each version is a parent of a mutation, in tournaments of one: everybody in reach is as likely."""
    settings = Settings("maximize", 1, 0, island_size=100, immigrants=immigrants, immigration=immigration)
    scene = Scene(LIVING, LIVING[0], 0, lambda: LIVING[0], lambda a, b: a == b, settings)
    rng = random.Random(1)
    return Counter(parents(POLICIES["tournament"], scene, rng).receiver.commit for _ in range(times))


def test_who_may_be_a_parent() -> None:
    native = {"h0", "h1", "h2", "p"}
    assert set(drawn("none", 1.0)) == native
    assert set(drawn("all", 0.0)) == native
    assert set(drawn("best", 1.0)) == {"h0", "f2", "g0"}, "each other host's best, and who asks"
    assert set(drawn("all", 1.0)) == {"h0"} | {i.commit for i in LIVING if i.host in (FAR, FARTHER)}
    assert set(drawn("best", 0.5)) == native | {"f2", "g0"}


@pytest.mark.parametrize("immigration", [0.1, 0.5])
def test_how_often_parents_are_looked_for_among_immigrants(immigration: float) -> None:
    foreign = sum(count for commit, count in drawn("best", immigration).items() if commit in ("f2", "g0"))
    assert abs(foreign / 2000 - immigration * 2 / 3) < 0.03  # of three in reach then, one is who asks


def test_an_epoch_scores_anew_who_may_be_a_parent() -> None:
    def names(immigrants: Literal["best", "all", "none"]) -> list[str]:
        mixed = LIVING[5:] + LIVING[:5]
        return [i.commit for i in renewed(mixed, HERE, Settings("maximize", immigrants=immigrants))]

    native = ["p", "h0", "h1", "h2"]
    assert names("none") == native
    assert names("best") == [*native, "f2", "g0"]
    assert sorted(names("all")[4:]) == ["f0", "f1", "f2", "g0", "g1", "g2"]


@pytest.mark.parametrize(("immigrants", "expected"), [("all", True), ("none", False)])
def test_a_run_takes_parents_from_elsewhere(
    tmp_path: Path,
    origin: Path,  # noqa: F811
    immigrants: str,
    expected: bool,
) -> None:
    one, other = clone(str(origin), tmp_path / "one"), clone(str(origin), tmp_path / "other")
    for at in (one, other):
        evogit(at, "run", "--candidates", "25", "--quiet")
        evogit(at, "sync")
    config = other / ".evogit/config.toml"
    config.write_text(config.read_text() + f'[sync]\nimmigrants = "{immigrants}"\nimmigration = 1.0\n')
    evogit(other, "run", "--candidates", "40", "--quiet")
    mine = {agent["host"] for agent in status(one)["agents"]}.pop()
    entries = [
        json.loads(line)
        for line in run_git("log", "--format=%B", "--glob=refs/evogit/main/journal/", cwd=other).splitlines()
        if line.startswith("{")
    ]
    made = [entry for entry in entries if entry["kind"] == "evaluated" and "decision" in entry]
    elsewhere = _commits(one, mine)
    born = [entry for entry in made if entry["host"] != mine]
    assert len(born) == 65
    assert any(elsewhere & set(entry["parents"]) for entry in born) is expected


def _commits(at: Path, host: str) -> set[str]:
    """Candidates that a host journaled: each is the second parent of its entry."""
    rows = run_git("log", "--format=%P", "--first-parent", f"refs/evogit/main/journal/{host}-0", cwd=at).splitlines()
    return {row.split()[1] for row in rows if len(row.split()) == 2} - {run_git("rev-parse", "main", cwd=at)}
