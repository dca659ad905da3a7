"""`bin-packing-designer`: programs that ask a model for solvers, over HTTP and the broker, on a budget of requests."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.chatserver import ChatServer
from tests.functional.test_cli import evogit

TASK = Path(__file__).parents[2] / "tasks/bin-packing-designer"
GREEDY = """def pack(items, capacity):
    bins = []
    for item in {order}:
        for one in bins:
            if sum(one) + item <= capacity:
                one.append(item)
                break
        else:
            bins.append([item])
    return bins
"""
FIRST_FIT = GREEDY.format(order="items")
DECREASING = GREEDY.format(order="sorted(items, reverse=True)")
FILLING = """def pack(items, capacity):
    left, bins = sorted(items, reverse=True), []
    while left:
        one = [left.pop(0)]
        free = capacity - one[0]
        best, held = (), 0
        for a, first in enumerate(left):
            if held == free:
                break
            if held < first <= free:
                best, held = (a,), first
            b = next((b for b in range(a + 1, len(left)) if first + left[b] <= free), None)
            if b is not None and first + left[b] > held:
                best, held = (a, b), first + left[b]
        one += [left[i] for i in best]
        left = [x for i, x in enumerate(left) if i not in best]
        bins.append(one)
    return bins
"""


@pytest.fixture
def packing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("designer_packing", TASK / "packing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fewest(items: list[int], capacity: int) -> int:
    """By trying everything."""
    bins: list[int] = []
    best = len(items)

    def place(at: int) -> None:
        nonlocal best
        if len(bins) >= best:
            return
        if at == len(items):
            best = len(bins)
            return
        for number in range(len(bins)):
            if bins[number] + items[at] <= capacity:
                bins[number] += items[at]
                place(at + 1)
                bins[number] -= items[at]
        bins.append(items[at])
        place(at + 1)
        bins.pop()

    place(0)
    return best


def test_the_bound_bounds_and_what_is_invalid_is_told(packing: ModuleType) -> None:
    rng = random.Random(4)
    reached = 0
    for _ in range(60):
        items = [rng.randint(5, 100) for _ in range(rng.randint(1, 9))]
        true = fewest(items, 150)
        assert -(-sum(items) // 150) <= packing.bound(items, 150) <= true
        reached += packing.bound(items, 150) == true
        for heuristic in (packing.first_fit_decreasing, packing.best_fit_decreasing):
            assert packing.wrong(heuristic(items, 150), items, 150) == ""
            assert len(heuristic(items, 150)) >= true
    assert reached > 40
    for name in packing.CLASSES:
        items = packing.instance(rng, name)
        assert set(map(type, items)) == {int}
        assert 20 <= min(items) <= max(items) <= 100
        if name.startswith("cut"):
            assert sum(items) % 150 == 0
            assert packing.bound(items, 150) >= len(items) // 3
    for bins, said in (
        ([[60, 60], [60]], "which are not the 2"),
        ([[60]], "which are not the 2"),
        ([[100, 60]], "which are not the 2"),
        ([[60, 61]], "which are not"),
        ([[True, 60]], "no integer"),
        ([60, 60], "not a list of lists"),
        (None, "not a list of lists"),
    ):
        assert said in packing.wrong(bins, [60, 60], 150)
    assert "more than the capacity" in packing.wrong([[60, 60]], [60, 60], 100)
    assert packing.wrong([], [], 100) == ""


def fenced(source: str) -> str:
    return f"Here you are:\n\n```python\n{source}```\nGood luck."


def scripted(body: dict[str, Any]) -> str:
    """A model that says rubbish at first, and does better once it is told of a better solver and what is wrong."""
    asked = body["messages"][-1]["content"]
    if "Improve this Python function" not in asked:
        return fenced(FIRST_FIT)
    return fenced(FILLING) if "check with care" in asked else "I would use a genetic algorithm."


def configured(at: Path, url: str) -> None:
    at.mkdir(exist_ok=True)
    (at / ".evogit").mkdir(exist_ok=True)
    with open(at / ".evogit/config.toml", "a") as file:
        file.write(f'\n[models.fast]\nmodel = "scripted"\nbase_url = "{url}"\n')


def test_the_check_asks_over_the_broker_and_tells_good_from_bad(repo: Path) -> None:
    without = evogit("tasks", "check", "bin-packing-designer", "--short", at=repo)
    assert without.returncode == 2
    assert "configure [models.fast] in .evogit/config.toml and type: evogit models check" in without.stderr
    with ChatServer(scripted) as server:
        configured(repo, server.url)
        unknown = evogit("tasks", "check", "bin-packing-designer", "--model", "fats", at=repo)
        assert "there is no model 'fats', did you mean 'fast'?" in unknown.stderr
        done = evogit("tasks", "check", "bin-packing-designer", "--short", "--model", "fast", "--json", at=repo)
        told = [message["content"] for body in server.asked for message in body["messages"]]
    report = json.loads(done.stdout)
    found = {each["name"]: each for each in report["findings"]}
    assert done.returncode == 0, report
    assert {"trials/reference", "trials/bad", "trials/hostile-greedy", "trials/hostile-claims"} <= found.keys()
    assert "beats the seed: score" in found["trials/reference"]["text"]
    # The broker let the greedy one ask six times, of sixty.
    assert sorted(text for text in told if text.startswith("Question ")) == [
        f"Question {number}: say something." for number in range(6)
    ]


def solver(text: str) -> str:
    """A designer that returns this solver."""
    return f"def design(instances, capacity, requests):\n    return {text!r}\n"


ASKS = """from asking import ask
def design(instances, capacity, requests):
    return [ask([{"role": "user", "content": "hello"}]) for _ in range(9)][0]
