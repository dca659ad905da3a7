"""Task and agent definitions: data in folders, found by name, read once and validated at the door.

A definition is looked for under ``.evogit/tasks/NAME`` and ``.evogit/agents/NAME.md`` of the user's repository
first, then among the built-in ones. Everything about definitions can be imported from here.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args

import yaml
from pydantic import Field, model_validator

from evogit.definitions import Source, Strings, Table, did_you_mean, is_name, read_text, validate
from evogit.errors import DefinitionError, UsageError
from evogit.globs import Editable
from evogit.task import (
    Agent,
    ContextRules,
    EvaluationSpec,
    Format,
    Limits,
    Operator,
    Stage,
    Task,
    editable,
    score_digest,
    seal_digest,
    unsealed,
)
from evogit.taskfile import check_hot, read_task, some, task_files, task_from_files, task_source

__all__ = [
    "Agent", "ContextRules", "Editable", "EvaluationSpec", "Limits", "Operator",
    "Stage", "Task", "check_hot", "editable", "list_agents", "list_tasks",
    "load_agent", "load_task", "load_task_folder", "parse_agent", "score_digest", "seal_digest", "task_files",
    "task_from_files", "unsealed",
]  # fmt: skip


ASIDE = ("seed/", "trials/")
"""Folders of a task that no evaluation sees: where a run begins, and what `evogit tasks check` tries. Nor README.md."""

WRITERS = frozenset({"mutate", "cross", "repair", "command"})
"""Operators whose code can be anything."""


class _AgentTable(Table):
    """The front matter of an agent file."""

    name: str
    description: str = ""
    operator: Operator
    arms: Strings = ()
    free_code: bool | None = None
    model: str | None = None
    models: Mapping[str, Annotated[float, Field(gt=0, strict=False)]] = Field(default_factory=dict)
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    format: Format | None = None
    repairs: Annotated[int, Field(ge=0, le=10)] = 1
    crossover: Literal["none", "chance"] = "none"
    every: Annotated[int, Field(ge=1)] = 50
    context: ContextRules = ContextRules()
    options: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> _AgentTable:
        if self.model is not None and self.models:
            raise ValueError("one of model: NAME and models: {NAME: WEIGHT, …}")
        if (self.operator == "mutate") != (self.format is not None):
            raise ValueError(f"operator mutate, and only that, needs a format, one of {', '.join(get_args(Format))}")
        return self


def load_task(name: str, repository_root: Path | None) -> Task:
    """The task called `name`, the user's own before a built-in one.

    Raises `UsageError` when there is none, `DefinitionError` for a mistake in its files.
    """
    folders = _task_folders(repository_root)
    if name not in folders:
        _fail_unknown("task", name, folders)
    return load_task_folder(folders[name])


def list_tasks(repository_root: Path | None) -> list[Task]:
    """Every task there is, by name. Raises `DefinitionError` for a mistake in any."""
    return [load_task_folder(folder) for _, folder in sorted(_task_folders(repository_root).items())]


def load_agent(name: str, repository_root: Path | None) -> Agent:
    """The agent definition called `name`, the user's own before a built-in one. Raises like `load_task`."""
    files = _agent_files(repository_root)
    if name not in files:
        _fail_unknown("agent", name, files)
    return parse_agent(read_text(files[name]), files[name])


def list_agents(repository_root: Path | None) -> list[Agent]:
    """Every agent definition there is, by name. Raises `DefinitionError` for a mistake in any."""
    return [parse_agent(read_text(path), path) for _, path in sorted(_agent_files(repository_root).items())]


def _task_folders(root: Path | None) -> dict[str, Path]:
    found = (entry for folder in _places("tasks", root) for entry in folder.iterdir())
    return {entry.name: entry for entry in found if (entry / "task.toml").is_file()}


def _agent_files(root: Path | None) -> dict[str, Path]:
    return {path.stem: path for folder in _places("agents", root) for path in folder.glob("*.md")}


def builtin(kind: str) -> Path:
    """The folder of built-in tasks or agents, which also holds what candidates must not read: what judges expect."""
    package = Path(__file__).parent
    # An editable install has no `_builtin`; in site-packages a sibling called `tasks` would be a stranger's.
    checkout = (package.parent / "pyproject.toml").is_file()
    return package.parent / kind if checkout else package / "_builtin" / kind


