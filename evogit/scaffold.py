"""Write a new task definition for the user to read, keep and edit: what `evogit init` leaves behind."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evogit import globs, toml
from evogit.catalog import Task, load_task_folder, task_files, task_from_files
from evogit.definitions import did_you_mean, is_name
from evogit.errors import DefinitionError, UsageError
from evogit.values import Direction

_TASK = """\
# What EvoGit evolves here, and how it scores a candidate. Written by `evogit init`; yours to edit.
# `evogit tasks {name}` shows how it is understood. The goal, in words, is in goal.md beside this file.

description = {description}

# Whether a higher or a lower score is better: "maximize" or "minimize".
direction = {direction}

# What agents may change: paths and globs from the top of the repository ("**" is any number of folders).
evolve = {evolve}

# What they may never change, even inside `evolve`. List here whatever decides the score: the benchmark, the
# tests, their data, so that nothing can win by changing the question.
protect = {protect}

# The run stops when a score as good as this is reached.
{target}

[evaluation]
# Run in a folder with the candidate's files. It writes its result as JSON into the file that the environment
# variable EVOGIT_RESULT names: {{"score": 1.5}}, and if it likes "metrics": {{"name": number}} and "feedback": "text".
# Any exit status but 0 means that the candidate failed.
command = {command}

# The whole process tree is killed after this time ("90s", "5m", or a number of seconds).
deadline = {deadline}

# For noisy scores: how often to measure (the median counts), and to measure an apparent win again before it counts.
repeats = {repeats}
noisy = {noisy}

# Cheap checks first? Replace the lines above by stages; a candidate that misses a threshold goes no further:
# [[evaluation.stages]]
# name = "tests"
# command = ["python", "run_tests.py"]
# threshold = 1.0
# [[evaluation.stages]]
# name = "speed"
# command = ["python", "bench.py"]

[limits]
memory = {memory}
processes = 32

# Words the offline agents may grow expressions from:
# [vocabulary]
# names = ["math.pi"]
# calls = ["max(_, _)"]
# numbers = [0.5, 2.0]
"""


def write_task(
    folder: Path,
    *,
    name: str,
    goal: str,
    command: Sequence[str],
    evolve: Sequence[str],
    protect: Sequence[str] = (),
    direction: Direction = "maximize",
    description: str = "",
    deadline: float = 60.0,
    repeats: int = 1,
    noisy: bool = False,
    target: float | None = None,
    memory: str = "1G",
) -> Task:
    """Write ``task.toml`` and ``goal.md`` into `folder`, which must be called `name`, and read them back.

    `folder` is usually ``.evogit/tasks/NAME`` of the repository. Raises `UsageError` when there is a task already,
    `UsageError` or `DefinitionError` when an argument cannot work; then nothing has been written.
    """
    _check(folder, name, goal, command, evolve, protect)
    first_line = goal.strip().splitlines()[0].lstrip("# ").strip()
    text = _TASK.format(
        name=name,
        description=toml.literal(description or first_line),
        direction=toml.literal(direction),
        evolve=toml.literal(list(evolve)),
        protect=toml.literal(list(protect)),
        target="# target = 100.0" if target is None else f"target = {toml.literal(target)}",
        command=toml.literal(list(command)),
        deadline=toml.literal(deadline),
        repeats=toml.literal(repeats),
        noisy=toml.literal(noisy),
        memory=toml.literal(memory),
    )
    files = {"goal.md": goal.rstrip("\n") + "\n", "task.toml": text}
    # Read before it is written, so that a wrong deadline or size leaves no half a task behind.
    task_from_files(name, {path: (content.encode(), False) for path, content in files.items()})
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (folder / path).write_bytes(content.encode())
    return load_task_folder(folder)


def with_parameters(task: Task, settings: Sequence[str]) -> dict[str, tuple[bytes, bool]]:
    """The files of `task` under ``.evogit/tasks``, with ``KEY=VALUE`` of its parameters set; a value is TOML, or text.

    Its target and what was measured belong to the parameters as they were, and are left out. Raises `UsageError`.
    """
    values: dict[str, object] = {}
    for setting in settings:
        key, found, text = setting.partition("=")
        if not found:
            raise UsageError(f"--set {setting}: expected KEY=VALUE")
        if key not in task.parameters:
            known = ", ".join(sorted(task.parameters)) or "none"
            near = did_you_mean(key, task.parameters)
            raise UsageError(f"--set {key}: task {task.name!r} has no such parameter{near}; its parameters: {known}")
        values[key] = _value(text)
        before = task.parameters[key]
        alike = isinstance(before, int | float) and isinstance(values[key], int | float)
        if type(values[key]) is not type(before) and not alike:
            raise UsageError(f"--set {setting}: expected something like {toml.literal(before)}")
    changed = replace(task, parameters={**task.parameters, **values}, target=None, measured=None, definition="")
    place = f".evogit/tasks/{task.name}/"
    seed = {f"{place}seed/{path}": file for path, file in task.seed.items()}
    return {place + path: file for path, file in task_files(changed).items()} | seed


def _value(text: str) -> object:
    try:
        return toml.parse(f"value = {text}", "--set")["value"]
    except DefinitionError:
        return text


def files_named_in(command: Sequence[str], root: Path) -> list[str]:
    """The files of the repository that `command` names, as `protect` should list them: they decide the score."""
    found = {word.removeprefix("./") for word in command if not globs.check(word.removeprefix("./"))}
    return sorted(word for word in found if (root / word).is_file())


def split_command(text: str) -> list[str]:
    """A command typed as one line, in its words. Raises `UsageError`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the command {text!r} cannot be split into words: {error}") from error
    if not words:
        raise UsageError('the command is empty; give one that scores a candidate, as "python bench.py"')
    return words


def _check(
    folder: Path, name: str, goal: str, command: Sequence[str], evolve: Sequence[str], protect: Sequence[str]
) -> None:
    if not is_name(name) or folder.name != name:
        raise UsageError(f"a task's name has letters, digits, '-' and '_' only and names its folder, not {name!r}")
    if (folder / "task.toml").exists():
        raise UsageError(f"{folder} already holds a task; edit it, or choose another name")
    if not goal.strip():
        raise UsageError("the goal is empty; say in a sentence what should become better")
    if not command or not evolve:
        raise UsageError("a task needs a command that scores a candidate, and a path or glob of what may change")
    for option, patterns in (("evolve", evolve), ("protect", protect)):
        for pattern in patterns:
            if wrong := globs.check(pattern):
                raise UsageError(f"{option}: {wrong}")
