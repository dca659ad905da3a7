"""`demo`: watch a population evolve a bin-packing heuristic, offline, and see how good it became."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from evogit.cli.best import write_tree
from evogit.cli.place import Directory, RunName, folder, here

TASK = "online-bin-packing"


def demo(
    where: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The new folder (default: evogit-demo).")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to evolve.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
    agents: Annotated[str, typer.Option(help="The population.")] = "tinker:48",
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Evolve an online bin-packing heuristic from best fit, without any key or model, and report the result.

    Makes a new repository, evolves in it, then measures the champion on the released Weibull instances, which it has
    not seen, next to the published heuristics.
    """
    from evogit.cli import found
    from evogit.cli.run import evolve

    target = _free(folder(directory) / (where or "evogit-demo"))
    found.new(target, TASK)
    flags = {
        "run.task": TASK,
        "run.seed": seed,
        "budget.seconds": seconds,
        "population.agents": agents,
    }
    place = here(target, run, flags)
    print(f"evolving for {seconds:g} seconds …\n", flush=True)
    code = evolve(place, style="live" if sys.stdout.isatty() and not plain else "plain")
    champion = place.population().best()
    if champion is None:
        return code
    print("\nThe champion against the published heuristics, on instances it has not seen:\n", flush=True)
    _report(place.repository.root or target, champion.tree)
    print("\nWhat changed against best fit:\n", flush=True)
    subprocess.run(["git", "-C", str(target), "--no-pager", "diff", "main", champion.commit, "--", "."], check=False)
    print(
        f"\nnext: cd {target} && evogit status; evogit log --status accepted; evogit show best; "
        "git log --graph --oneline --all; evogit run --seconds 5m"
    )
    return code


def _free(path: Path) -> Path:
    """`path`, or the first of path-2, path-3 … that is not there."""
    number, found = 2, path
    while found.exists() and (not found.is_dir() or any(found.iterdir())):
        found = path.with_name(f"{path.name}-{number}")
        number += 1
    return found


def _report(root: Path, tree: str) -> None:
    from evogit.catalog import load_task

    task = load_task(TASK, None)
    with tempfile.TemporaryDirectory(prefix="evogit-report-") as scratch:
        champion, own = Path(scratch) / "champion", Path(scratch) / "task"
        write_tree(here(root, None), tree, champion)
        for path, data in task.files.items():
            (own / path).parent.mkdir(parents=True, exist_ok=True)
            (own / path).write_bytes(data)
        script = [sys.executable, str(own / "report.py"), "--heuristic", str(champion / "heuristic.py")]
        subprocess.run(script, check=False, cwd=scratch)
