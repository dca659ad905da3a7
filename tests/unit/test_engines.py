"""Clusters without a cluster: what is shipped, where there is room, and what happens when workers are lost."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evogit import __version__
from evogit.catalog import Task, load_task_folder
from evogit.errors import EvaluationError
from evogit.evaluation.engines import cluster, placing
from evogit.evaluation.engines.cluster import ClusterEvaluator, Lost
from evogit.evaluation.engines.shipping import Cargo, Manifest
from evogit.evaluation.engines.station import Order, Reply, Station
from evogit.store.objects import Objects
from evogit.store.shelf import create_shelf

FILE = 0o100644


@pytest.fixture
def store(tmp_path: Path) -> Objects:
    return create_shelf(tmp_path / "objects.git")


def shipped(manifest: Manifest, store: Objects, tree: str) -> int:
    cargo = manifest.pack(store, tree)
    manifest.arrived(cargo)
    return len(cargo.objects)


def test_what_a_worker_has_is_not_shipped_again(store: Objects) -> None:
    first = store.put_tree({"a/one": (b"1", FILE), "a/two": (b"2", FILE), "b/three": (b"3", FILE), "4": (b"1", FILE)})
    second = store.edit(first, {"a/one": b"new"})
    manifest = Manifest()
    assert shipped(manifest, store, first) == 6  # three trees, and three blobs, one of which stands twice
    assert shipped(manifest, store, first) == 0
    assert shipped(manifest, store, second) == 3  # the file, its folder, the root
    assert shipped(manifest, store, first) == 0
    assert shipped(Manifest(), store, second) == 7


def test_what_is_under_way_is_relied_on_and_shipped_again_if_it_fails(store: Objects) -> None:
    first = store.put_tree({"a/one": (b"1", FILE), "two": (b"2", FILE)})
    second = store.edit(first, {"two": b"new"})
    manifest = Manifest()
    one = manifest.pack(store, first)
    two = manifest.pack(store, second)
    assert len(two.objects) == 2
    folder = store.tree(first)[b"a"][1]
    assert two.relies == (folder,)
    manifest.failed(one)
    manifest.arrived(two)
    assert manifest.pack(store, first).objects.keys() == one.objects.keys()


def test_what_the_worker_misses_is_shipped_again(store: Objects) -> None:
    tree = store.put_tree({"a/one": (b"1", FILE)})
    manifest = Manifest()
    cargo = manifest.pack(store, tree)
    manifest.arrived(cargo)
    manifest.forget(cargo.objects)
    assert shipped(manifest, store, tree) == 3


@pytest.mark.parametrize(
    ("has", "need", "count"),
    [
        ({"CPU": 8.0}, {"CPU": 1.0}, 8),
        ({"CPU": 8.0}, {"CPU": 0.1}, 80),
        ({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.5}, 2),
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}, 0),
        ({"CPU": 8.0, "licence": 3.0}, {"CPU": 2.0, "licence": 1.0}, 3),
        ({"CPU": 8.0, "memory": 5e9}, {"CPU": 1.0, "memory": 2e9}, 2),
        ({"CPU": 9999.0}, {"CPU": 1.0}, placing.CEILING),
    ],
)
def test_how_many_fit(has: Mapping[str, float], need: Mapping[str, float], count: int) -> None:
    assert placing.fits(has, need) == count


def test_slots_are_dealt_out_among_nodes() -> None:
    nodes = {"a": {"CPU": 4.0}, "b": {"CPU": 1.0}, "c": {}}
    assert placing.placed(nodes, {"CPU": 1.0}, {}) == {"a": 4, "b": 1}
    assert placing.placed(nodes, {"CPU": 1.0}, {}, 2) == {"a": 1, "b": 1}
    assert placing.placed(nodes, {"CPU": 1.0}, {}, 4) == {"a": 3, "b": 1}
    assert placing.placed(nodes, {"CPU": 1.0}, {"a": 4}) == {"b": 1}
    assert placing.placed(nodes, {"CPU": 1.0}, {"a": 1}, 1) == {}


def test_above_one_only_whole_numbers_are_asked_for() -> None:
    assert placing.reserved({"CPU": 1.0, "GPU": 0.5}, 3) == {"CPU": 3.0, "GPU": 2.0}
    assert placing.reserved({"CPU": 0.1, "GPU": 0.0}, 3) == {"CPU": pytest.approx(0.3)}


@dataclass
class Here:
    """A worker in this process: a real `Station`, which can be made to break off after so many evaluations."""

    station: Station
    breaks_after: int
    begun: int = 0

    async def open(self, order: Order) -> Reply:
        return await self.station.open(order)

    async def evaluate(self, cargo: Cargo, epoch: int, validation: bool) -> Reply:
        self.begun += 1
        if self.begun > self.breaks_after:
            raise Lost("it broke off")
        return await self.station.evaluate(cargo.tree, [*cargo.objects.values()], cargo.relies, epoch, validation)

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        await self.station.close()

    def kill(self) -> None:
        return None


@dataclass
class Room:
    """A cluster in this process. `breaks_after`: node → evaluations until its worker is lost.

    `stillborn`: so many workers are lost before they begin.
    """

    breaks_after: Mapping[str, int]
    stillborn: int = 0
    workers: list[Here] = field(default_factory=list)
    address: str = "here"

    async def connect(self) -> None:
        return None

    async def nodes(self) -> Mapping[str, placing.Resources]:
        return {node: {"CPU": 1.0} for node in self.breaks_after}

    async def start(self, node: str, slots: int) -> tuple[Here, int]:
        if self.stillborn:
            self.stillborn -= 1
            raise Lost("it died before it began")
        self.workers.append(Here(Station(), self.breaks_after[node]))
        return self.workers[-1], slots

    async def disconnect(self) -> None:
        for worker in self.workers:
            await worker.close()


TASK = """direction = "maximize"
evolve = ["*.txt"]
[evaluation]
function = "evaluate.py:evaluate"
"""


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "task.toml").write_text(TASK)
    (folder / "goal.md").write_text("More.\n")
    (folder / "evaluate.py").write_text("def evaluate(folder):\n    return float((folder / 'x.txt').read_text())\n")
    return load_task_folder(folder)


async def scores(room: Room, task: Task, store: Objects, count: int) -> tuple[list[float | None], ClusterEvaluator]:
    trees = [store.put_tree({"x.txt": (str(n).encode(), FILE)}) for n in range(count)]
    async with ClusterEvaluator(task, store, room, need={"CPU": 1.0}, sandbox="limits") as evaluator:
        found = await asyncio.gather(*(evaluator.evaluate(tree) for tree in trees))
    return [evaluation.score for evaluation in found], evaluator


def test_what_a_lost_worker_began_is_tried_elsewhere(task: Task, store: Objects) -> None:
    found, evaluator = asyncio.run(scores(Room({"a": 0, "b": 99}), task, store, 8))
    assert found == [float(n) for n in range(8)]
    assert (evaluator.tally.lost, evaluator.tally.retried, evaluator.tally.evaluations) == (1, 1, 8)
    assert evaluator.tally.peak == 2


def test_a_candidate_under_which_workers_are_lost_again_and_again_has_crashed(task: Task, store: Objects) -> None:
    async def crash() -> tuple[str, str]:
        room = Room({f"{n}": 0 for n in range(cluster.LOSSES + 1)})
        tree = store.put_tree({"x.txt": (b"1", FILE)})
        async with ClusterEvaluator(task, store, room, need={"CPU": 1.0}, sandbox="limits") as evaluator:
            found = await evaluator.evaluate(tree)
        return found.status, found.feedback

    status, feedback = asyncio.run(crash())
    assert status == "crashed"
    assert feedback.endswith("the last one so: it broke off")


def test_a_worker_that_dies_at_its_start_is_started_again(task: Task, store: Objects) -> None:
    found, evaluator = asyncio.run(scores(Room({"a": 9}, stillborn=cluster.STARTS - 1), task, store, 2))
    assert found == [0.0, 1.0]
    assert evaluator.tally.lost == 0
    with pytest.raises(EvaluationError, match="it died before it began"):
        asyncio.run(scores(Room({"a": 9}, stillborn=cluster.STARTS), task, store, 2))


def test_a_worker_of_another_version_refuses(task: Task) -> None:
    reply = asyncio.run(Station().open(Order("0.0.0", task, {}, "limits", 1)))
    assert "and this is 0.0.0" in reply["refused"]


def test_a_node_without_the_sandbox_asked_for_refuses(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    reply = asyncio.run(Station().open(Order(__version__, task, {}, "bubblewrap", 1)))
    assert "bubblewrap is not installed" in reply["refused"]
    assert reply["refused"].startswith(socket.gethostname())


def test_where_there_is_no_room_the_need_is_told(task: Task, store: Objects) -> None:
    async def fail() -> None:
        async with ClusterEvaluator(task, store, Room({"a": 1}), need={"CPU": 1.0, "GPU": 2.0}, sandbox="limits"):
            raise AssertionError("opened")

    with pytest.raises(EvaluationError, match="no node at here has room for CPU 1, GPU 2"):
        asyncio.run(fail())


def test_programs_that_ask_a_model_are_refused(task: Task, store: Objects) -> None:
    asking = dataclasses.replace(task, evaluation=task.evaluation.model_copy(update={"model": "fast"}))
    with pytest.raises(EvaluationError, match=r"ask the model 'fast'.*kind = .local."):
        ClusterEvaluator(asking, store, Room({"a": 1}), need={"CPU": 1.0})
