"""What a task and an agent are, once read: frozen values, and the two rules that follow from a task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from evogit.definitions import Seconds, Size, Strings, Table, is_name
from evogit.globs import Editable
from evogit.needs import Need
from evogit.values import Direction, Vocabulary

Operator = Literal["syntax", "lines", "numbers", "mutate", "cross", "repair", "judge", "distil", "command"]
"""What an agent does: the offline three, the five ways to use a language model, and a coding CLI."""

Format = Literal["section", "search-replace", "whole-files", "line-edit"]
"""How a model replies when it mutates."""

Part = Literal["guidance", "notes", "feedback", "metrics", "files", "failures", "relatives"]
"""What a prompt may carry beside goal, editable text and reply format, which it always carries."""

PARTS: tuple[Part, ...] = ("guidance", "feedback", "metrics", "files", "notes", "failures", "relatives")


class ContextRules(Table):
    """What goes into a prompt. `budget`: tokens in all. `parts`: by priority; the last ones give way first.

    `relatives`: how many relatives are shown as inspiration, the best first, then diverse ones. `failures`: how many
    earlier attempts on the same lines. `lines`: the size of a section, least and most. `definitions`: how often a
    section is one definition found by the syntax tree instead of a stretch of lines.
    """

    budget: Annotated[int, Field(ge=200)] = 12_000
    parts: Annotated[tuple[Part, ...], Field(strict=False)] = PARTS
    relatives: Annotated[int, Field(ge=0, le=20)] = 2
    failures: Annotated[int, Field(ge=0, le=50)] = 4
    lines: Annotated[tuple[int, int], Field(strict=False)] = (64, 128)
    definitions: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _least_first(self) -> ContextRules:
        if not 1 <= self.lines[0] <= self.lines[1]:
            raise ValueError("lines as [64, 128], the least first")
        return self


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
    resident: Size | None = None
    """What its processes may hold together, measured four times a second: for programs such as Node and Chromium,
    which reserve far more address space than they use, so that `memory` cannot hold them."""


class EvaluationSpec(Table):
    """How a task is scored: the cascade in order, the last stage's score is the score.

    `noisy`: an apparent win is measured again (same repeats) before it is banked, and the mean counts.
    `epoch_every`: candidates per epoch (0 = one epoch for ever). `validation`: a stage run on champions only,
    the same in every epoch, that ranks them across epochs. `judge`: whether a critic `decides` which child is better
    (the score may then be missing), decides among those that the score lets pass (`gated`: not worse than who is there;
    without a critic the score alone decides) or only breaks `ties`. `preload`: modules the fork server
    imports first. `model`: a model that candidates may ask, by its name in the configuration; `model_requests` and
    `model_tokens` (input and output) are what one candidate may spend in one evaluation, all stages and repeats.
    `holdout`: a sealed stage that no agent's candidate is ever run by, only a version that a person verifies.
    """

    stages: tuple[Stage, ...]
    validation: Stage | None = None
    holdout: Stage | None = None
    noisy: bool = False
    judge: Literal["no", "decides", "ties", "gated"] = "no"
    epoch_every: Annotated[int, Field(ge=0)] = 0
    preload: Strings = ()
    model: str | None = None
    model_requests: Annotated[int, Field(ge=1)] = 20
    model_tokens: Annotated[int, Field(ge=1)] = 20_000

    @field_validator("model")
    @classmethod
    def _as_in_the_configuration(cls, value: str | None) -> str | None:
        if value is not None and not is_name(value):
            raise ValueError(f"the name of a model: letters, digits, '-' and '_', not {value!r}")
        return value


class Fetch(Table):
    """Where a seed's files come from that are not ours to ship: one source archive of the package index, pinned.

    `files`: path in the archive, without its first folder, → path in the new repository, or several; of a file or a
    folder.
    """

    package: str
    version: str
    sha256: str
    files: Annotated[Mapping[str, str | Strings], Field(min_length=1)]

    def mapped(self) -> Iterator[tuple[str, str]]:
        """Every path in the archive with each of its paths in the repository."""
        for source, targets in self.files.items():
            for target in (targets,) if isinstance(targets, str) else targets:
                yield source, target

    @field_validator("sha256")
    @classmethod
    def _as_written_by_sha256sum(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise ValueError(f"the 64 hexadecimal digits that sha256sum prints, not {value!r}")
        return value

    @field_validator("package", "version")
    @classmethod
    def _one_release(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", value):
            raise ValueError(f"one release, as package = 'mistune' and version = '3.0.2', not {value!r}")
        return value


class Packages(Table):
    """What judge and candidates need installed. `npm`: the lock file, with its package.json beside it."""

    npm: str

    @field_validator("npm")
    @classmethod
    def _a_lock_file(cls, value: str) -> str:
        if value.rpartition("/")[2] != "package-lock.json":
            raise ValueError(f"the path of a package-lock.json, not {value!r}")
        return value


class Measured(Table):
    """What the task's author measured, for the list of tasks; `evogit tasks check` compares the seed's score with it.

    `seconds`: of one evaluation of the seed, all stages. `by`: where the best score is from.
    """

    seed: float
    best: float | None = None
    by: str = ""
    seconds: Annotated[float, Field(gt=0)] | None = None
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far, as a part of it, the seed's score may be from `seed`: for timings and other machines' arithmetic."""


