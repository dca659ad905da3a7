"""What a task and an agent are, once read: frozen values, and the two rules that follow from a task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evogit.definitions import Seconds, Size, Strings, Table
from evogit.globs import Editable
from evogit.values import Direction, Vocabulary

Kind = Literal["syntax", "lines", "numbers", "model", "command"]


class Stage(Table):
    """One step of a cascade. Exactly one of `command` and `function` is set.

    `command` is an argument list run in the candidate's folder; ``function`` is ``"file.py:name"``, called with
    the folder. A candidate whose stage score does not reach `threshold` stops there. `deadline` is in seconds.
    """

    name: str = "main"
    command: Annotated[Strings, Field(min_length=1)] | None = None
    function: str | None = None
    threshold: float | None = None
    deadline: Seconds = 60.0
    repeats: Annotated[int, Field(ge=1, le=101)] = 1

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Stage:
        if (self.command is None) == (self.function is None):
            raise ValueError('exactly one of command = ["python", "bench.py"] and function = "evaluate.py:evaluate"')
        return self


class Limits(Table):
    """Limits on one evaluation. Sizes in bytes (the file accepts "512M"), `cpu` in seconds (default: deadline + 1)."""

    memory: Size = 1 << 30
    cpu: Seconds | None = None
    processes: Annotated[int, Field(ge=1)] = 32
    file_size: Size = 64 << 20
    output: Size = 1 << 20
    disk: Size = 256 << 20


class EvaluationSpec(Table):
    """How a task is scored: the cascade in order, the last stage's score is the score.

    `noisy`: an apparent win is measured again (same repeats) before it is banked, and the mean counts.
    `epoch_every`: candidates per epoch (0 = one epoch for ever). `validation`: a stage run on champions only,
    the same in every epoch, that ranks them across epochs. `preload`: modules the fork server imports first.
    """

    stages: tuple[Stage, ...]
    validation: Stage | None = None
    noisy: bool = False
    epoch_every: Annotated[int, Field(ge=0)] = 0
    preload: Strings = ()


@dataclass(frozen=True)
class Task:
    """A task as read: what is evolved, how it is scored, what may change.

    `files` are the evaluator's own (everything in the folder but task.toml, goal.md and seed/), path → bytes:
    they are overlaid on every candidate and never come from it. `seed` is path → (bytes, executable).
    `parameters` reach the evaluator as they are. `metrics` are the names of measures the evaluator promises.
    """

    name: str
    description: str
    goal: str
    direction: Direction
    evolve: tuple[str, ...]
    protect: tuple[str, ...]
    evaluation: EvaluationSpec
    limits: Limits
    vocabulary: Vocabulary
    parameters: Mapping[str, Any]
    target: float | None
    files: Mapping[str, bytes]
    seed: Mapping[str, tuple[bytes, bool]]
    source: Path | None = None
    digest: str = ""
    """Of everything that can change a score: stages, limits, parameters, files. 16 hex digits."""
    metrics: tuple[str, ...] = ()
    executables: frozenset[str] = frozenset()
    """Those of `files` that have the executable bit."""
    definition: str = dataclasses.field(default="", repr=False)
    """task.toml as its author wrote it, comments and all."""


@dataclass(frozen=True)
class Agent:
    """An agent definition: front matter and prompt body of ``agents/NAME.md``."""

    name: str
    description: str
    kind: Kind
    operators: tuple[str, ...]
    free_code: bool
    options: Mapping[str, Any]
    prompt: str
    source: Path | None = None


def score_digest(task: Task) -> str:
    """What `Task.digest` must be: of everything that can change a score, and nothing else."""
    document = {
        "stages": [stage.model_dump() for stage in task.evaluation.stages],
        "validation": task.evaluation.validation and task.evaluation.validation.model_dump(),
        "limits": task.limits.model_dump(),
        "parameters": dict(task.parameters),
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in task.files.items()},
        "executables": sorted(task.executables),
    }
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def editable(task: Task) -> Editable:
    """The compiled rule for which paths agents may change under `task`."""
    return Editable(task.evolve, task.protect, task.files)
