"""A sealed holdout as a definition: read, kept apart, stored and found again; no part of what a score belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.catalog import editable, load_task_folder, seal_digest, task_files, task_from_files, unsealed
from evogit.errors import DefinitionError
from evogit.globs import sealed

TASK = 'direction = "maximize"\nevolve = ["**"]\n[evaluation]\nfunction = "judge.py:evaluate"\n'
HOLDOUT = '[evaluation.holdout]\nfunction = "holdout/judge.py:evaluate"\n'


def folder(place: Path, toml: str, **files: str) -> Path:
    task = place / "squares"
    (task / "holdout").mkdir(parents=True)
    (task / "task.toml").write_text(toml)
    (task / "goal.md").write_text("g\n")
    (task / "judge.py").write_text("")
    (task / "holdout/judge.py").write_text(files.get("holdout", "x = 1\n"))
    return task


def test_its_files_are_kept_apart_and_come_back(tmp_path: Path) -> None:
    task = load_task_folder(folder(tmp_path, TASK + HOLDOUT))
    assert (set(task.files), set(task.sealed)) == ({"judge.py"}, {"holdout/judge.py"})
    assert not editable(task)("holdout/judge.py")
    assert not editable(task)("Holdout/Judge.py")
    again = task_from_files(task.name, task_files(task))
    assert (again.files, again.sealed, again.evaluation) == (task.files, task.sealed, task.evaluation)
    opened = unsealed(task)
    assert set(opened.files) == {"judge.py", "holdout/judge.py"}
    assert [stage.name for stage in opened.evaluation.stages] == ["holdout"]
    assert opened.digest != task.digest


def test_it_is_no_part_of_what_a_score_belongs_to(tmp_path: Path) -> None:
    one = load_task_folder(folder(tmp_path / "one", TASK + HOLDOUT))
    other = load_task_folder(folder(tmp_path / "other", TASK + HOLDOUT, holdout="x = 2\n"))
    assert one.digest == other.digest
    assert seal_digest(one) != seal_digest(other)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (TASK, "holdout/ is kept for"),
        (TASK.replace('"judge.py', '"holdout/judge.py') + HOLDOUT, "holdout/judge.py is not in the task's folder"),
        (TASK + HOLDOUT.replace("/judge", "/other"), "holdout/other.py is not in the task's folder"),
        (TASK + '[evaluation.validation]\nfunction = "holdout/judge.py:evaluate"\n' + HOLDOUT, "is not in the task's"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        load_task_folder(folder(tmp_path, toml))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".evogit/tasks/a/holdout/x", True),
        (".evogit/tasks/a/holdout", True),
        (".evogit/tasks/a/Holdout/deep/x", True),
        (".evogit/tasks/a/holdouts/x", False),
        (".evogit/tasks/a/b/holdout/x", False),
        ("holdout/x", False),
        ("src/.evogit/tasks/a/holdout/x", False),
    ],
)
def test_what_is_sealed_in_a_repository(path: str, expected: bool) -> None:
    assert sealed(path) is expected