@dataclass(frozen=True)
class Task:
    """A task as read: what is evolved, how it is scored, what may change.

    `files` are the evaluator's own (everything in the folder but task.toml, goal.md, seed/ and holdout/), path → bytes:
    they are overlaid on every candidate and never come from it. `seed` is path → (bytes, executable). `sealed` are
    those in holdout/, which are laid out for the holdout stage only.
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
    sealed: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    executables: frozenset[str] = frozenset()
    """Those of `files` and `sealed` that have the executable bit."""
    definition: str = dataclasses.field(default="", repr=False)
    """task.toml as its author wrote it, comments and all."""
    needs: tuple[Need, ...] = ()
    """Beside Python; `network` and `model` follow from `fetch` and the evaluation's model."""
    fetch: Fetch | None = None
    measured: Measured | None = None
    packages: Packages | None = None


@dataclass(frozen=True)
class Agent:
    """An agent definition: front matter and prompt body of ``agents/NAME.md``."""

    name: str
    description: str
    operator: Operator
    arms: tuple[str, ...]
    """Which of the operator's arms it uses; all when empty."""
    free_code: bool
    options: Mapping[str, Any]
    prompt: str
    source: Path | None = None
    models: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Names of `[models.NAME]` and their weights; the population's or the only one when empty."""
    temperature: float | None = None
    max_tokens: int | None = None
    format: Format | None = None
    repairs: int = 1
    """How often a reply that cannot be used is shown its error and asked for again."""
    crossover: Literal["none", "chance"] = "none"
    """Whether it also crosses two parents, conflicting hunks by chance (the paper's way)."""
    every: int = 50
    """Candidates between two distillations."""
    context: ContextRules = dataclasses.field(default_factory=ContextRules)

    @property
    def asks_a_model(self) -> bool:
        return self.operator in ("mutate", "cross", "repair", "judge", "distil")

    @property
    def serves(self) -> bool:
        """Whether it works for the others and has no branch of its own."""
        return self.operator in ("repair", "judge", "distil")


def score_digest(task: Task) -> str:
    """What `Task.digest` must be: of everything that can change a score, and nothing else."""
    document: dict[str, object] = {
        "stages": [stage.model_dump() for stage in task.evaluation.stages],
        "validation": task.evaluation.validation and task.evaluation.validation.model_dump(),
        # A limit that nobody sets must not change what scores belong to.
        "limits": task.limits.model_dump(exclude={"resident"} if task.limits.resident is None else None),
        "parameters": dict(task.parameters),
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in task.files.items()},
        # A script is run whatever its mode is (`Workspace`): to lose it in a checkout makes no other evaluator.
        "executables": sorted(p for p in task.executables & task.files.keys() if not task.files[p].startswith(b"#!")),
    }
    spec = task.evaluation
    if spec.model is not None:
        document["model"] = [spec.model, spec.model_requests, spec.model_tokens]
    if task.packages is not None:
        document["packages"] = task.packages.model_dump()
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def seal_digest(task: Task) -> str:
    """Of the holdout, which changes no score: its stage and its files. 16 hex digits, empty without one."""
    stage = task.evaluation.holdout
    if stage is None:
        return ""
    files = {path: hashlib.sha256(data).hexdigest() for path, data in task.sealed.items()}
    document = [stage.model_dump(), files, sorted(task.executables & task.sealed.keys())]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def unsealed(task: Task) -> Task:
    """`task` with the holdout as its one stage, and the sealed files among the evaluator's."""
    stage = task.evaluation.holdout
    assert stage is not None
    evaluation = task.evaluation.model_copy(update={"stages": (stage,), "validation": None, "holdout": None})
    opened = dataclasses.replace(task, evaluation=evaluation, files={**task.files, **task.sealed}, sealed={})
    return dataclasses.replace(opened, digest=score_digest(opened))


def editable(task: Task) -> Editable:
    """The compiled rule for which paths agents may change under `task`."""
    return Editable(task.evolve, task.protect, [*task.files, *task.sealed])
