"""`minimize` on real runs: exactly what matters is kept, nothing is evaluated twice, and noise is told from loss."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_git
from tests.functional.test_decisions import evogit
from tests.functional.test_engine import evogit as evolve
from tests.functional.test_engine import project

LINES = 240
MATTER = (12, 96, 100, 220)  # lines of which the score speaks; the change touches every fourth line
JUDGE = f"""
def evaluate(folder):
    lines = (folder / "program.py").read_text().splitlines()
    return {{"score": float(sum(lines[n] == f"x{{n}} = {{n + 1}}" for n in {MATTER}))}}
"""
NOISY = JUDGE.replace("def evaluate", "import random\n\n\ndef evaluate").replace(
    '"score": float(', '"score": random.gauss(0, 0.01) + float('
)


def text(changed: set[int]) -> str:
    return "".join(f"x{n} = {n + 1 if n in changed else n}\n" for n in range(LINES))


def champion(root: Path, judge: str, task: str = "") -> str:
    """A run with an adopted version whose change has 60 hunks, 4 of which matter."""
    root.mkdir()
    project(root, evaluate=judge, task=task)
    (root / "program.py").write_text(text(set()))
    run_git("commit", "-qam", "Many lines", cwd=root)
    evolve(root, "run", "--candidates", "1", "--seed", "1", "--agents", "shuffler:1", "--quiet")
    (root / "program.py").write_text(text(set(range(0, LINES, 4))))
    run_git("commit", "-qam", "Change sixty lines", cwd=root)
    mine = run_git("rev-parse", "HEAD", cwd=root)
    evogit(root, "adopt", mine)
    return mine


def said(at: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, *arguments, "--json", code=code))
    return found


def test_of_sixty_hunks_exactly_the_four_that_matter_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "p"
    mine = champion(root, JUDGE)
    found = said(root, "minimize", mine)
    assert (found["before"]["hunks"], found["after"]["hunks"]) == (60, 4)
    assert (found["before"]["score"], found["after"]["score"]) == (4.0, 4.0)
    assert found["evaluations"] <= 120
    assert len(found["dead"]) == 56
    assert run_git("show", f"{found['commit']}:program.py", cwd=root) + "\n" == text(set(MATTER))
    assert said(root, "best")["commit"] == mine, "trials are no champions"
    assert said(root, "replay", found["commit"])["counts"]["identical"] == 1
    # All of it is on record: the next call evaluates nothing, and so goes on after a kill.
    again = said(root, "minimize", mine)
    assert (again["commit"], again["evaluations"]) == (found["commit"], 0)
    assert "… and 36 more" in evogit(root, "minimize", mine)
    assert "nothing can be left out" in evogit(root, "minimize", found["commit"])
    assert run_git("status", "--porcelain", "--untracked-files=no", cwd=root) == ""
    assert "clean" in evogit(root, "fsck")


def test_a_tolerance_lets_parts_of_the_gain_go(tmp_path: Path) -> None:
    root = tmp_path / "p"
    mine = champion(root, JUDGE)
    found = said(root, "minimize", mine, "--tolerance", "25%")
    assert (found["after"]["hunks"], found["after"]["score"]) == (3, 3.0)
    assert "--tolerance" in evogit(root, "minimize", mine, "--tolerance", "much", code=2)
    assert "changes nothing" in evogit(root, "minimize", "base", code=2)


def test_noise_is_not_taken_for_loss(tmp_path: Path) -> None:
    root = tmp_path / "p"
    mine = champion(root, NOISY, task="noisy = true")
    found = said(root, "minimize", mine)
    assert found["holds"] is True
    assert found["after"]["hunks"] == 4
    assert found["after"]["score"] == pytest.approx(4, abs=0.1)


# What a run of 420 candidates found.
RULE = """(-gap) / np.where(
        open_at_gap * np.log1p(np.abs(np.abs(open_at_residual))),
        (open_at_gap + np.sqrt(np.abs(open_at_residual))) - (0.1 / (residual)),
        residual,
    )"""


def test_a_bin_packing_champion_shrinks_without_loss(tmp_path: Path) -> None:
    at = tmp_path / "p"
    shutil.copytree(Path(__file__).parents[2] / "tasks/online-bin-packing/seed", at)
    run_git("init", "-q", cwd=at)
    run_git("add", "-A", cwd=at)
    run_git("commit", "-qm", "start", cwd=at)
    evolve(at, "run", "--task", "online-bin-packing", "--agents", "tinker:1", "--candidates", "1", "--quiet")
    start = said(at, "show", "base")["entries"][1]["score"]
    seed = (at / "heuristic.py").read_text()
    (at / "heuristic.py").write_text(seed.replace("return -gap", f"return {RULE}"))
    run_git("commit", "-qam", "A rule from another run", cwd=at)
    champion = run_git("rev-parse", "HEAD", cwd=at)
    assert said(at, "adopt", champion)["score"] < start
    found = said(at, "minimize", champion)
    assert found["after"]["score"] <= found["before"]["score"] < start
    assert found["shortened"] >= 2
    size = {rev: len(run_git("show", f"{rev}:heuristic.py", cwd=at)) for rev in (champion, found["commit"])}
    assert size[found["commit"]] < size[champion]
    assert "clean" in evogit(at, "fsck")
