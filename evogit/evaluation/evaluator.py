"""Score a tree: a warm folder, the stages of the cascade in order, each in the sandbox, one after another.

Nothing stays behind when it is closed: no process, no folder. What a candidate does wrong is its `Evaluation`'s status;
an error raised here means that the evaluator itself cannot work.
"""

from __future__ import annotations

import asyncio
import base64
import os
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from evogit.catalog import Stage, Task
from evogit.errors import EvaluationError
from evogit.evaluation.broker import Allowance, Endpoint, Forward
from evogit.evaluation.forkserver import ForkServer, Job, ServerDied
from evogit.evaluation.inside.judging import ARTIFACT_BYTES, ARTIFACT_NAME, ARTIFACTS
from evogit.evaluation.inside.processes import empty
from evogit.evaluation.sandbox import Sandbox
from evogit.evaluation.workspace import TreeReader, Workspace, place, sweep
from evogit.values import Evaluation, Oid, Reason, better

__all__ = ["Evaluator", "sweep"]

USERS = 1 << 30  # user ids from here on belong to no account and to no container's range in common use
STARTS = 5  # fresh servers in a row that may die before the evaluator gives up


class Evaluator:
    """Evaluates up to `jobs` trees at once. An async context manager.

    Args:
        trees: where trees and blobs are read from.
        scratch: a private folder on disk, used when there is no memory-backed one.
        overlay: protected files of the starting version, path → bytes; the task's own files come on top.
        forward: asks the model that the task's candidates may ask.
        packages: path in a candidate's folder → a folder of this machine that is seen there, and only read.

    Raises:
        EvaluationError: the task's candidates ask a model, and there is none, or this is no sandbox for the task.
    """

    def __init__(
        self,
        task: Task,
        trees: TreeReader,
        *,
        jobs: int,
        sandbox: Sandbox,
        scratch: Path,
        overlay: Mapping[str, bytes] | None = None,
        forward: Forward | None = None,
        packages: Mapping[str, Path] | None = None,
    ) -> None:
        name = task.evaluation.model
        if name is not None and forward is None:
            raise EvaluationError(
                f"candidates of the task {task.name} ask the model {name!r} ([evaluation] model), and there is none: "
                f"configure [models.{name}] in .evogit/config.toml and type: evogit models check"
            )
        if "bubblewrap" in task.needs and sandbox.name == "landlock":
            raise EvaluationError(
                f"the programs that judge the task {task.name} do not run in the sandbox landlock, and bubblewrap is "
                "not used or does not work here. Type: evogit doctor"
            )
        self.sandbox = sandbox
        self._forward = forward
        self._endpoints: list[Endpoint] = []
        """One for each slot, where the task has a model."""
        self._task = task
        self._trees = trees
        self._jobs = jobs
        self._scratch = scratch
        self._overlay = {**(overlay or {}), **task.files}
        self._packages = {path: folder.resolve() for path, folder in (packages or {}).items()}
        self._judges = tuple(path for path in self._overlay if path.endswith(".py") and path.isascii())[:500]
        self._free: asyncio.Queue[Workspace] = asyncio.Queue()
        self._starting = asyncio.Lock()
        self._server: ForkServer | None = None
        self._pool: Path | None = None
        self._deaths = 0

    @property
    def slots(self) -> int:
        return self._jobs

    @property
    def confinement(self) -> str:
        return self.sandbox.name

    def report(self) -> Mapping[str, Any]:
        return {"kind": "local"}

    async def __aenter__(self) -> Self:
        self._pool = place(self._scratch)
        try:
            self._lay_out(self._pool)
            await self._serve()
        except BaseException:  # also when cancelled: `async with` calls no exit for an entry that failed
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None
        while self._endpoints:
            self._endpoints.pop().close()
        if self._pool is not None:
            empty(str(self._pool))
            self._pool.rmdir()
            self._pool = None

    def _lay_out(self, pool: Path) -> None:
        task = pool / "task"
        for path, data in self._task.files.items():
            target = task / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        task.mkdir(exist_ok=True)
        (pool / "slots").mkdir()
        for number in range(self._jobs):
            slot = pool / "slots" / str(number)
            owner = self._user(number)
            judges = frozenset(self._task.files)
            links = {path: str(folder) for path, folder in self._packages.items()}
            folders = slot / "candidate", slot / "scratch"
            space = Workspace(*folders, self._trees, self._overlay, owner, number, judges, links)
            space.prepare()
            self._offer(slot / "model", owner)
            self._free.put_nowait(space)

    def _offer(self, folder: Path, owner: int | None) -> None:
        """The endpoint of one more slot, if candidates ask a model."""
        spec = self._task.evaluation
        if spec.model is not None and self._forward is not None:
            allowance = Allowance(spec.model_requests, spec.model_tokens)
            self._endpoints.append(Endpoint(folder, allowance, self._forward, owner))
            self._endpoints[-1].open()

    def _user(self, slot: int) -> int | None:
        """As root, every slot's candidates run as a user of their own that nobody else on the machine has."""
        if self.sandbox.name != "bubblewrap" or os.geteuid() != 0:
            return None
        return USERS + (os.getpid() * 256 + slot) % USERS

    async def _serve(self) -> ForkServer:
        """The running server; a fresh one if it died."""
        async with self._starting:
            if self._server is not None and self._server.alive:
                return self._server
            if self._server is not None:
                await self._server.close()
                self._deaths += 1
                if self._deaths > STARTS:
                    raise EvaluationError("the fork server keeps dying. Type: evogit doctor")
            assert self._pool is not None
            spec = self._task.evaluation
            stages = [*spec.stages, *([spec.validation] if spec.validation else [])]
            self._server = ForkServer(
                self.sandbox,
                self._pool / "slots",
                self._pool / "task",
                functions=tuple(dict.fromkeys(stage.function for stage in stages if stage.function)),
                preload=spec.preload,
                jobs=self._jobs,
                model=bool(self._endpoints),
                packages=tuple(self._packages.values()),
            )
            await self._server.start()
            for endpoint, door in zip(self._endpoints, self._server.doors, strict=False):
                endpoint.attend(door)
            return self._server

    async def evaluate(self, tree: Oid, *, epoch: int = 0, validation: bool = False) -> Evaluation:
        """Score `tree` by the cascade, or by the validation stage.

        Raises:
            EvaluationError: the sandbox or the task's evaluator no longer works.
        """
        stages = self._task.evaluation.stages
        if validation:
            assert self._task.evaluation.validation is not None
            stages = (self._task.evaluation.validation,)
        space = await self._free.get()
        try:
            space.show(tree)
            if not self._endpoints:
                return await self._cascade(space, stages, epoch)
            async with self._endpoints[space.slot].session() as spent:
                evaluation = await self._cascade(space, stages, epoch)
            if spent.outage:
                evaluation = _unanswered(evaluation, spent.outage)
            return replace(evaluation, spent=spent.document())
        finally:
            self._free.put_nowait(space)

    async def _cascade(self, space: Workspace, stages: tuple[Stage, ...], epoch: int) -> Evaluation:
        seconds = 0.0
        evaluation = Evaluation(Reason.NO_RESULT.value)
        artifacts: dict[str, bytes] = {}
        for stage in stages:
            evaluation = await self._stage(space, stage, epoch)
            seconds += evaluation.seconds
            artifacts |= evaluation.artifacts
            if not evaluation.ok:
                break
            if not self._passes(stage, evaluation):
                evaluation = _stopped(stage, evaluation)
                break
        stage_name = evaluation.stage if len(stages) > 1 else ""
        return replace(evaluation, seconds=seconds, stage=stage_name, artifacts=artifacts)

    def _passes(self, stage: Stage, evaluation: Evaluation) -> bool:
        if stage.threshold is None or evaluation.score is None:
            return True
        return not better(self._task.direction, stage.threshold, evaluation.score)

    async def _stage(self, space: Workspace, stage: Stage, epoch: int) -> Evaluation:
        """A stage, as often as it repeats: the run with the median score, all scores as samples."""
        runs: list[Evaluation] = []
        for _ in range(stage.repeats):
            evaluation = await self._once(space, stage, epoch)
            if not evaluation.ok and space.mend():
                # Whoever cleans up or changes modes here disturbs the judge: that is not the candidate's failure.
                evaluation = await self._once(space, stage, epoch)
            if not evaluation.ok:
                return evaluation
            runs.append(evaluation)
        if len(runs) == 1:
            return runs[0]
        samples = tuple(run.score for run in runs if run.score is not None)
        names = runs[0].metrics.keys()
        metrics = {name: statistics.median(run.metrics.get(name, 0.0) for run in runs) for name in names}
        seconds = sum(run.seconds for run in runs)
        return replace(runs[-1], score=statistics.median(samples), metrics=metrics, samples=samples, seconds=seconds)

    async def _once(self, space: Workspace, stage: Stage, epoch: int) -> Evaluation:
        writable = stage.command is not None
        job = Job(
            str(space.folder),
            str(space.scratch),
            stage.function,
            stage.command,
            stage.name,
            epoch,
            self._task.parameters,
            stage.deadline,
            self._task.limits,
            writable,
            self._judges,
            space.owner or 0,
            str(self._endpoints[space.slot].folder) if self._endpoints else "",
            space.slot,
            self._task.evaluation.judge == "decides",
        )
        server = await self._serve()
        space.cover(judges=stage.function not in server.paired)
        scan = self.sandbox.name == "limits" or (writable and not server.layered)
        if scan:
            space.photograph()
        try:
            answer = await self._ask(job)
        finally:
            if scan:
                space.restore()
        return _read(answer, stage)

    async def _ask(self, job: Job) -> dict[str, Any]:
        for _ in range(2):
            try:
                server = await self._serve()
                answer = await server.run(job)
            except ServerDied:
                continue
            self._deaths = 0
            return answer
        return {"reason": "crashed", "detail": "the fork server died twice while this candidate was evaluated"}


