"""Which paths may change: by example, and against Git's own reading of the same patterns."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit import globs
from evogit.globs import Editable
from tests.conftest import run_git

PATHS = (
    "a",
    "b.py",
    "src/a",
    "src/b.py",
    "src/.b.py",
    "src/deep/a",
    "src/deep/er/b.py",
    "lib/a",
    "lib/src/b.py",
    "x y/[a]",
)
PARTS = (
    "**",
    "*",
    "?",
    "a",
    "b.py",
    "src",
    "lib",
    "*.py",
    ".*",
    "[a-l]*",
    "[!s]*",
    "[^a]?b",
    "deep",
    "s*",
    "x y",
    "*]",
    "a]",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for path in PATHS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    run_git("init", "--quiet", cwd=folder)
    run_git("add", "--all", cwd=folder)
    return folder


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=4))
def test_patterns_mean_what_they_mean_to_git(tree: Path, parts: list[str]) -> None:
    pattern = "/".join(parts)
    listed = run_git("ls-files", "-z", "--", f":(top,glob){pattern}", cwd=tree)
    matches = globs.compile_globs([pattern]).fullmatch
    assert [path for path in PATHS if matches(path)] == [path for path in PATHS if path in listed.split("\0")]


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("heuristic.py", "heuristic.py", True),
        ("heuristic.py", "deep/heuristic.py", False),
        ("**/heuristic.py", "heuristic.py", True),
        ("src", "src/deep/a.py", True),
        ("src/", "src/deep/a.py", True),
        ("s*/", "src/deep/a.py", True),
        ("src/", "src", False),
        ("src/*", "src/a.py", True),
        ("src/*", "src/deep/a.py", False),
        ("src/*.py", "src/deep/a.py", False),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/a/b/c.py", True),
        ("**", "any/thing", True),
        ("a.c", "abc", False),
        ("[ab].c", "b.c", True),
        ("a\nb", "a\nb", True),
    ],
)
def test_patterns_by_example(pattern: str, path: str, covered: bool) -> None:
    assert Editable([pattern], [])(path) is covered


PROTECTED = ("fixed/a", "src/secret.py", "evaluate.py", "Evaluate.PY", ".evogit/tasks/x/task.toml")
OUTSIDE = ("../a", "/a", "a//b", "./a", "", ".git/config", "sub/.GIT/hooks/x")


@pytest.mark.parametrize("path", [*PROTECTED, *OUTSIDE])
def test_what_is_protected_wins(path: str) -> None:
    assert not Editable(["**"], ["fixed", "**/secret.*"], ["evaluate.py"])(path)


def test_nothing_is_editable_without_a_pattern() -> None:
    assert not Editable([], [])("a")


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "/etc", "../x", "a/../b", "a\\b", "~/x", "C:/x", ".git", "a/.GIT/b", "./a", "a//b", "a\0b"],
)
def test_patterns_that_leave_the_tree_are_refused(pattern: str) -> None:
    assert globs.check(pattern)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_pattern_is_either_refused_or_works(pattern: str, path: str) -> None:
    if globs.check(pattern) is None:
        assert Editable([pattern], [])(path) in (True, False)
