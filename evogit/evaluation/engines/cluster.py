"""The host's side of a cluster: one worker a node, trees shipped once, what a lost worker began tried elsewhere.

Nothing here knows which cluster it is: `Cluster` and `Worker` are the seam (`ray.py` implements them).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from evogit import __version__
from evogit.errors import EvaluationError
from evogit.evaluation.engines.placing import Resources, placed
from evogit.evaluation.engines.shipping import Cargo, Manifest, Source
from evogit.evaluation.engines.station import Order, Reply
from evogit.evaluation.forkserver import MARGIN
from evogit.task import Task
from evogit.values import Evaluation, Oid, Reason

LOSSES = 4  # workers that may be lost under one evaluation before it counts as the candidate's doing
LOOK = 2.0  # seconds between looks at the nodes
SILENCE = 20.0  # seconds without an answer until a worker counts as lost
REST = 30.0  # seconds until a node that lost or refused a worker is asked again
PATIENCE = 120.0  # seconds without any worker until the run ends
CLOSING = 15.0  # seconds that workers get to clean up
SLACK = 60.0  # seconds that an evaluation may take beyond all its deadlines
REPACKS = 3
STARTS = 3  # tries to start a worker on a node: a busy machine may lose one before it has begun


class Lost(Exception):
    """A worker, or the way to it, is gone."""


class Full(Lost):
    """A node has no room for a worker."""


class Worker(Protocol):
    """A `Station` somewhere else. All but `kill` raise `Lost`; cancelling a call cancels it there."""

    async def open(self, order: Order) -> Reply: ...
    def evaluate(self, cargo: Cargo, epoch: int, validation: bool) -> Coroutine[Any, Any, Reply]: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...
    def kill(self) -> None: ...


class Cluster(Protocol):
    """A cluster as far as it is needed here."""

    @property
    def address(self) -> str: ...
    async def connect(self) -> None:
        """Raises `EvaluationError`."""

    async def nodes(self) -> Mapping[str, Resources]:
        """Living node → what it has in all. Raises `Lost`."""

    async def start(self, node: str, slots: int) -> tuple[Worker, int]:
        """A worker there, and for how many slots there was room. Raises `Lost`, of it `Full` where there was none."""

    async def disconnect(self) -> None: ...


@dataclass(eq=False)
class Member:
    """One worker at work. `gone` is done once it is lost."""

    node: str
    name: str
    sandbox: str
    worker: Worker
    slots: int
    gone: asyncio.Future[str]
    manifest: Manifest = field(default_factory=Manifest)
    busy: int = 0
    heard: float = 0.0


@dataclass
class Tally:
    """What the cluster did. `shipped` counts objects, `again` those of them that had been shipped there before."""

    evaluations: int = 0
    lost: int = 0
    retried: int = 0
    shipped: int = 0
    bytes: int = 0
    peak: int = 0
    """Evaluations in flight at once, at most."""


class ClusterEvaluator:
    """Evaluates trees on the nodes of a cluster. An async context manager; `Evaluates`.

    Args:
        jobs: evaluations at a time, at most; 0 for as many as the cluster has room for.
        need: what one evaluation needs of its node.
        tell: hears of nodes that were lost, came or refused.

    Raises:
        EvaluationError: the task's candidates ask a model; no node can evaluate.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        cluster: Cluster,
        *,
        need: Resources,
        jobs: int = 0,
        sandbox: Literal["auto", "bubblewrap", "landlock", "limits"] = "auto",
        overlay: Mapping[str, bytes] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        if task.evaluation.model is not None:
            raise EvaluationError(
                f"candidates of the task {task.name} ask the model {task.evaluation.model!r} ([evaluation] model), and "
                "the engine 'ray' gives them none. In .evogit/config.toml: [engine] kind = \"local\""
            )
        self._cluster, self._source, self._need, self._jobs, self._tell = cluster, source, need, jobs, tell
        # What a worker has no use for stays here, the sealed holdout above all.
        evaluation = task.evaluation.model_copy(update={"holdout": None})
        bare = dataclasses.replace(task, evaluation=evaluation, seed={}, sealed={}, source=None, definition="")
        self._order = Order(__version__, bare, dict(overlay or {}), sandbox, 0)
        stages = [*evaluation.stages, *([evaluation.validation] if evaluation.validation else [])]
        self._limit = SLACK + sum(2 * stage.repeats * (stage.deadline + MARGIN) for stage in stages)
        self._crew: dict[str, Member] = {}
        self._starting: dict[str, tuple[int, asyncio.Task[str]]] = {}
        self._resting: dict[str, float] = {}
        self._change = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None
        self._alone = time.monotonic()
        self.tally = Tally()

    @property
    def slots(self) -> int:
        return max(1, sum(member.slots for member in self._crew.values()))

    @property
    def confinement(self) -> str:
        return "/".join(sorted({member.sandbox for member in self._crew.values()})) or "none"

    def report(self) -> Mapping[str, Any]:
        nodes = {member.name: member.slots for member in sorted(self._crew.values(), key=lambda found: found.name)}
        address = self._cluster.address
        return {"kind": "ray", "address": address, "nodes": nodes, **dataclasses.asdict(self.tally)}

    async def __aenter__(self) -> Self:
        try:
            await self._cluster.connect()
            refusals: list[str] = []
            for _ in range(STARTS):  # under a limit only some nodes are tried, and one may have just gone
                self._staff(await self._cluster.nodes())
                refusals += filter(None, await asyncio.gather(*(task for _, task in self._starting.values())))
                self._starting.clear()
                if self._crew:
                    break
            if not self._crew:
                need = ", ".join(f"{name} {amount:g}" for name, amount in self._need.items())
                raise EvaluationError(
                    refusals[0] if refusals else f"no node at {self._cluster.address} has room for {need}"
                )
            self._watching = asyncio.create_task(self._watch())
        except BaseException as error:  # also when cancelled: `async with` calls no exit for an entry that failed
            await self.__aexit__()
            if isinstance(error, Lost):
                raise EvaluationError(f"the cluster at {self._cluster.address} went away: {error}") from error
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        chores: list[asyncio.Task[Any]] = [task for _, task in self._starting.values()]
        chores += [self._watching] if self._watching is not None else []
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        self._starting.clear()
        crew, self._crew = list(self._crew.values()), {}
        await asyncio.gather(*(self._dismiss(member.worker) for member in crew))
        await self._cluster.disconnect()

    @staticmethod
    async def _dismiss(worker: Worker) -> None:
        try:
            async with asyncio.timeout(CLOSING):
                await worker.close()
        except (TimeoutError, Lost):
            pass
        finally:
            worker.kill()

    # The crew

    def _staff(self, nodes: Mapping[str, Resources]) -> None:
        """Begin to start workers where there is room for more."""
        now = time.monotonic()
        ready = {node: has for node, has in nodes.items() if self._resting.get(node, 0.0) <= now}
        taken = {node: member.slots for node, member in self._crew.items()}
        taken |= {node: slots for node, (slots, _) in self._starting.items()}
        for node, slots in placed(ready, self._need, taken, self._jobs).items():
            self._starting[node] = (slots, asyncio.create_task(self._hire(node, slots)))

    async def _hire(self, node: str, slots: int) -> str:
        """Start and open a worker; why there is none, or nothing."""
        for left in reversed(range(STARTS)):
            try:
                worker, room, reply = await self._start(node, slots)
                break
            except Lost as error:
                if isinstance(error, Full) or not left:
                    return self._pass_over(node, str(error))
        if "open" not in reply:
            worker.kill()
            return self._pass_over(node, str(reply.get("refused", reply)))
        found = reply["open"]
        gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        name = f"{found['host']}-{node[:6]}"
        self._crew[node] = Member(node, name, found["sandbox"], worker, room, gone, heard=time.monotonic())
        async with self._change:
            self._change.notify_all()
        return ""

    async def _start(self, node: str, slots: int) -> tuple[Worker, int, Reply]:
        worker, room = await self._cluster.start(node, slots)
        try:
            return worker, room, await worker.open(dataclasses.replace(self._order, slots=room))
        except BaseException:  # also when cancelled: a worker that nobody knows would hold its node for ever
            worker.kill()
            raise

    def _pass_over(self, node: str, why: str) -> str:
        self._resting[node] = time.monotonic() + REST
        self._tell(f"node {node[:6]} is not used: {why}")
        return why

    async def _drop(self, member: Member, why: str) -> None:
        if self._crew.get(member.node) is not member:
            return
        del self._crew[member.node]
        self.tally.lost += 1
        self._alone = time.monotonic()
        self._resting[member.node] = time.monotonic() + REST
        member.gone.set_result(why)
        member.worker.kill()
        self._tell(f"node {member.name} is lost ({why}); what it had begun is tried elsewhere")
        async with self._change:
            self._change.notify_all()

    async def _watch(self) -> None:
        """See which nodes come and go, and whether the workers are still there."""
        while True:
            await asyncio.sleep(LOOK)
            for node, (_, chore) in list(self._starting.items()):
                if chore.done():
                    del self._starting[node]
                    if not await chore and node in self._crew:
                        self._tell(f"node {self._crew[node].name} joins with {self._crew[node].slots} slots")
            with contextlib.suppress(Lost):
                self._staff(await self._cluster.nodes())
            await asyncio.gather(*(self._hear(member) for member in list(self._crew.values())))
            async with self._change:
                self._change.notify_all()

    async def _hear(self, member: Member) -> None:
        try:
            async with asyncio.timeout(SILENCE / 2):
                await member.worker.ping()
            member.heard = time.monotonic()
        except TimeoutError:
            if time.monotonic() - member.heard > SILENCE:
                await self._drop(member, "it does not answer")
        except Lost as error:
            await self._drop(member, str(error))

    # Evaluations

    async def evaluate(self, tree: Oid, *, epoch: int = 0, validation: bool = False) -> Evaluation:
        why = ""
        for attempt in range(LOSSES):
            self.tally.retried += attempt > 0
            member = await self._seat()
            try:
                reply = await self._ask(member, tree, epoch, validation)
            except Lost as error:
                why = str(error)
                await self._drop(member, why)
                continue
            finally:
                member.busy -= 1
                async with self._change:
                    self._change.notify_all()
            if "evaluation" not in reply:
                raise EvaluationError(str(reply.get("refused", reply)))
            self.tally.evaluations += 1
            return Evaluation(**reply["evaluation"])
        text = f"{LOSSES} workers were lost while this candidate was evaluated, the last one so: {why}"
        return Evaluation(Reason.CRASHED.value, None, {}, text)

    async def _seat(self) -> Member:
        """A place on the worker with most room. Raises `EvaluationError` when there has been none for too long."""
        async with self._change:
            while True:
                free = [member for member in self._crew.values() if member.busy < member.slots]
                if free:
                    member = max(free, key=lambda found: (found.slots - found.busy, found.node))
                    member.busy += 1
                    self.tally.peak = max(self.tally.peak, sum(found.busy for found in self._crew.values()))
                    return member
                if not self._crew and time.monotonic() - self._alone > PATIENCE:
                    raise EvaluationError(
                        f"the cluster at {self._cluster.address} has no node left that evaluates. What was found is "
                        "kept; once there are nodes again, type: evogit run"
                    )
                await self._change.wait()

    async def _ask(self, member: Member, tree: Oid, epoch: int, validation: bool) -> Reply:
        for _ in range(REPACKS):
            cargo = member.manifest.pack(self._source, tree)
            self.tally.shipped += len(cargo.objects)
            self.tally.bytes += cargo.size
            try:
                reply = await self._call(member, cargo, epoch, validation)
            except BaseException:  # also when cancelled: nobody knows what of it has arrived
                member.manifest.failed(cargo)
                raise
            member.manifest.arrived(cargo)
            if "missing" not in reply:
                return reply
            member.manifest.forget(reply["missing"])
        raise Lost("it keeps losing what was shipped to it")

    async def _call(self, member: Member, cargo: Cargo, epoch: int, validation: bool) -> Reply:
        """Until it answers, is gone, or has had far more time than all its deadlines."""
        call = asyncio.create_task(member.worker.evaluate(cargo, epoch, validation))
        try:
            either: list[asyncio.Future[Any]] = [call, member.gone]
            await asyncio.wait(either, timeout=self._limit, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return await call
        finally:
            if not call.done():
                call.cancel()
                await asyncio.wait([call], timeout=MARGIN)
        if member.gone.done():
            raise Lost(member.gone.result())
        raise Lost(f"an evaluation had no end after {self._limit:.0f} s")
