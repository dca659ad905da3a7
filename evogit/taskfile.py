"""A task's files as a `Task`, and back: task.toml is checked key by key, and nothing is lost on the way."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from evogit import globs, toml
from evogit.definitions import Source, Strings, Table, check_keys, did_you_mean, is_name, validate
from evogit.errors import DefinitionError
from evogit.needs import NEEDS, Need
from evogit.task import EvaluationSpec, Fetch, Limits, Measured, Packages, Stage, Task, editable, score_digest
from evogit.values import Direction, Vocabulary

SEALED = "holdout/"
"""The folder in a task's folder whose files only its holdout stage is shown."""

_FUNCTION = re.compile(r"(?P<file>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")


class _VocabularyTable(Table):
    names: Strings = ()
    calls: Strings = ()
    expressions: Strings = ()
    numbers: Annotated[tuple[float, ...], Field(strict=False)] = ()
    hot: Strings = ()


class _TaskTable(Table):
    """The top level of task.toml, after `evaluation` was put in order."""

    description: str = ""
    direction: Direction
    evolve: Annotated[Strings, Field(min_length=1)]
    protect: Strings = ()
    target: float | None = None
    metrics: Strings = ()
    needs: Strings = ()
    fetch: Fetch | None = None
    packages: Packages | None = None
    measured: Measured | None = None
    evaluation: EvaluationSpec
    limits: Limits = Limits()
    vocabulary: _VocabularyTable = _VocabularyTable()
    parameters: Mapping[str, Any] = Field(default_factory=dict)


def task_from_files(name: str, files: Mapping[str, tuple[bytes, bool]]) -> Task:
    """The task that `task_files` stored. It has no seed. Raises `DefinitionError`."""
    return read_task(name, files, PurePosixPath(name))


def task_files(task: Task) -> Mapping[str, tuple[bytes, bool]]:
    """The files of the task's folder, path → (bytes, executable), without the seed.

    task.toml is the author's text as long as the task still says the same, or else written anew.
    """
    own = {**task.files, **task.sealed}
    files = {path: (data, path in task.executables) for path, data in own.items()}
    files["goal.md"] = (task.goal.encode(), False)
    files["task.toml"] = (task.definition.encode(), False)
    if not task.definition or not _says_the_same(task, task_from_files(task.name, files)):
        files["task.toml"] = (_render_task(task).encode(), False)
    return files


def task_source(text: str, place: PurePosixPath | Path) -> Source:
    return Source(str(place / "task.toml"), text)


def some(names: Mapping[str, object]) -> str:
    first = sorted(names)[:5]
    return ", ".join(first) + (", …" if len(names) > len(first) else "") if names else "nothing"


def read_task(name: str, files: Mapping[str, tuple[bytes, bool]], place: PurePosixPath | Path) -> Task:
    if not is_name(name):
        raise DefinitionError(place, "", f"a task's name has letters, digits, '-' and '_' only, not {name!r}")
    text, goal = (_text(files, path, place) for path in ("task.toml", "goal.md"))
    own = {path: data for path, (data, _) in files.items() if path not in ("task.toml", "goal.md")}
    source = task_source(text, place)
    raw = toml.parse(text, source.file)
    check_keys(raw, _TaskTable.model_fields, source)
    evaluation = _read_evaluation(raw.get("evaluation"), own, source)
    table = validate(_TaskTable, {**raw, "evaluation": evaluation}, source)
    _check_paths(table, own, source)
    _check_parameters(table.parameters, source)
    if table.fetch is not None:
        check_fetch(table.fetch, source)
    task = Task(
        name=name,
        description=table.description,
        goal=goal,
        direction=table.direction,
        evolve=table.evolve,
        protect=table.protect,
        evaluation=table.evaluation,
        limits=table.limits,
        vocabulary=Vocabulary(**dict(table.vocabulary)),
        parameters=table.parameters,
        target=table.target,
        files={path: data for path, data in own.items() if not path.startswith(SEALED)},
        sealed={path: data for path, data in own.items() if path.startswith(SEALED)},
        seed={},
        metrics=table.metrics,
        executables=frozenset(path for path in own if files[path][1]),
        definition=text,
        needs=_read_needs(table, source),
        fetch=table.fetch,
        measured=table.measured,
        packages=table.packages,
    )
    return dataclasses.replace(task, digest=score_digest(task))


def _text(files: Mapping[str, tuple[bytes, bool]], path: str, place: PurePosixPath | Path) -> str:
    if path not in files:
        raise DefinitionError(place / path, "", "is missing; a task has a task.toml and a goal.md")
    try:
        return files[path][0].decode()
    except UnicodeDecodeError as error:
        raise DefinitionError(place / path, "", f"must be UTF-8 text (byte {error.start} is not)") from error


def _read_evaluation(raw: object, files: Mapping[str, bytes], source: Source) -> EvaluationSpec:
    """``[evaluation]``, whose stages stand in ``[[evaluation.stages]]`` or, when there is one, in the table itself."""
    at = ("evaluation",)
    if not isinstance(raw, dict):
        source.fail(at, "expected a table with a command or a function: how a candidate is scored")
    inline = {key: value for key, value in raw.items() if key in Stage.model_fields}
    rest = {key: value for key, value in raw.items() if key not in inline}
    check_keys(raw, {**Stage.model_fields, **EvaluationSpec.model_fields}, source, at)
    rows = rest.get("stages", [inline])
    if "stages" in rest and inline:
        source.fail((*at, next(iter(inline))), "belongs into one of the [[evaluation.stages]]")
    if not isinstance(rows, list) or not rows:
        source.fail((*at, "stages"), "expected one or more [[evaluation.stages]]")
    stages = []
    open_ = {path: data for path, data in files.items() if not path.startswith(SEALED)}
    for number, row in enumerate(rows):
        where = (*at, "stages", number) if "stages" in rest else at
        stages.append(_read_stage(row, "main" if len(rows) == 1 else f"stage-{number + 1}", open_, source, where))
        if stages[-1].name in [stage.name for stage in stages[:-1]]:
            source.fail((*where, "name"), f"expected a name of its own, but {stages[-1].name!r} is taken")
    for name in ("validation", "holdout"):
        if rest.get(name) is not None:
            shown = files if name == "holdout" else open_
            rest[name] = _read_stage(rest[name], name, shown, source, (*at, name))
    return validate(EvaluationSpec, {**rest, "stages": tuple(stages)}, source, at)


