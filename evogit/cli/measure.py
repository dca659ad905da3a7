"""Evaluate versions for a person who reviews: the sandbox, the models and the evaluator as configured here."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from evogit.cli.place import Place, configuration

if TYPE_CHECKING:
    from evogit.catalog import Task
    from evogit.evaluation.engines import Evaluates
    from evogit.evolution.scoring import Scoring
    from evogit.evolution.session import Session
    from evogit.models.chat import Chat
    from evogit.models.desk import Desk
    from evogit.review.verifying import Bench


@contextlib.asynccontextmanager
async def measuring(place: Place, session: Session, *, jobs: int = 0) -> AsyncIterator[tuple[Evaluates, Scoring]]:
    """A fresh evaluator of the session's task, and the scores that it journals; `jobs` places (0: as configured).

    Scores become durable with `session.journal.publish()`.

    Raises:
        SandboxError: no sandbox works here.
        EvaluationError: the evaluator cannot be started.
        UsageError: the task's candidates ask a model that is not configured.
    """
    from evogit.evolution.scoring import Scoring

    async with workbench(place, session, jobs=jobs) as (bench, desk), bench.open(session.task) as evaluator:
        yield evaluator, Scoring(session, evaluator, desk)


async def packages(task: Task, overlay: Mapping[str, bytes]) -> dict[str, Path]:
    """The packages that `task` needs, installed. Raises `InstallError` or `DefinitionError`."""
    from evogit.config import default_cache
    from evogit.packages import installed

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    return await asyncio.to_thread(installed, task, {**overlay, **task.files}, default_cache(), say)


@contextlib.asynccontextmanager
async def workbench(place: Place, session: Session, *, jobs: int = 0) -> AsyncIterator[tuple[Bench, Desk]]:
    """What makes fresh evaluators, as configured here, and the desk that their models are asked at.

    Raises:
        SandboxError: no sandbox works here.
        UsageError: the task's candidates ask a model that is not configured.
    """
    from evogit.cli.engine import choose_sandbox, evaluating, install
    from evogit.cli.run import forward, make_workshop
    from evogit.evolution.scoring import candidate_calls
    from evogit.review.verifying import Bench

    # Trying sandboxes runs an event loop of its own.
    chosen = await asyncio.to_thread(choose_sandbox, place)
    workshop = make_workshop(place, session.plan, session)
    shared = await install(place, session)

    def fresh(task: Task) -> AbstractAsyncContextManager[Evaluates]:
        return evaluating(
            place,
            session,
            task,
            chosen,
            jobs=jobs or place.config.evaluation.jobs,
            forward=forward(workshop, task.evaluation.model),
            packages=shared,
        )

    try:
        yield Bench(fresh, lambda found: candidate_calls(session, workshop.desk, found)), workshop.desk
    finally:
        await workshop.desk.close()


def asked_model(task: Task, name: str | None, root: Path | None) -> Chat | None:
    """The model that the task's candidates ask when nobody's run lends it: `name`, the task's own, or the only one.

    Raises:
        UsageError: there is none, or the task asks none.
    """
    import os

    from evogit.definitions import did_you_mean
    from evogit.errors import UsageError
    from evogit.models.openai import connect
    from evogit.variation.making import secrets_of

    own = task.evaluation.model
    if own is None:
        if name is not None:
            raise UsageError(f"--model {name}: candidates of the task {task.name} ask no model")
        return None
    tables = configuration(root).models
    if name is not None and name not in tables:
        raise UsageError(f"there is no model {name!r}{did_you_mean(name, tables)}. Type: evogit models list")
    chosen = name or (own if own in tables else next(iter(tables), "") if len(tables) == 1 else "")
    if not chosen:
        there = f" (there: {', '.join(sorted(tables))}; say --model NAME)" if tables else ""
        raise UsageError(
            f"candidates of the task {task.name} ask a model: configure [models.{own}] in .evogit/config.toml "
            f"and type: evogit models check{there}"
        )
    chat = connect(chosen, tables[chosen], dict(os.environ))
    # Nothing that this process starts inherits a key.
    for secret in secrets_of((), tables):
        os.environ.pop(secret, None)
    return chat
