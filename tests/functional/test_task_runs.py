"""Every built-in task runs from end to end with offline agents, from the command line, and gets better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evogit import catalog
from evogit.values import better
from tests.functional.test_cli import evogit

RUNS = {
    "accelerator-selector": ("tinker:4", 60, 1),
    "circle-packing": ("tinker:6", 60, 1),
    "expert-router": ("tinker:4", 60, 1),
    "in-context-gd": ("tinker:4", 80, 1),
    "sorting-network": ("shuffler:4", 400, 1),
    "tsp-heuristic": ("shuffler:8", 80, 3),
}
"""Task → agents, candidates and seed that get better for sure: the runs are deterministic."""

ELSEWHERE = {"bin-packing-designer", "online-bin-packing", "speed-up-library", "web-app"}
"""Tasks with a run of their own in another test."""


def test_no_task_is_forgotten() -> None:
    assert RUNS.keys() | ELSEWHERE == {task.name for task in catalog.list_tasks(None)}


@pytest.mark.parametrize("name", RUNS)
def test_a_short_run_of_offline_agents_beats_the_seed(name: str, tmp_path: Path) -> None:
    agents, candidates, seed = RUNS[name]
    at = tmp_path / "evolved"
    made = evogit("new", str(at), "--task", name, at=tmp_path)
    assert made.returncode == 0, made.stderr
    budget = ["--candidates", str(candidates), "--deterministic", "--seed", str(seed), "--agents", agents, "-q"]
    ran = evogit("run", *budget, at=at)
    assert ran.returncode == 0, ran.stderr
    assert evogit("fsck", at=at).returncode == 0
    found = json.loads(evogit("report", "--since", "2000-01-01", "--json", at=at).stdout)
    direction = catalog.load_task(name, None).direction
    assert any(better(direction, row["score"], found["before"]) for row in found["improvements"])
