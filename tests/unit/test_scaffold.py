"""What `evogit init` writes: complete, commented, and read back as it was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit import catalog, scaffold
from evogit.errors import EvoGitError, UsageError

GOOD: dict[str, Any] = {
    "name": "faster",
    "goal": "# Make it faster\n\nBut keep it right.",
    "command": ["python", "bench.py"],
    "evolve": ["src/**/*.py"],
    "protect": ["bench.py"],
    "direction": "minimize",
    "deadline": 90.0,
}


def test_what_is_written_is_read_back_without_change(repo: Path) -> None:
    task = scaffold.write_task(repo / ".evogit/tasks/faster", **GOOD)
    assert task == catalog.load_task("faster", repo)
    assert (task.goal, task.description) == ("# Make it faster\n\nBut keep it right.\n", "Make it faster")
    assert (task.direction, task.evolve, task.protect) == ("minimize", ("src/**/*.py",), ("bench.py",))
    (stage,) = task.evaluation.stages
    assert (stage.command, stage.deadline, stage.repeats) == (("python", "bench.py"), 90.0, 1)
    stored = catalog.task_files(task)
    assert stored["task.toml"][0].startswith(b"# What EvoGit evolves here")
    assert catalog.task_from_files("faster", stored).digest == task.digest
    can_change = catalog.editable(task)
    assert [path for path in ("src/program.py", "bench.py", "README.md") if can_change(path)] == ["src/program.py"]


@given(goal=st.text(min_size=1), word=st.text(min_size=1), target=st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_survives_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, goal: str, word: str, target: float
) -> None:
    folder = tmp_path_factory.mktemp("any") / "faster"
    try:
        task = scaffold.write_task(folder, **(GOOD | {"goal": goal, "command": ["sh", word], "target": target}))
    except EvoGitError:
        assert not folder.exists()
        assert not goal.strip() or "\0" in word
    else:
        assert (task.goal.rstrip("\n"), task.target) == (goal.rstrip("\n"), target)
        assert task.evaluation.stages[0].command == ("sh", word)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "two words"}, "letters, digits"),
        ({"goal": " \n"}, "the goal is empty"),
        ({"command": []}, "needs a command"),
        ({"evolve": []}, "of what may change"),
        ({"evolve": ["../x"]}, "evolve: expected a path inside the tree"),
        ({"protect": ["/x"]}, "protect: expected a path relative"),
        ({"deadline": 0.0}, "deadline: expected greater than 0"),
        ({"memory": "lots"}, "memory: expected a size"),
    ],
)
def test_a_wrong_argument_leaves_nothing_behind(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(EvoGitError, match=message):
        scaffold.write_task(tmp_path / "faster", **(GOOD | change))
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    scaffold.write_task(tmp_path / "faster", **GOOD)
    with pytest.raises(UsageError, match="already holds a task"):
        scaffold.write_task(tmp_path / "faster", **(GOOD | {"goal": "Other"}))


def test_the_files_a_command_names_are_found(repo: Path) -> None:
    command = scaffold.split_command("python ./bench.py --data 'src/program.py' /etc/passwd ../x src none.py")
    assert scaffold.files_named_in(command, repo) == ["bench.py", "src/program.py"]


@pytest.mark.parametrize("text", ["", "  ", "python 'bench"])
def test_a_command_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="command"):
        scaffold.split_command(text)
