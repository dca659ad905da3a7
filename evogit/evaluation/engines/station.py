"""What runs on a node of a cluster: an `Evaluator` in that node's sandbox, over a store of what was shipped to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import evogit
from evogit.catalog import Task
from evogit.config import default_cache
from evogit.errors import EvaluationError, EvoGitError, SandboxError
from evogit.evaluation import sandbox
from evogit.evaluation.evaluator import Evaluator, sweep
from evogit.evaluation.inside.processes import empty
from evogit.evaluation.workspace import PREFIX
from evogit.packages import installed
from evogit.store.objects import Objects
from evogit.store.shelf import create_shelf
from evogit.values import Oid

FLUSH_AT = 64 << 20  # bytes of objects kept in memory before they are written

Reply = Mapping[str, Any]
"""One of ``{"evaluation": …}``, ``{"missing": [ids]}``, ``{"refused": text}``, ``{"open": …}``."""


@dataclass(frozen=True)
class Order:
    """What a worker is to do: sent once to each."""

    version: str
    task: Task
    overlay: Mapping[str, bytes]
    sandbox: Literal["auto", "bubblewrap", "landlock", "limits"]
    slots: int


class Station:
    """One worker: `open` it, `evaluate`, `close` it. It never raises what the host should know: it replies."""

    def __init__(self) -> None:
        self._evaluator: Evaluator | None = None
        self._objects: Objects | None = None
        self._place: Path | None = None
        self._unwritten = 0

    async def open(self, order: Order) -> Reply:
        host = socket.gethostname()
        if order.version != evogit.__version__:
            return {
                "refused": f"{host} has EvoGit {evogit.__version__}, and this is {order.version}. "
                f"There: pip install evogit=={order.version}"
            }
        try:
            chosen = await asyncio.to_thread(sandbox.choose, order.sandbox)
        except SandboxError as error:
            return {"refused": f"{host}: {error}"}
        if not chosen.contains_free_code and order.sandbox != "limits":
            return {
                "refused": f"{host} has no sandbox that works ({sandbox.INSTALL}; there: evogit doctor). "
                "Or accept the risk: evogit run --no-sandbox"
            }
        scratch = Path(tempfile.gettempdir()) / f"evogit-stations-{os.geteuid()}"
        scratch.mkdir(mode=0o711, exist_ok=True)
        sweep(scratch)
        self._place = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=scratch))
        self._objects = create_shelf(self._place / "objects.git")
        files = {**order.overlay, **order.task.files}
        try:
            evaluator = Evaluator(
                order.task,
                self._objects,
                jobs=order.slots,
                sandbox=chosen,
                scratch=scratch,
                overlay=order.overlay,
                packages=await asyncio.to_thread(installed, order.task, files, default_cache(), lambda _: None),
            )
            self._evaluator = await evaluator.__aenter__()
        except EvoGitError as error:
            await self.close()
            return {"refused": str(error)}
        return {"open": {"host": host, "sandbox": chosen.name, "pid": os.getpid()}}

    async def evaluate(
        self,
        tree: Oid,
        objects: Sequence[tuple[int, bytes]],
        relies: Sequence[Oid],
        epoch: int,
        validation: bool,
    ) -> Reply:
        """Score `tree`, which is made of `objects` and of what is here already."""
        if self._evaluator is None or self._objects is None:
            return {"refused": "the worker is not open"}
        store = self._objects
        for kind, data in objects:  # the ids are made anew from the bytes: what is evaluated is what was asked
            store.put(kind, data)
            self._unwritten += len(data)
        missing = [oid for oid in relies if not store.has(oid)]
        if missing:
            return {"missing": missing}
        if self._unwritten > FLUSH_AT:
            self._unwritten = 0
            keep = store.flush()
            if keep is not None:
                keep.unlink(missing_ok=True)
        try:
            found = await self._evaluator.evaluate(tree, epoch=epoch, validation=validation)
        except EvaluationError as error:
            return {"refused": str(error)}
        document = {field.name: getattr(found, field.name) for field in fields(found)}
        return {"evaluation": document | {"metrics": dict(found.metrics), "spent": dict(found.spent)}}

    async def ping(self) -> int:
        return os.getpid()

    async def close(self) -> None:
        evaluator, self._evaluator = self._evaluator, None
        if evaluator is not None:
            await evaluator.__aexit__()
        place, self._place = self._place, None
        if place is not None:
            empty(str(place))
            with contextlib.suppress(OSError):
                place.rmdir()
