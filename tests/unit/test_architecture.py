"""The design's directions of import, checked on the syntax trees: who may know whom, and who owns which library."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "evogit"

FLOORS = (
    {"errors"},
    {"values"},
    {"toml", "globs", "needs", "numbering"},
    {"definitions"},
    {"tables"},
    {"task", "config"},
    {"taskfile"},
    {"catalog"},
    {"scaffold", "fetching", "packages", "example", "scheduling"},
    {"models", "store"},
    {"variation", "evaluation", "phylogeny"},
    {"evolution"},
    {"review"},
    {"cli"},
)
"""From the ground up. A room may import rooms of lower floors, and none of its own floor."""

FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

OWNERS = {
    "typer": ("evogit/cli/",),
    "click": ("evogit/cli/",),
    "rich": ("evogit/cli/",),
    "openai": ("evogit/models/openai.py",),
    "httpx2": ("evogit/models/openai.py", "evogit/models/wire.py"),
    "jinja2": ("evogit/models/prompt.py",),
    "git": (
        "evogit/store/repository.py",
        "evogit/store/remote.py",
        "evogit/store/bundle.py",
        "evogit/store/salvage.py",
    ),
    "pygit2": ("evogit/store/",),
    "networkx": ("evogit/phylogeny/",),
    "ray": ("evogit/evaluation/engines/ray.py",),
    "crontab": ("evogit/scheduling/expression.py", "evogit/scheduling/tab.py"),
    "platformdirs": ("evogit/config.py",),
}

BANNED_WORDS = {"utils", "helpers", "manager", "base", "misc"}


def violations(sources: Mapping[str, str]) -> list[str]:
    """What breaks the architecture in `sources` (path → text), as lines to read."""
    found = []
    for path, text in sources.items():
        tree = ast.parse(text, path)
        if not ast.get_docstring(tree):
            found.append(f"{path}: has no docstring that says its reason to exist")
        if set(Path(path).with_suffix("").parts) & BANNED_WORDS:
            found.append(f"{path}: its name says nothing")
        for line, module in imported(tree, path):
            found += [f"{path}:{line}: {problem}" for problem in problems(path, module)]
    return found


def imported(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Each imported module with its line, also those inside functions; relative imports made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = Path(path).parts[:-1]
            parts = [*package[: len(package) - node.level + 1], node.module] if node.level else [node.module]
            module = ".".join(part for part in parts if part)
            if module == "evogit":
                yield from ((node.lineno, f"evogit.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def problems(path: str, module: str) -> Iterator[str]:
    top, _, rest = module.partition(".")
    owners = OWNERS.get(top)
    if owners and not path.startswith(owners):
        yield f"{top} belongs to {' and '.join(owners)}"
    if top in ("tests", "benchmarks"):
        yield f"the package must not import {top}"
    here, there = room_of(path), rest.partition(".")[0]
    if top != "evogit" or not there or there == "__version__" or here == there or here == "__main__":
        return
    if there not in FLOOR:
        yield f"imports {there}, which has no floor in this test"
    elif FLOOR.get(here, -1) <= FLOOR[there]:
        yield f"{here} must not import {there}"


def room_of(path: str) -> str:
    return Path(path).with_suffix("").parts[1]


def package_sources() -> dict[str, str]:
    files = sorted(path for path in PACKAGE.rglob("*.py") if "_builtin" not in path.parts)
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


def test_imports_point_one_way() -> None:
    assert violations(package_sources()) == []


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in package_sources()} - {"__init__", "__main__"}
    assert rooms <= FLOOR.keys()


@pytest.mark.parametrize(
    ("path", "line", "problem"),
    [
        ("evogit/store/refs.py", "import evogit.cli.main", "store must not import cli"),
        ("evogit/store/refs.py", "from evogit import models", "store must not import models"),
        ("evogit/store/refs.py", "from ..evolution.engine import run", "store must not import evolution"),
        ("evogit/variation/merge.py", "from evogit.evaluation import sandbox", "variation must not import evaluation"),
        ("evogit/evaluation/x.py", "def f():\n    from evogit.variation import edits", "must not import variation"),
        ("evogit/errors.py", "from evogit.values import Oid", "errors must not import values"),
        ("evogit/config.py", "from evogit.task import Task", "config must not import task"),
        ("evogit/evolution/engine.py", "from rich.live import Live", "rich belongs to evogit/cli/"),
        ("evogit/store/objects.py", "import git", "git belongs to"),
        ("evogit/models/other.py", "import openai", "openai belongs to evogit/models/openai.py"),
        ("evogit/review/land.py", "import pygit2", "pygit2 belongs to evogit/store/"),
        ("evogit/evaluation/engines/local.py", "import ray", "ray belongs to"),
        ("evogit/store/graph.py", "import networkx as nx", "networkx belongs to evogit/phylogeny/"),
        ("evogit/cli/main.py", "from tests.conftest import run_git", "must not import tests"),
        ("evogit/cli/main.py", "import evogit.attic", "attic, which has no floor"),
        ("evogit/store/utils.py", "import os", "its name says nothing"),
    ],
)
def test_the_check_can_fail(path: str, line: str, problem: str) -> None:
    (found,) = violations({path: f'"""Synthetic."""\n{line}\n'})
    assert problem in found


def test_a_module_without_docstring_is_found() -> None:
    (found,) = violations({"evogit/store/refs.py": "import os\n"})
    assert "docstring" in found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("evogit/store/objects.py", "import pygit2.enums"),
        ("evogit/store/repository.py", "import git"),
        ("evogit/cli/main.py", "from evogit.evolution.engine import run"),
        ("evogit/evolution/engine.py", "from evogit import store, variation, evaluation"),
        ("evogit/store/refs.py", "from .objects import write\nfrom evogit.errors import StoreError"),
    ],
)
def test_what_is_allowed_passes(path: str, line: str) -> None:
    assert violations({path: f'"""Synthetic."""\n{line}\n'}) == []