def _stopped(stage: Stage, evaluation: Evaluation) -> Evaluation:
    """A candidate that missed a stage's threshold: the score becomes feedback."""
    text = f"stage {stage.name}: score {evaluation.score:.6g} does not reach {stage.threshold:.6g}"
    feedback = f"{text}\n{evaluation.feedback}".rstrip()
    return replace(evaluation, status=Reason.THRESHOLD.value, score=None, feedback=feedback)


def _unanswered(evaluation: Evaluation, why: str) -> Evaluation:
    """An evaluation during which the candidate's model was out of reach says nothing of the candidate."""
    feedback = f"the candidate's model did not answer: {why}\n{evaluation.feedback}".rstrip()
    return replace(evaluation, status=Reason.UNANSWERED.value, score=None, metrics={}, samples=(), feedback=feedback)


def _artifacts(answer: Mapping[str, Any]) -> dict[str, bytes]:
    """The judge's files. Checked again on this side: they become paths in a repository."""
    said = answer.get("artifacts", {}).items()
    named = [(name, data) for name, data in said if ARTIFACT_NAME.fullmatch(name)][:ARTIFACTS]
    found = {name: base64.b64decode(data) for name, data in named}
    return found if sum(map(len, found.values())) <= ARTIFACT_BYTES else {}


def _read(answer: Mapping[str, Any], stage: Stage) -> Evaluation:
    out, err = (base64.b64decode(answer.get(name, "")) for name in ("stdout", "stderr"))
    seconds = float(answer.get("seconds", 0.0))
    reason = answer.get("reason")
    if reason is None:
        return Evaluation(
            "ok",
            float(answer["score"]),
            answer["metrics"],
            answer["feedback"],
            seconds,
            stage.name,
            stdout=out,
            stderr=err,
            artifacts=_artifacts(answer),
        )
    if b"MemoryError" in err and reason == "failed":
        reason = "memory"
    detail = str(answer.get("detail", "")).strip()
    # A model out of reach is the broker's to tell, outside the sandbox.
    known = reason in set(Reason) and reason != Reason.UNANSWERED
    status = Reason(reason).value if known else Reason.CRASHED.value
    return Evaluation(status, None, {}, detail, seconds, stage.name, stdout=out, stderr=err)
