"""The values every room shares: frozen data, no behaviour that touches the world.

The words are those of the design's vocabulary: individual, candidate, variation, evaluation.
Paths inside a tree are POSIX, relative and decoded with ``surrogateescape``, so that file names
that are not UTF-8 survive a round trip (``os.fsencode`` gives the original bytes back).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

Oid = str
"""A Git object id: 40 hexadecimal characters."""

Direction = Literal["maximize", "minimize"]

Changes = Mapping[str, bytes | None]
"""Path → new bytes, or None for a deletion. Existing files keep their mode, new ones get 100644."""

NOTHING: Mapping[str, float] = MappingProxyType({})
NONE_SPENT: Mapping[str, int] = MappingProxyType({})


class Reason(StrEnum):
    """Why a candidate did not become an individual. These words appear in `status`, `log` and JSON."""

    # Before anything runs
    INVALID = "invalid"  # the variation could not produce an applicable child
    CONFLICT = "conflict"  # the merge left a conflict nobody resolved
    NO_OP = "no-op"  # the child's tree equals its parent's
    PROTECTED = "protected"  # touches a path outside `evolve`, or in `protect`
    DUPLICATE = "duplicate"  # this (tree, evaluator) pair is already judged and not better, or this patch was tried
    # A model's reply
    UNPARSABLE = "unparsable"  # not in the format asked for
    NOT_FOUND = "not-found"  # the text to replace is not there exactly once
    FORBIDDEN = "forbidden-path"  # a path outside the tree, or one that may not be changed
    SYNTAX = "syntax-error"  # the file no longer parses
    REFUSED = "refused"  # the model declined
    UNANSWERED = "unanswered"  # the model, or the program, gave no answer at all
    # The evaluation
    FAILED = "failed"  # non-zero exit, or an exception in the evaluator or the candidate
    CRASHED = "crashed"  # killed by a signal (segmentation fault, stack overflow, …)
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"  # wrote more than the limit allows
    NO_RESULT = "no-result"  # ended well but left no valid result
    FORGED = "forged"  # a result came by another way than the evaluator's
    THRESHOLD = "threshold"  # a cascade stage's score did not pass
    # The selection
    WORSE = "worse"
    LOST_RACE = "lost-race"  # the agent's branch had moved meanwhile
    CROWDED = "crowded"  # another living individual fills this niche
    PRUNED = "pruned"  # a person pruned an equal version, or the line it comes from
    OUTDATED = "outdated"  # everybody began again from the start while it was made


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one tree earned under one evaluator.

    ``status`` is ``"ok"`` or the `Reason` it failed for. ``score`` is a finite number exactly when the
    status is ok. ``seconds`` is wall-clock time. ``samples`` holds the repeated scores, when there were repeats.
    """

    status: str
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    feedback: str = ""
    seconds: float = 0.0
    stage: str = ""
    epoch: int = 0
    samples: tuple[float, ...] = ()
    stdout: bytes = b""
    stderr: bytes = b""
    spent: Mapping[str, int] = field(default_factory=lambda: NONE_SPENT)
    """What the candidate asked of its model: requests, input and output tokens. Empty when nothing."""
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the judge returned as evidence, by name: screenshots, plots, reports."""

    @property
    def ok(self) -> bool:
        return self.status == "ok" and self.score is not None and math.isfinite(self.score)


@dataclass(frozen=True, slots=True)
class Version:
    """A commit as a parent of variation: its id, tree, score and the files an agent may edit.

    ``files`` maps each editable path to its bytes; it may read lazily.
    """

    commit: Oid
    tree: Oid
    score: float | None
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a language model, or one start of a coding program. `model` is its name in the configuration.

    `role` says what for: propose, mend (its own reply), cross, repair, judge, distil, or candidate. `cost` is in the
    currency of the model's prices; `failed` is empty or one line.
    """

    model: str
    role: str
    input: int = 0
    output: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A child before it is evaluated: what changes against ``receiver``, and its birth certificate.

    ``parents`` are the commit's parents, the receiver first. ``donor`` names a commit whose changes were taken
    without becoming a parent (`transplant`). ``evidence`` are files for the journal entry (``prompt.md``, …).
    """

    parents: tuple[Oid, ...]
    changes: Changes
    summary: str
    operator: str
    model: str = ""
    donor: Oid | None = None
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    touched: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Path → ranges of the receiver's lines, [start, end), that changed; given by agents that ask a model."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What making it again needs beside its parents, operator and reply: JSON, kept in its entry (`evogit replay`)."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a task gives offline agents to grow expressions from.

    ``names``: identifiers or dotted attributes usable as leaves (besides names in scope).
    ``calls``: function templates with ``_`` for an argument, as ``"np.maximum(_, _)"``.
    ``expressions``: whole expressions worth trying. ``numbers``: constants worth trying.
    ``hot``: functions, as ``path.py:name``, where a profile says that the time goes: for agents that save time.
    """

    names: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    hot: tuple[str, ...] = ()


def better(direction: Direction, a: float, b: float) -> bool:
    """Whether score `a` is strictly better than `b`."""
    return a > b if direction == "maximize" else a < b
