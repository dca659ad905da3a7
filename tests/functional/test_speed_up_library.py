"""`speed-up-library`: a library from the package index, held against itself by its tests, its output and its time."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from pathlib import Path

import pytest

from evogit import catalog
from evogit.evaluation import sandbox
from evogit.evaluation.trying import Attempt, Finding, trials_of
from evogit.fetching import FetchError, Files, fetched
from evogit.task import Task
from tests.functional.test_cli import evogit

TASK = catalog.load_task("speed-up-library", None)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The archive, by pip as it is configured here. CI has an index."""
    try:
        return fetched(TASK, tmp_path_factory.mktemp("cache"))
    except FetchError as error:
        if "EVOGIT_CI" in os.environ:
            raise
        pytest.skip(f"no package index here: {error}")


def test_the_original_is_there_twice_and_only_one_may_change(source: Files) -> None:
    may_change = catalog.editable(TASK)
    originals = {path.removeprefix("original/"): file for path, file in source.items() if path.startswith("original/")}
    assert len(originals) > 30
    assert all(source[path] == file for path, file in originals.items())
    changing = [path for path in source if may_change(path)]
    assert "mistune/inline_parser.py" in changing
    assert all(path.startswith("mistune/") and path.endswith(".py") for path in changing)
    kept = {"mistune/plugins/__init__.py", "mistune/directives/include.py", "tests/test_misc.py"}
    assert not (kept | {"original/mistune/core.py"}) & set(changing)


def tried(task: Task, source: Files, scratch: Path) -> dict[str, Finding]:
    trials = [trial for trial in trials_of(task, source, short=True) if trial.name.startswith("trials/")]
    attempt = Attempt(task, source, scratch, short=True)
    return {found.name: found for found in asyncio.run(attempt.run([sandbox.choose()], trials))}


def test_no_cheat_wins_where_nothing_but_measurement_stops_it(source: Files, tmp_path: Path) -> None:
    """Without the list of what the library may say: what is compared and measured is enough for each of these."""
    files = {**TASK.files, "allowed.py": b"def check(folder):\n    pass\n"}
    evaluation = TASK.evaluation.model_copy(update={"validation": None})
    task = dataclasses.replace(TASK, files=files, parameters={"rounds": 2}, evaluation=evaluation)
    found = tried(task, source, tmp_path)
    cheats = {name: each for name, each in found.items() if name.startswith(("trials/hostile", "trials/bad"))}
    assert len(cheats) >= 5
    assert all(each.state == "ok" for each in cheats.values()), cheats
    assert found["trials/reference"].state == "ok", found["trials/reference"]


@pytest.mark.usefixtures("source")
def test_it_runs_from_end_to_end(tmp_path: Path) -> None:
    made = evogit("new", "m", "--task", "speed-up-library", "--set", "rounds=1", at=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "fetching the source of mistune 3.0.2" in made.stdout
    at = tmp_path / "m"
    ran = evogit("run", "--candidates", "2", "--seed", "2", "--agents", "tinker:2", "-q", at=at)
    assert ran.returncode == 0, ran.stderr
    assert evogit("fsck", at=at).returncode == 0
    rows = [json.loads(line) for line in evogit("log", "--json", at=at).stdout.splitlines()]
    assert len(rows) >= 2
    best = json.loads(evogit("best", "--json", at=at).stdout)
    assert 0.3 < best["score"] < 3