def _read_stage(raw: object, name: str, files: Mapping[str, bytes], source: Source, at: toml.Key) -> Stage:
    stage = validate(Stage, {"name": name, **raw} if isinstance(raw, dict) else raw, source, at)
    if stage.function is not None:
        found = _FUNCTION.fullmatch(stage.function)
        if not found:
            source.fail((*at, "function"), f'expected "file.py:name", not {stage.function!r}')
        if found["file"] not in files:
            source.fail((*at, "function"), f"{found['file']} is not in the task's folder (there: {some(files)})")
    return stage


def _read_needs(table: _TaskTable, source: Source) -> tuple[Need, ...]:
    """As said, and what follows from other keys."""
    for number, name in enumerate(table.needs):
        if name not in NEEDS:
            source.fail(
                ("needs", number), f"expected one of {', '.join(NEEDS)}, not {name!r}{did_you_mean(name, NEEDS)}"
            )
    said = {*table.needs, *(["model"] if table.evaluation.model else [])}
    said |= {*(["network"] if table.fetch or table.packages else []), *(["node"] if table.packages else [])}
    if "model" in said and not table.evaluation.model:
        source.fail(("needs",), 'a model is named by [evaluation] model = "NAME"')
    return tuple(need for need in NEEDS if need in said)


def _check_paths(table: _TaskTable, files: Mapping[str, bytes], source: Source) -> None:
    if table.evaluation.holdout is None and any(path.startswith(SEALED) for path in files):
        source.fail(("evaluation",), f"{SEALED} is kept for [evaluation.holdout], and there is no such stage")
    for key in ("evolve", "protect"):
        for number, pattern in enumerate(getattr(table, key)):
            if wrong := globs.check(pattern):
                source.fail((key, number), wrong)
            if key == "evolve" and pattern in files:
                source.fail((key, number), f"{pattern} is the evaluator's own file, which agents never change")


def check_hot(task: Task, files: Mapping[str, bytes]) -> None:
    """Each function that the vocabulary calls hot is in `files`, path → bytes of the version that a run starts from.

    Raises `DefinitionError`.
    """
    source = task_source(task.definition, task.source or PurePosixPath(task.name))
    paths = list(filter(editable(task), files))
    for number, hot in enumerate(task.vocabulary.hot):
        if wrong := _not_hot(hot, paths, files):
            source.fail(("vocabulary", "hot", number), wrong)


def _not_hot(hot: str, paths: list[str], files: Mapping[str, bytes]) -> str:
    found = _FUNCTION.fullmatch(hot)
    if not found:
        return f'expected "file.py:name", not {hot!r}'
    path, name = found["file"], found["name"]
    if path not in paths:
        return f"expected a file that agents may change before the colon, not {hot!r}{did_you_mean(path, paths)}"
    try:
        tree = ast.parse(files[path])
    except (SyntaxError, ValueError) as error:
        return f"expected a function of Python, and {path} cannot be read: {error}"
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if name in names:
        return ""
    return f"expected a function of {path} after the colon, not {hot!r}{did_you_mean(name, names)}"


def check_fetch(fetch: Fetch, source: Source) -> None:
    """Its paths stay inside the archive and the new repository."""
    for key, value in fetch.mapped():
        for path in (key, value):
            if wrong := globs.check(path):
                source.fail(("fetch", "files", key), wrong)


def _check_parameters(value: object, source: Source, at: toml.Key = ("parameters",)) -> None:
    """They reach the evaluator as JSON, which knows no dates and no infinities."""
    if isinstance(value, Mapping | list):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_parameters(inner, source, (*at, key))
    elif not isinstance(value, str | int | float) or value in (float("inf"), float("-inf")) or value != value:
        source.fail(at, f"expected text, a number, true, false, a list or a table, not {value}")


def _says_the_same(task: Task, stored: Task) -> bool:
    return stored == dataclasses.replace(task, seed={}, source=None, digest=stored.digest, definition=stored.definition)


def _render_task(task: Task) -> str:
    evaluation = task.evaluation.model_dump(exclude_defaults=True) | {
        "stages": [stage.model_dump(exclude_defaults=True) | {"name": stage.name} for stage in task.evaluation.stages]
    }
    for name in ("validation", "holdout"):
        if name in evaluation:
            evaluation[name]["name"] = getattr(task.evaluation, name).name
    return toml.render(
        {
            "description": task.description,
            "direction": task.direction,
            "evolve": task.evolve,
            "protect": task.protect,
            "target": task.target,
            "metrics": task.metrics,
            "needs": task.needs,
            "fetch": task.fetch and task.fetch.model_dump(),
            "packages": task.packages and task.packages.model_dump(),
            "measured": task.measured and task.measured.model_dump(),
            "evaluation": evaluation,
            "limits": task.limits.model_dump(),
            "vocabulary": dataclasses.asdict(task.vocabulary),
            "parameters": task.parameters,
        }
    )
