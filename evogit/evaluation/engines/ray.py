"""Ray as the cluster: connecting quietly, one actor a node, and what its errors mean. The only room that imports it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, cast

from evogit.errors import EvaluationError, UsageError
from evogit.evaluation.engines.cluster import Full, Lost
from evogit.evaluation.engines.placing import Resources, reserved
from evogit.evaluation.engines.shipping import Cargo
from evogit.evaluation.engines.station import Order, Reply, Station

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
KNOCK = 5.0  # seconds until an address counts as wrong: Ray itself tries for many minutes
CONNECT = 60.0  # seconds until Ray must have connected
WORKER = 30.0  # seconds that a node gets to start a worker, before fewer slots are tried
CALLS = 1000  # that a worker takes at once: slots are counted by the host


class RayCluster:
    """The Ray cluster at `address` ("auto": the one that this machine is part of)."""

    def __init__(self, address: str, need: Resources) -> None:
        self.address = address
        self._need = need
        self._ours = False

    async def connect(self) -> None:
        ray = _load()
        await asyncio.to_thread(_knock, self.address)
        trouble = (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError)
        join = partial(ray.init, self.address, logging_level=logging.CRITICAL, log_to_driver=False)
        try:
            async with asyncio.timeout(CONNECT):
                await _beside(join, trouble)
        except TimeoutError as error:
            raise EvaluationError(
                f"the Ray cluster at {self.address} does not answer as one. On this machine, type: ray status"
            ) from error
        except trouble as error:
            raise EvaluationError(_explained(self.address, error)) from error
        # Ray prints what happens to nodes to stderr, whatever its log level; its own debugger hides it the same way.
        ray._private.worker._worker_logs_enabled = False
        self._ours = True

    async def nodes(self) -> Mapping[str, Resources]:
        ray = _load()
        try:
            found = await asyncio.to_thread(ray.nodes)
        except ray.exceptions.RayError as error:
            raise Lost(_line(error)) from error
        return {str(node["NodeID"]): dict(node["Resources"]) for node in found if node["Alive"]}

    async def start(self, node: str, slots: int) -> tuple[RayWorker, int]:
        room = slots
        while room:
            worker = RayWorker(node, reserved(self._need, room))
            try:
                async with asyncio.timeout(WORKER):
                    await worker.ping()
                return worker, room
            except TimeoutError:
                worker.kill()
                room //= 2  # somebody else uses a part of the node
            except BaseException:  # also when cancelled: it would hold its node for ever
                worker.kill()
                raise
        raise Full("others use all of it")

    async def disconnect(self) -> None:
        if self._ours:
            self._ours = False
            await asyncio.to_thread(_load().shutdown)


class RayWorker:
    """A `Station` as an actor on one node."""

    def __init__(self, node: str, amounts: Mapping[str, float]) -> None:
        self._ray = ray = _load()
        rest = {name: amount for name, amount in amounts.items() if name not in ("CPU", "GPU", "memory")}
        where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        self._actor = (
            ray.remote(Station)
            .options(
                num_cpus=amounts.get("CPU", 0),
                num_gpus=amounts.get("GPU", 0),
                memory=amounts.get("memory"),
                resources=rest or None,
                max_concurrency=CALLS,
                scheduling_strategy=where,
            )
            .remote()
        )

    async def _answer(self, ref: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return await cast("Awaitable[Any]", ref)
        except asyncio.CancelledError:
            self._ray.cancel(ref)
            raise
        except (errors.TaskCancelledError, errors.RayActorError, errors.ObjectLostError) as error:
            raise Lost(_line(error)) from error
        except errors.RayTaskError as error:
            raise EvaluationError(f"a worker failed: {_line(error)}") from error
        except errors.RayError as error:
            raise Lost(_line(error)) from error

    async def open(self, order: Order) -> Reply:
        return cast("Reply", await self._answer(self._actor.open.remote(self._ray.put(order))))

    async def evaluate(self, cargo: Cargo, epoch: int, validation: bool) -> Reply:
        call = self._actor.evaluate.remote(cargo.tree, [*cargo.objects.values()], cargo.relies, epoch, validation)
        return cast("Reply", await self._answer(call))

    async def ping(self) -> None:
        await self._answer(self._actor.ping.remote())

    async def close(self) -> None:
        await self._answer(self._actor.close.remote())

    def kill(self) -> None:
        try:
            self._ray.kill(self._actor)
        except (ValueError, self._ray.exceptions.RayError):
            pass  # it is gone, or the connection is


def _load() -> Any:
    """Ray, quiet. Imported only here: it takes half a second and starts threads."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError("[engine] kind = \"ray\" needs Ray. Type: pip install 'evogit[ray]'") from error
    return ray


async def _beside(work: Callable[[], object], trouble: tuple[type[Exception], ...]) -> None:
    """Do `work` in a thread: it leaves signal handlers alone there, and may be left behind. `trouble` is passed on."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def labour() -> None:
        failure: Exception | None = None
        try:
            work()
        except trouble as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=labour, daemon=True).start()
    await done


def _knock(address: str) -> None:
    """Whether anybody listens at `address`. Raises `UsageError` or `EvaluationError`."""
    said = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if not said or said == "auto":
        return
    host, colon, port = said.rpartition(":")
    if not colon or "/" in host or not port.isdigit():
        raise UsageError(
            f"[engine] address {said!r}: expected HOST:PORT of a Ray cluster that this machine is a node of, or "
            '"auto". Join one by: ray start --address=HOST:PORT'
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise EvaluationError(f"no Ray cluster answers at {said} ({reason}). There, type: ray status") from error


def _explained(address: str, error: BaseException) -> str:
    text = _line(error)
    if "ersion mismatch" in str(error):
        python = ".".join(map(str, sys.version_info[:3]))
        return f"the Ray cluster at {address} has other versions than this machine (Python {python}): {text}"
    if isinstance(error, ConnectionError) and address == "auto":
        return "no Ray cluster runs on this machine. Type: ray start --head; or name one: [engine] address"
    return f"cannot use the Ray cluster at {address}: {text}"


def _line(error: BaseException) -> str:
    """What an error of Ray's says, in one line: of a trace, its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    trace = any(line.startswith("Traceback") or line.startswith("\x1b") or "ray::" in line for line in lines)
    return (lines[-1] if trace else " ".join(lines[:4]))[:300]
