"""The engine that the configuration names, as what evolves, verifies and minimizes takes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evogit.cli.place import Place
    from evogit.evaluation.broker import Forward
    from evogit.evaluation.engines import Evaluates
    from evogit.evaluation.sandbox import Sandbox
    from evogit.evolution.session import Session
    from evogit.task import Task


def choose_sandbox(place: Place) -> Sandbox | None:
    """The sandbox here; None where the nodes of a cluster choose theirs. Raises `SandboxError`."""
    from evogit.evaluation import sandbox

    asked = place.config.evaluation.sandbox
    # Limits only are the user's own wish, and cost no try; everything else is for each node to say.
    return None if place.config.engine.kind == "ray" and asked != "limits" else sandbox.choose(asked)


async def install(place: Place, session: Session) -> dict[str, Path]:
    """The packages that the task needs, installed; the nodes of a cluster install their own.

    Raises `InstallError` or `DefinitionError`.
    """
    from evogit.cli.measure import packages

    return await packages(session.task, session.overlay) if place.config.engine.kind == "local" else {}


def evaluating(
    place: Place,
    session: Session,
    task: Task,
    chosen: Sandbox | None,
    *,
    jobs: int,
    forward: Forward | None,
    packages: Mapping[str, Path],
    tell: Callable[[str], None] | None = None,
) -> AbstractAsyncContextManager[Evaluates]:
    """A fresh evaluator of `task` where the configuration says; `jobs` at a time (0: as many as there is room for).

    Raises:
        EvaluationError: the engine cannot evaluate this task.
        UsageError: the engine's library is not installed.
    """
    import os

    engine = place.config.engine
    if engine.kind == "local":
        from evogit.evaluation.evaluator import Evaluator

        assert chosen is not None
        scratch = place.repository.run_folder(place.run) / "scratch"
        return Evaluator(
            task,
            session.objects,
            jobs=jobs or os.cpu_count() or 1,
            sandbox=chosen,
            scratch=scratch,
            overlay=session.overlay,
            forward=forward,
            packages=packages,
        )
    from evogit.evaluation.engines.cluster import ClusterEvaluator
    from evogit.evaluation.engines.ray import RayCluster

    return ClusterEvaluator(
        task,
        session.objects,
        RayCluster(engine.address, engine.need()),
        need=engine.need(),
        jobs=jobs,
        sandbox=place.config.evaluation.sandbox,
        overlay=session.overlay,
        tell=tell or (lambda text: print(f"note: {text}", file=sys.stderr)),
    )
