"""What every test gets without asking: a home, an identity and a clock of its own, and no network."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pygit2
import pygit2.enums
import pytest

Git = Callable[..., str]
T = TypeVar("T")

# xdist's workers inherit the home of the process that started them, which is no longer the real one.
_REAL_HOME = Path(os.environ.setdefault("EVOGIT_TEST_REAL_HOME", os.environ.get("HOME", "/nonexistent")))
_IN_CI = os.environ.get("EVOGIT_CI") == "1"
_CI_WITHOUT = os.environ.get("EVOGIT_CI_WITHOUT", "").split()

_FOREIGN = ("EVOGIT_", "OPENAI_", "AZURE_", "ANTHROPIC_", "GIT_", "XDG_")
_FOREIGN_NAMES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "PYTHONPATH", "LANG", "LANGUAGE")
_OUR_CACHES = {".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache", ".venv"}

_GIT_CONFIG = """\
[init]
    defaultBranch = main
[commit]
    gpgSign = false
[gc]
    auto = 0
[maintenance]
    auto = false
[protocol "file"]
    allow = always
"""


def hermetic_environment(home: Path) -> dict[str, str]:
    """What a test's environment says about the user; the same on every machine, so that commit ids reproduce."""
    (home / ".gitconfig").write_text(_GIT_CONFIG)
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ada Author",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_AUTHOR_DATE": "2025-01-02T03:04:05+0000",
        "GIT_COMMITTER_NAME": "Carl Committer",
        "GIT_COMMITTER_EMAIL": "carl@example.org",
        "GIT_COMMITTER_DATE": "2025-01-02T03:04:05+0000",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


@pytest.fixture(autouse=True)
def hermetic(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The test's own home folder; the environment knows nothing of the machine's user."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        proxy = name.lower().endswith("_proxy")
        if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES or proxy:
            monkeypatch.delenv(name)
    for name, value in hermetic_environment(home).items():
        monkeypatch.setenv(name, value)
    time.tzset()
    # libgit2 looks for the user's configuration once, when it is loaded, not through GIT_CONFIG_GLOBAL.
    for level in (pygit2.enums.ConfigLevel.GLOBAL, pygit2.enums.ConfigLevel.XDG, pygit2.enums.ConfigLevel.SYSTEM):
        pygit2.settings.search_path[level] = str(home if level == pygit2.enums.ConfigLevel.GLOBAL else home / "none")
    yield home
    monkeypatch.undo()
    time.tzset()


def photograph(home: Path) -> Mapping[str, int]:
    """What a careless program would change in a home folder: its entries, Git's configuration, folders of ours."""
    if not home.is_dir():
        return {}
    seen = {entry.name: 0 for entry in home.iterdir() if entry.name not in _OUR_CACHES}
    watched = [home / ".gitconfig", home / ".config/git/config"]
    watched += [home / place / "evogit" for place in (".config", ".cache", ".local/share", ".local/state")]
    return seen | {str(path.relative_to(home)): path.stat().st_mtime_ns for path in watched if path.exists()}


@pytest.fixture(autouse=True)
def untouched_home() -> Iterator[None]:
    """Fail a test that creates or changes anything in the real home folder (as pre-commit's own tests do)."""
    before = photograph(_REAL_HOME)
    yield
    after = photograph(_REAL_HOME)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, f"the test changed the real home folder: {', '.join(changed)}"


def is_local(address: Any) -> bool:
    """Whether a socket address stays on this machine: a Unix socket or a loopback address."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return host in ("", "localhost") or ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _no_network(event: str, arguments: tuple[Any, ...]) -> None:
    # UDP's connect sends nothing, but nothing here needs it either.
    if event == "socket.connect" and not is_local(arguments[1]):
        pytest.fail(f"the test tried to reach {arguments[1]}; tests stay on this machine")
    if event == "socket.getaddrinfo" and arguments[0] is not None:
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if not is_local((host,)):
            pytest.fail(f"the test tried to look up {host}; tests stay on this machine")


def pytest_configure(config: pytest.Config) -> None:
    """Before any fixture, those of modules and sessions included: a home that is not the real one, and no network."""
    home = tempfile.TemporaryDirectory(prefix="evogit-tests-")
    config.add_cleanup(home.cleanup)
    os.environ.update(hermetic_environment(Path(home.name)))
    sys.addaudithook(_no_network)
    # A machine that is busy with something else is no reason to fail: Hypothesis measures wall-clock time by default.
    hypothesis.settings.register_profile(
        "evogit", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("evogit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever the shuffle says: the longest tests begin first, lest all wait for one of them at the end."""
    longest = [item.get_closest_marker("longest") is not None for item in items]
    items[:] = dealt(items, longest, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def dealt(items: Sequence[T], longest: Sequence[bool], workers: int) -> list[T]:
    """Items in the order in which each of the workers begins with its share of the longest ones.

    `--dist worksteal` gives each worker a stretch of the list, in equal parts, and lets others take from its end.
    """
    first, rest = (
        [item for item, is_long in zip(items, longest, strict=True) if is_long == wanted] for wanted in (True, False)
    )
    out: list[T] = []
    for left in range(workers, 0, -1):
        stretch = (len(first) + len(rest)) // left
        share = min(stretch, -(-len(first) // left))
        out += first[:share] + rest[: stretch - share]
        first, rest = first[share:], rest[stretch - share :]
    return out


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test skipped for want of a package that `.ci/run` should have installed has failed."""
    report = yield
    if _IN_CI and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].lower().replace("bwrap", "bubblewrap")
        if "cannot be installed here" in reason or "which is not installed" in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, where it can be installed: {reason}"
            return report
        if "bubblewrap" in reason and "bubblewrap" not in _CI_WITHOUT:
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, where bubblewrap can be installed: {reason}"
    return report


def run_git(*arguments: str, cwd: Path) -> str:
    """Run the real Git and return what it prints, without the last newline; its error output is in the exception."""
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")


@pytest.fixture
def git() -> Git:
    """``git("log", "--oneline", cwd=repo)``: the real Git's output."""
    return run_git


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A real Git repository with a first commit: a program, a benchmark that scores it, and a README."""
    return make_repository(tmp_path / "repo")


def make_repository(folder: Path) -> Path:
    """What the fixture `repo` is, in `folder`."""
    (folder / "src").mkdir(parents=True)
    (folder / "src/program.py").write_text("def answer():\n    return 41\n")
    (folder / "bench.py").write_text(
        "import json, os, sys\n"
        "sys.path.insert(0, 'src')\n"
        "from program import answer\n"
        "with open(os.environ['EVOGIT_RESULT'], 'w') as file:\n"
        "    json.dump({'score': -abs(42 - answer())}, file)\n"
    )
    (folder / "README.md").write_text("# A small program\n")
    run_git("init", "--quiet", cwd=folder)
    run_git("add", "--all", cwd=folder)
    run_git("commit", "--quiet", "--message", "First commit", cwd=folder)
    return folder
