"""`run --on-plateau`, `--tries`: runs that stand still end, or begin again from where they began, and say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evogit.evolution.lineage import read_run
from evogit.evolution.session import read_journals
from evogit.evolution.standstill import Count
from evogit.store.repository import find
from evogit.values import Evaluation
from tests.conftest import run_git
from tests.functional.test_engine import evogit, project, status

# No child is ever better: whatever is not the start scores less, so every version is a dead end.
FLAT = "def evaluate(folder, epoch=0, stage='main'):\n    return {'score': 0.0, 'metrics': {'same': 1.0}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "p"
    root.mkdir()
    return project(root)


def ran(at: Path, words: str) -> list[dict[str, Any]]:
    """The events of a run whose results are the same each time."""
    return [json.loads(line) for line in evogit(at, "run", "--deterministic", "--json", *words.split()).splitlines()]


def test_a_plateau_stops_a_run_unless_told_otherwise(place: Path) -> None:
    *_, end = ran(place, "--candidates 400 --patience 30 --seed 1")
    assert end["reason"] == "patience"
    assert end["candidates"] < 400


def test_on_a_plateau_everybody_begins_again(place: Path) -> None:
    seen = ran(place, "--candidates 260 --patience 25 --on-plateau restart --seed 1")
    assert seen[-1]["reason"] == "candidates"
    restarts = [event for event in seen if event["event"] == "restarted"]
    assert [event["start"] for event in restarts] == list(range(1, len(restarts) + 1))
    assert restarts
    assert {event["reason"] for event in restarts} == {"plateau"}
    bests = [event["score"] for event in seen if event["event"] == "candidate" and event["decision"] == "accepted"]
    assert status(place)["best"]["score"] == max(bests), "what was found stays in the record"
    assert "clean" in evogit(place, "fsck")
    assert f"restarts so far: {len(restarts)}" in evogit(place, "stats")
    objects = find(place).objects()
    entries = read_journals(objects, "main", {})
    history = read_run(objects, "main").history
    last = max(at for at, entry in enumerate(entries) if entry.kind == "restarted")
    made = [
        {entry.candidate for entry in some if entry.kind == "evaluated"} for some in (entries[:last], entries[last:])
    ]
    # Within one second the same agent may make the very same commit again.
    before = made[0] - made[1] - {history.oid(history.base or 0)}
    after = [e for e in entries[last:] if e.kind == "evaluated" and e.data.get("decision") == "accepted"]
    for entry in after:
        line = {history.oid(i) for i in history.first_parent_path(history.index(entry.candidate or ""))}
        assert not line & before, "a child of what was left behind was accepted"


def test_the_start_s_own_seats_are_found_again_by_who_resumes(place: Path) -> None:
    """A journal that ends with a restart: branches that a kill left behind are moved to where it says."""
    ran(place, "--candidates 60 --patience 20 --on-plateau restart --seed 4")
    objects = find(place).objects()
    population = read_run(objects, "main").population
    base = population.base or ""
    (name, seat), *_ = population.seats.items()
    branch = f"refs/heads/evogit/main/{name[0]}/{name[1]}"
    old = next(oid for oid in population.makers if oid != seat.commit)
    run_git("update-ref", branch, old, cwd=place)
    assert "its journal says" in evogit(place, "fsck")
    evogit(place, "run", "--candidates", "1", "--seed", "5", "-q")
    assert "clean" in evogit(place, "fsck")
    assert base in population.makers


def test_exhausted_lineages_are_left_and_where_all_are_the_run_ends(tmp_path: Path) -> None:
    at = project(tmp_path, agents="shuffler:2", evaluate=FLAT)
    *_, end = ran(at, "--candidates 500 --tries 12 --seed 1 --policy paper")
    assert end["reason"] == "exhausted"
    assert end["candidates"] < 500
    found = json.loads(evogit(at, "stats", "--tries", "12", "--json"))["standstill"]
    assert {row["commit"] for row in found["exhausted"]} <= set(run_git("rev-list", "--all", cwd=at).split())


def test_an_exhausted_lineage_begins_again(place: Path) -> None:
    seen = ran(place, "--candidates 220 --tries 6 --on-plateau restart --policy paper --seed 2")
    restarts = [event for event in seen if event["event"] == "restarted"]
    assert restarts
    assert {event["reason"] for event in restarts} == {"exhausted"}
    assert {event["start"] for event in restarts} == {0}
    assert "clean" in evogit(place, "fsck")


def test_restarts_repeat_to_the_bit(tmp_path: Path) -> None:
    refs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        at = project(tmp_path / name)
        words = ("--deterministic", "--seed", "5", "--candidates", "80", "--patience", "15", "--on-plateau", "restart")
        evogit(at, "run", *words, "--tries", "10", "-q")
        refs.append(run_git("for-each-ref", "--format=%(refname) %(objectname)", cwd=at))
        assert any(entry.kind == "restarted" for entry in read_journals(find(at).objects(), "main", {}))
    assert refs[0] == refs[1]


def test_processes_alongside_follow_each_other(place: Path) -> None:
    """Who takes part learns from the journal how often the population has begun again, and goes on from there."""
    ran(place, "--candidates 120 --patience 15 --on-plateau restart --seed 1")
    before = read_run(find(place).objects(), "main").population.start
    assert before > 0
    seen = ran(place, "--candidates 120 --patience 15 --on-plateau restart --seed 3 --alongside")
    starts = [event["start"] for event in seen if event["event"] == "restarted"]
    assert starts[0] == before + 1


def test_after_an_exclusive_promotion_everybody_begins_again_from_there(place: Path) -> None:
    ran(place, "--candidates 60 --seed 1")
    chosen = json.loads(evogit(place, "best", "--json"))["commit"]
    evogit(place, "promote", chosen, "--exclusive")
    seen = ran(place, "--candidates 120 --patience 15 --on-plateau restart --seed 2")
    assert [event for event in seen if event["event"] == "restarted"]
    for agent in status(place)["agents"]:
        run_git("merge-base", "--is-ancestor", chosen, agent["commit"], cwd=place)
    assert "clean" in evogit(place, "fsck")


def test_what_to_wait_for_must_be_said(place: Path) -> None:
    assert "--patience N" in evogit(place, "run", "--on-plateau", "restart", code=2)
    assert "stop" in evogit(place, "run", "--on-plateau", "sulk", code=1)


def ok(score: float, epoch: int = 0) -> Evaluation:
    return Evaluation("ok", score, epoch=epoch)


def test_what_counts_as_standing_still() -> None:
    count = Count("minimize")
    count.take("a", ok(3.0), accepted=True)
    count.take("a", ok(3.0), accepted=False)
    count.take("b", ok(4.0), accepted=False)
    count.take("b", Evaluation("failed"), accepted=False)
    assert (count.best, count.barren, count.vain) == (3.0, 3, {"b": 2})
    count.take("b", ok(2.0), accepted=True)
    assert (count.best, count.barren, count.vain) == (2.0, 0, {})
    count.take("b", ok(2.5), accepted=False)
    assert count.vain == {}, "a version that had a success is not exhausted by what follows"
    count.take("c", ok(9.0, epoch=1), accepted=False)
    assert (count.best, count.barren) == (9.0, 0), "a new epoch's scores do not compare with the last one's"
    count.begin_again()
    assert (count.best, count.barren, count.vain) == (None, 0, {"c": 1})