def _places(kind: str, root: Path | None) -> list[Path]:
    """Folders to look in; a later one wins over an earlier one."""
    places = [builtin(kind)]
    if root is not None:
        places.append(root / ".evogit" / kind)
    return [place for place in places if place.is_dir()]


def _fail_unknown(kind: str, name: str, known: Mapping[str, Path]) -> NoReturn:
    raise UsageError(f"there is no {kind} {name!r}{did_you_mean(name, known)}\n`evogit {kind}s` lists all there are")


def load_task_folder(path: Path) -> Task:
    """The task in the folder `path`, which gives it its name. Raises `DefinitionError`."""
    path = path.resolve()
    if not (path / "task.toml").is_file():
        raise DefinitionError(path, "", "expected a task's folder with a task.toml in it")
    everything = dict(_walk(path))
    seed = {name.removeprefix("seed/"): file for name, file in everything.items() if name.startswith("seed/")}
    files = {name: file for name, file in everything.items() if name != "README.md" and not name.startswith(ASIDE)}
    task = dataclasses.replace(read_task(path.name, files, path), seed=seed, source=path)
    can_change = editable(task)
    if seed and not task.fetch and not any(map(can_change, seed)):
        task_source(task.definition, path).fail(("evolve",), f"matches no file in seed/ (there: {some(seed)})")
    return task


def _walk(folder: Path) -> Iterator[tuple[str, tuple[bytes, bool]]]:
    """Every file below `folder`: POSIX path, bytes, executable bit. What Python compiles is left out."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        # pip compiles what it installs, also seed files; those are no part of a task.
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in folders:
            if (here / name).is_symlink() or name.lower() == ".git":
                kind = "a Git folder" if name.lower() == ".git" else "a symbolic link to a folder"
                raise DefinitionError(here / name, "", f"expected plain files in a task, not {kind}")
        for path in sorted(here / name for name in names if not name.endswith(".pyc")):
            try:
                yield path.relative_to(folder).as_posix(), (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
            except OSError as error:
                raise DefinitionError(path, "", f"cannot be read: {error.strerror}") from error


def parse_agent(text: str, source: Path | str) -> Agent:
    """The agent definition `text`: YAML front matter between ``---`` lines, then the prompt.

    `source` names it in messages and, when it is a path, must be called like the agent. Raises `DefinitionError`.
    """
    lines = text.splitlines(keepends=True)
    fences = [at for at, line in enumerate(lines) if line.rstrip() == "---"]
    where = Source(str(source), text, "yaml")
    if len(fences) < 2 or fences[0] != 0:
        where.fail((), "expected YAML front matter between two lines '---' at the start", line=1)
    # A blank line for the fence, so that YAML's line numbers are the file's.
    raw = _front_matter("\n" + "".join(lines[1 : fences[1]]), where)
    stem = source.stem if isinstance(source, Path) else None
    table = validate(_AgentTable, ({"name": stem} if stem else {}) | raw, where)
    if not is_name(table.name):
        where.fail(("name",), f"expected letters, digits, '-' and '_' only, not {table.name!r}")
    if stem is not None and table.name != stem:
        where.fail(("name",), f"expected {stem!r}, as the file is called, not {table.name!r}")
    return Agent(
        name=table.name,
        description=table.description,
        operator=table.operator,
        arms=table.arms,
        # Code that a model or a foreign program wrote can be anything; the offline operators only rearrange.
        free_code=table.operator in WRITERS if table.free_code is None else table.free_code,
        options=table.options,
        prompt="".join(lines[fences[1] + 1 :]).strip("\n"),
        source=source if isinstance(source, Path) else None,
        models={table.model: 1.0} if table.model else dict(table.models),
        temperature=table.temperature,
        max_tokens=table.max_tokens,
        format=table.format,
        repairs=table.repairs,
        crossover=table.crossover,
        every=table.every,
        context=table.context,
    )


def _front_matter(text: str, source: Source) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        source.fail((), f"not valid YAML: {error.problem}", line=line)
    except yaml.YAMLError as error:
        source.fail((), f"not valid YAML: {error}")
    if not isinstance(raw, dict):
        source.fail(
            (), f"expected front matter with at least an operator, one of {', '.join(get_args(Operator))}", line=1
        )
    return {str(key): value for key, value in raw.items()}
