"""The wheel holds everything: built, installed elsewhere, and a population evolved from it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evogit import catalog

CHECKOUT = Path(__file__).parents[2]
TASK = "online-bin-packing"

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # By way of the source distribution, as a release is made: what .gitignore matches is lost on that way.
    # Without isolation: hatchling is one of the development tools, and tests have no network.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, CHECKOUT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; returns its bin folder.

    An offline test cannot install the dependencies again, so those that the wheel declares, and only those, are linked
    in from the environment that runs the tests: what the package needs but does not declare is missing here too.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder.parent)
    for name in sorted(required("evogit")):
        link(name, site_packages(folder))
    return folder / "bin"


def required(name: str) -> set[str]:
    """The distributions that `name` needs, theirs included, in this environment and without extras."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in importlib.metadata.requires(waiting.pop()) or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and canonicalize_name(requirement.name) not in found:
                found.add(canonicalize_name(requirement.name))
                waiting.append(requirement.name)
    return found


def link(name: str, target: Path) -> None:
    for file in importlib.metadata.files(name) or ():
        # Scripts stand outside ("../../../bin/x"); nothing here needs them.
        if ".." not in file.parts and file.suffix != ".pyc":
            there = target / file
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.locate(), there)
            except OSError:  # another file system
                shutil.copyfile(file.locate(), there)


def site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python*/site-packages")
    return folder


def shipped(kind: str) -> set[str]:
    """The definition files of the checkout as Git would take them: without what Python compiled."""
    files = (path for path in (CHECKOUT / kind).rglob("*") if path.is_file())
    return {
        path.relative_to(CHECKOUT).as_posix()
        for path in files
        if "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def test_every_definition_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"evogit/_builtin/{name}" for name in shipped("agents") | shipped("tasks")}
    assert expected
    assert expected - names == set()


def test_nothing_foreign_is_at_the_top(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"evogit"}


def test_no_compiled_python_is_in_the_wheel(wheel: Path) -> None:
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "__pycache__" in name or name.endswith(".pyc")] == []


def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import evogit; print(evogit.__file__)", cwd=tmp_path).strip()
    assert Path(where) == site_packages(installed.parent) / "evogit/__init__.py"


def test_it_lists_the_same_definitions_as_the_checkout(installed: Path, tmp_path: Path) -> None:
    tasks = json.loads(run(installed / "evogit", "tasks", "--json", cwd=tmp_path))
    agents = json.loads(run(installed / "evogit", "agents", "--json", cwd=tmp_path))
    assert sorted(row["name"] for row in tasks) == [task.name for task in catalog.list_tasks(None)]
    assert sorted(row["name"] for row in agents) == [agent.name for agent in catalog.list_agents(None)]


def test_a_population_evolves_from_it(installed: Path, tmp_path: Path) -> None:
    run(installed / "evogit", "new", "x", "--task", TASK, cwd=tmp_path)
    seed = catalog.load_task(TASK, None).seed
    listed = subprocess.run(["git", "ls-files"], cwd=tmp_path / "x", capture_output=True, text=True, check=True).stdout
    assert set(seed) <= set(listed.splitlines())
    # pip compiles what it installs, seed files too; they must not become part of the user's repository.
    assert "pyc" not in listed
    run(installed / "evogit", "run", "--candidates", "20", cwd=tmp_path / "x")
    best = json.loads(run(installed / "evogit", "best", "--json", cwd=tmp_path / "x"))
    assert best["candidates"] >= 20
    assert best["commit"]


def test_candidates_of_an_installed_evogit_do_not_see_its_tasks(installed: Path, tmp_path: Path) -> None:
    """They hold what judges expect, and stand where the interpreter does, which candidates must be able to read."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    task = tmp_path / "task"
    task.mkdir()
    (task / "task.toml").write_text(
        'direction = "maximize"\nevolve = ["x"]\n[evaluation]\nfunction = "judge.py:evaluate"\n'
    )
    (task / "goal.md").write_text("g\n")
    look = "import glob,sys; print(len([f for p in sys.path for f in glob.glob(p+'/evogit/_builtin/*/*')]))"
    (task / "judge.py").write_text(
        "def evaluate(folder, candidate):\n"
        f"    seen = candidate.run(['python', '-c', {look!r}]).text\n"
        "    return {'score': 1, 'feedback': seen}\n"
    )
    host = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from evogit.catalog import list_agents, load_task_folder\n"
        "from evogit.evaluation.evaluator import Evaluator\nfrom evogit.evaluation.sandbox import probe\n"
        "from evogit.evaluation.trying import Trees\n"
        "place, trees, agents = Path(sys.argv[1]), Trees(), len(list_agents(None))\n"
        "chosen, tree = probe('bubblewrap'), trees.add({'x': (b'', False)})\n"
        "async def main():\n"
        "    task = load_task_folder(place / 'task')\n"
        "    async with Evaluator(task, trees, jobs=1, sandbox=chosen, scratch=place / 's') as evaluator:\n"
        "        found = await evaluator.evaluate(tree)\n"
        "    print(found.status, int(found.feedback) - agents)\n"
        "asyncio.run(main())\n"
    )
    said = run(installed / "python", "-c", host, str(tmp_path), cwd=tmp_path)
    assert said.split() == ["ok", "0"], "the agents are seen there, and no task"
