"""The tasks whose candidates may only compute: the list of what is allowed holds, the references are what they say."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

TASKS = Path(__file__).parents[2] / "tasks"
NAMES = ("in-context-gd", "expert-router", "accelerator-selector")
MODULES = ("loading", "evaluate", "systems", "workloads")

Judge = Callable[[str], ModuleType]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Import a task's evaluate.py as its fork server does: with the task's folder on the path."""

    def load(task: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(TASKS / task))
        for name in MODULES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module("evaluate")

    return load


def test_the_list_of_what_is_allowed_is_one_and_the_same() -> None:
    assert len({(TASKS / name / "loading.py").read_bytes() for name in NAMES}) == 1


CHEATS = [
    "import os",
    "import numpy.random as r",
    "from numpy import *",
    "x = ().__class__",
    "x = __builtins__",
    "x = __import__('os')",
    "x = eval('1')",
    "x = open('/etc/passwd')",
    "x = np.load('x')",
    "x = np.random",
    "x = np.linalg.linalg",
    "x = getattr(np, 'load')",
    "import numpy as q\nx = q.linalg.solve",
    "import numpy as __builtins__",
    "class A: pass",
    "x = np.zeros(1).ctypes",
    "x = np.zeros(1).base",
    "x = np.zeros(1).tofile('/tmp/x')",
    "x = f'{np!r}'",
    "x = '{0.__class__}'.format(1)",
    "try:\n    x = 1\nexcept ValueError as e:\n    x = e.__traceback__",
    "x = 10000000000000000000000",
    "np.where = None",
    "def __getattr__(name): return 1",
    "@np.where\ndef f(): pass",
    "async def f(): pass",
    "def f():\n    yield 1",
    "match 1:\n    case _: pass",
    "with np.errstate(): pass",
    "del np",
    "x = (y := 1)",
]


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_candidate_computes_and_does_nothing_else(judge: Judge, tmp_path: Path, cheat: str) -> None:
    evaluate = judge("in-context-gd").evaluate
    honest = (TASKS / "in-context-gd/seed/weights.py").read_text()
    (tmp_path / "weights.py").write_text(f"{honest}\n{cheat}\n")
    with pytest.raises((ValueError, NameError, AttributeError)):
        evaluate(tmp_path)


def test_numpy_may_import_what_it_needs_of_itself(judge: Judge, tmp_path: Path) -> None:
    """Methods of arrays are written in C, and import by the builtins of whoever calls them."""
    judge("in-context-gd")
    load = importlib.import_module("loading").load
    path = tmp_path / "program.py"
    path.write_text("import numpy as np\ndef f(x):\n    return x.mean() + x.std() + x.clip(0, 1).sum() + x.var()\n")
    assert load(path, "f")(np.ones(3)) == 4.0


@pytest.mark.parametrize("variant", ["gd", "step-size", "momentum"])
def test_the_known_construction_is_exact_in_every_variant(judge: Judge, variant: str) -> None:
    evaluate = judge("in-context-gd").evaluate
    for stage in ("main", "validation"):
        scores = {
            name: evaluate(TASKS / "in-context-gd" / name, stage=stage, parameters={"variant": variant})["score"]
            for name in ("seed", "trials/reference")
        }
        assert 0.9 < scores["seed"] < 1.1
        assert scores["trials/reference"] < 1e-12


def test_gradient_descent_is_what_it_is_compared_with(judge: Judge) -> None:
    """With enough steps it arrives at least squares."""
    module = judge("in-context-gd")
    rng = np.random.default_rng(1)
    x, truth = rng.normal(size=(3, 30)), rng.normal(size=(2, 3))
    for momentum in (0.0, 0.5):
        found = module.descent(x, truth @ x, np.full(2000, 0.2), momentum)
        assert np.allclose(found, truth)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", ["None", "'text'", "[1, 2]", "[np.inf] * 5", "np.full((4, 4), np.inf)"])
def test_what_is_no_answer_is_refused(judge: Judge, tmp_path: Path, name: str, given: str) -> None:
    module = judge(name)
    file, function = {
        "in-context-gd": ("weights.py", "layer"),
        "expert-router": ("router.py", "learn"),
        "accelerator-selector": ("selector.py", "select"),
    }[name]
    (tmp_path / file).write_text(f"import numpy as np\ndef {function}(*arguments):\n    return {given}\n")
    with pytest.raises((ValueError, TypeError)):
        module.evaluate(tmp_path)


def test_the_systems_move_as_their_equations_say(judge: Judge) -> None:
    """An undamped oscillator keeps its energy, and an exact expert forecasts it."""
    module = judge("expert-router")
    systems = importlib.import_module("systems")
    family = systems.Family(lambda x, y, p: (y, -p[0] * x), (2.0,), (2.0,))
    states = systems.trajectories(family, 3, 60, np.random.default_rng(1))
    energy = 2.0 * states[..., 0] ** 2 + states[..., 1] ** 2
    assert np.allclose(energy, energy[:, :1], rtol=1e-4)
    exact = np.zeros((3, 10, 2))
    exact[:, 2, 0], exact[:, 1, 1] = 1.0, -2.0
    assert np.allclose(module.forecast(exact, states[:, 10]), states[:, 10:31], atol=1e-3)


def test_the_table_of_workloads_has_no_method_for_everything(judge: Judge) -> None:
    judge("accelerator-selector")
    workloads: Any = importlib.import_module("workloads")
    for shifted in (False, True):
        drawn = workloads.draw(2000, np.random.default_rng(1), shifted=shifted)
        speeds = workloads.speeds(drawn)
        assert np.isfinite(speeds).all()
        assert (speeds > 0).all()
        assert np.bincount(speeds.argmax(axis=1), minlength=8).max() < 0.45 * len(drawn)
