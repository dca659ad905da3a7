"""The bin-packing task: its packer is exact, candidates compute and do nothing else, figures are the published ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

TASK = Path(__file__).parents[2] / "tasks" / "online-bin-packing"
SEED = (TASK / "seed/heuristic.py").read_text()


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of the task, as its fork server does: with the task's folder on the path."""
    import importlib

    monkeypatch.syspath_prepend(str(TASK))
    for name in ("packing", "loading", "evaluate", "report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


def best_fit_directly(sizes: np.ndarray, capacity: int) -> int:
    free: list[int] = []
    for size in sizes.tolist():
        fits = [n for n, space in enumerate(free) if space >= size]
        if fits:
            free[min(fits, key=lambda n: free[n])] -= size
        else:
            free.append(capacity - size)
    return len(free)


def test_lockstep_packing_is_best_fit_when_it_should_be(modules: Callable[[str], ModuleType]) -> None:
    packing = modules("packing")
    rng = np.random.default_rng(1)
    instances = [*packing.weibull(rng, 4, 300), *packing.weibull(rng, 5, 70), *packing.weibull(rng, 2, 1)]
    bins = packing.pack(lambda *arguments: -arguments[2], instances, 100)
    assert bins.tolist() == [best_fit_directly(row, 100) for row in instances]


def test_the_published_figures_are_reproduced() -> None:
    script = [
        sys.executable,
        str(TASK / "report.py"),
        "--heuristic",
        str(TASK / "seed/heuristic.py"),
        "--json",
        "--all",
    ]
    rows = {row["method"]: row for row in json.loads(subprocess.run(script, capture_output=True, check=True).stdout)}
    weibull = {name: round(row["weibull_5k_funsearch"], 2) for name, row in rows.items()}
    assert weibull["first fit"] == 4.23
    assert weibull["best fit"] == weibull["this run's champion"] == 3.98
    assert round(rows["Sum-of-Squares (JACM 2006)"]["weibull_5k_funsearch"], 3) == 0.483
    assert [round(rows["first fit"][f"or{n}"], 2) for n in (1, 2, 3, 4)] == [6.42, 6.45, 5.74, 5.23]
    assert [round(rows["Sum-of-Squares (JACM 2006)"][f"or{n}"], 2) for n in (1, 2, 3, 4)] == [13.66, 10.14, 7.11, 3.93]


def evaluate(modules: Callable[[str], ModuleType], folder: Path, body: str, **how: Any) -> dict[str, Any]:
    (folder / "heuristic.py").write_text(body)
    found: dict[str, Any] = modules("evaluate").evaluate(folder, **how)
    return found


def test_epochs_redraw_and_validation_does_not(modules: Callable[[str], ModuleType], tmp_path: Path) -> None:
    scores = [evaluate(modules, tmp_path, SEED, epoch=epoch, stage="training")["score"] for epoch in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    fixed = [evaluate(modules, tmp_path, SEED, epoch=epoch, stage="validation")["score"] for epoch in (0, 7)]
    assert fixed[0] == fixed[1]
    other = evaluate(modules, tmp_path, SEED, stage="training", parameters={"domain": "or"})["score"]
    assert other not in scores


CHEATS = [
    "import os\n",
    "import numpy.random as r\n",
    "from numpy import *\n",
    "x = ().__class__\n",
    "x = __builtins__\n",
    "x = eval('1')\n",
    "x = open('/etc/passwd')\n",
    "x = np.load('x')\n",
    "x = np.random\n",
    "x = getattr(np, 'load')\n",
    "import numpy as q\nx = q.ctypeslib\n",
    "class A: pass\n",
    "global x\n",
    "x = np.zeros(10).base\n",
    "x = f'{np!r}'\n",
    "x = 10 ** 99 ** 99 if False else 10000000000000000000000\n",
    "np.where = None\n",
]


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_candidate_can_compute_and_nothing_else(
    modules: Callable[[str], ModuleType], tmp_path: Path, cheat: str
) -> None:
    with pytest.raises((ValueError, NameError, AttributeError)):
        evaluate(modules, tmp_path, SEED + cheat)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return gap * (np.inf - np.inf)", "NaN"),
        ("return np.ones((3, 3))", "broadcast"),
        ("return 'text'", "numbers"),
        ("return None", "NaN|numbers"),
    ],
)
def test_what_is_no_score_is_refused(
    modules: Callable[[str], ModuleType], tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate(modules, tmp_path, SEED.replace("return -gap", body))


def test_arguments_cannot_be_used_to_alter_the_packing(modules: Callable[[str], ModuleType], tmp_path: Path) -> None:
    honest = evaluate(modules, tmp_path, SEED, stage="training")
    body = (
        "s = -gap.copy()\n    item *= 0\n    residual += 5\n    gap -= 7\n    open_at_residual += 3\n"
        "    open_at_gap += 9\n    return s"
    )
    assert evaluate(modules, tmp_path, SEED.replace("return -gap", body), stage="training") == honest


def test_a_short_run_beats_best_fit_from_the_command_line(tmp_path: Path) -> None:
    at = tmp_path / "packing"
    program = [sys.executable, "-m", "evogit"]
    subprocess.run([*program, "new", str(at), "--task", "online-bin-packing"], check=True, capture_output=True)
    for arguments in (
        ["run", "--deterministic", "--candidates", "120", "--seed", "1", "--agents", "tinker:6", "-q"],
        ["fsck"],
    ):
        subprocess.run([*program, "-C", str(at), *arguments], check=True, capture_output=True, timeout=170)
    best = json.loads(
        subprocess.run([*program, "-C", str(at), "best", "--json"], check=True, capture_output=True).stdout
    )
    assert best["validated"]
    assert best["score"] < 2.0, "best fit has 4.2"


def test_new_repositories_have_one_root(tmp_path: Path) -> None:
    heads = []
    for name in ("a", "b"):
        command = [sys.executable, "-m", "evogit", "new", str(tmp_path / name), "--task", "online-bin-packing"]
        subprocess.run(command, check=True, capture_output=True)
        head = subprocess.run(["git", "-C", str(tmp_path / name), "rev-parse", "HEAD"], check=True, capture_output=True)
        heads.append(head.stdout)
    assert heads[0] == heads[1]
