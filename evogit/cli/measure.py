"""Evaluate versions for a person who reviews: the sandbox, the models and the evaluator as configured here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from evogit.cli.place import Place

if TYPE_CHECKING:
    from evogit.evaluation.evaluator import Evaluator
    from evogit.evolution.scoring import Scoring
    from evogit.evolution.session import Session


@contextlib.asynccontextmanager
async def measuring(place: Place, session: Session, *, jobs: int = 0) -> AsyncIterator[tuple[Evaluator, Scoring]]:
    """A fresh evaluator of the session's task, and the scores that it journals; `jobs` places (0: as configured).

    Scores become durable with `session.journal.publish()`.

    Raises:
        SandboxError: no sandbox works here.
        EvaluationError: the evaluator cannot be started.
        UsageError: the task's candidates ask a model that is not configured.
    """
    import os

    from evogit.cli.run import forward, make_workshop
    from evogit.evaluation import sandbox
    from evogit.evaluation.evaluator import Evaluator
    from evogit.evolution.scoring import Scoring

    workshop = make_workshop(place, session.plan, session)
    try:
        async with Evaluator(
            session.task,
            session.objects,
            jobs=jobs or place.config.evaluation.jobs or os.cpu_count() or 1,
            sandbox=sandbox.choose(place.config.evaluation.sandbox),
            scratch=place.repository.run_folder(place.run) / "scratch",
            overlay=session.overlay,
            forward=forward(workshop, session.task.evaluation.model),
        ) as evaluator:
            yield evaluator, Scoring(session, evaluator, workshop.desk)
    finally:
        await workshop.desk.close()