"""
CASES = {
    "decreasing": (solver(DECREASING), "ok", 0),
    "rubbish": (solver("First fit, of course."), "ok", 30),
    "one bin": (solver("def pack(items, capacity):\n    return [items]\n"), "ok", 30),
    "loses one": (solver(DECREASING.replace("return bins", "return bins[1:]")), "ok", 30),
    "no text": ("def design(instances, capacity, requests):\n    return design\n", "failed", None),
    "asks too often": (ASKS, "failed", None),
}


def test_what_a_designer_s_solver_does_is_counted(tmp_path: Path) -> None:
    """Through the judge and the sandbox, with the model over HTTP."""
    import asyncio

    from evogit import catalog
    from evogit.evaluation import sandbox
    from evogit.evaluation.evaluator import Evaluator
    from evogit.evaluation.trying import Trees
    from evogit.models.openai import connect
    from evogit.tables import ModelTable
    from evogit.values import Evaluation

    task, trees, chosen = catalog.load_task("bin-packing-designer", None), Trees(), sandbox.choose()

    async def run(url: str) -> dict[str, Evaluation]:
        chat = connect("fast", ModelTable(model="scripted", base_url=url), {})
        async with Evaluator(
            task, trees, jobs=1, sandbox=chosen, scratch=tmp_path / "s", forward=chat.complete
        ) as evaluator:
            found = {}
            for name, (text, _, _) in CASES.items():
                files = {**task.seed, "designer.py": (text.encode(), False)}
                found[name] = await evaluator.evaluate(trees.add(files))
        await chat.close()
        return found

    with ChatServer("hello") as server:
        found = asyncio.run(run(server.url))
    for name, (_, status, failures) in CASES.items():
        each = found[name]
        assert each.status == status, (name, each)
        if failures is not None:
            assert each.metrics["failures"] == failures, (name, each)
            assert each.score is not None
            assert (each.score > 100) == (failures > 0)
    assert found["asks too often"].spent["requests"] == 6
    assert "all 6 requests of this evaluation are used up" in found["asks too often"].feedback
    assert found["decreasing"].feedback == ""
    assert found["rubbish"].feedback.startswith("the solver failed on 30 unseen instances, first: SyntaxError")
    assert found["decreasing"].spent == {}


def test_a_run_evolves_designers_and_records_what_they_asked(tmp_path: Path) -> None:
    with ChatServer(fenced(DECREASING)) as server:
        made = evogit("new", "d", "--task", "bin-packing-designer", "--set", "seconds=20", at=tmp_path)
        assert made.returncode == 0, made.stderr
        at = tmp_path / "d"
        configured(at, server.url)
        ran = evogit("run", "--candidates", "3", "--seed", "1", "--agents", "tinker:2", "-q", at=at)
        assert ran.returncode == 0, ran.stderr
        assert evogit("fsck", at=at).returncode == 0
        rows = [json.loads(line) for line in evogit("log", "--json", at=at).stdout.splitlines()]
        best = json.loads(evogit("best", "--json", at=at).stdout)
        calls = len(server.asked)
    assert len(rows) >= 3
    assert 0 < best["score"] < 10
    assert calls >= 3
