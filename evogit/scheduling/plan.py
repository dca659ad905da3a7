"""What is to be started, kept in the repository's private folder: the command, its environment, who is told."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from evogit.errors import EvoGitError, UsageError

CARRIED = ("PATH", "LANG", "LC_ALL", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
"""What a start gets besides EVOGIT_ variables: cron's own PATH is /usr/bin:/bin."""

_SECRET = re.compile(r"(?i)key$|token$|secret|password|credential")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Plan:
    """One thing to start. Every path is absolute; no secret is in it."""

    name: str
    expression: str
    arguments: tuple[str, ...]
    directory: str
    python: str
    environment: Mapping[str, str] = field(default_factory=dict)
    env_file: str | None = None
    notify: str | None = None


def place_of(common_dir: Path) -> str:
    """Eight digits that tell this repository's lines in a crontab from another's."""
    return hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:8]


def command_of(plan: Plan) -> str:
    """What cron and systemd start. ``-P``: a folder named evogit in somebody's home is not imported instead."""
    return shlex.join([plan.python, "-P", "-m", "evogit", "schedule", "start", plan.name, "-C", plan.directory])


def interpreter() -> str:
    """This Python, not resolved: in a virtual environment its path is what finds the libraries."""
    return str(Path(sys.executable).absolute())


def carried(environ: Mapping[str, str], secret: Iterable[str]) -> dict[str, str]:
    """The part of the environment that a start gets. Never `secret` variables or what is named like one."""
    left_out = set(secret)
    return {
        name: value
        for name, value in sorted(environ.items())
        if name not in left_out
        and (name in CARRIED or (name.startswith("EVOGIT_") and not _SECRET.search(name)))
        and "\n" not in value
    }


def folder(private: Path) -> Path:
    return private / "schedules"


def save(private: Path, plan: Plan) -> Path:
    """Write it, for its owner's eyes only; the file."""
    path = folder(private) / f"{plan.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", errors="surrogateescape") as file:
        json.dump(asdict(plan), file, indent=1)
        file.write("\n")
    partial.replace(path)
    return path


def load(private: Path, name: str) -> Plan:
    """Raises `UsageError` where there is none, or it cannot be read."""
    path = folder(private) / f"{name}.json"
    try:
        data = json.loads(path.read_text(errors="surrogateescape"))
        return Plan(**{**data, "arguments": tuple(data["arguments"])})
    except FileNotFoundError:
        known = ", ".join(names(private)) or "none"
        raise UsageError(
            f"nothing is scheduled as {name!r} in this repository; scheduled: {known}. Type: evogit schedule list"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: cannot be read ({error}). Type: evogit schedule remove {name}, then add") from error


def names(private: Path) -> list[str]:
    return sorted(path.stem for path in folder(private).glob("*.json"))


def forget(private: Path, name: str) -> None:
    (folder(private) / f"{name}.json").unlink(missing_ok=True)


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file of ``NAME=VALUE`` lines; ``export`` before, quotes around and ``#`` lines are allowed.

    Raises:
        EvoGitError: it cannot be read, others may read it, or a line is none. The message never quotes a value.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except OSError as error:
        raise EvoGitError(f"--env-file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise EvoGitError(f"--env-file {path}: is no text") from None
    if not stat.S_ISREG(mode):
        raise EvoGitError(f"--env-file {path}: is no file")
    if mode & 0o077:
        who = "everybody" if mode & 0o007 else "its group"
        raise EvoGitError(
            f"--env-file {path}: {who} on this machine may open it (mode {mode & 0o777:03o}). "
            f"Type: chmod 600 {shlex.quote(str(path))}"
        )
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not _NAME.fullmatch(name) or "\0" in value:
            raise EvoGitError(f"--env-file {path}, line {number}: expected NAME=VALUE")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    return found
