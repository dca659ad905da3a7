"""A crontab: the lines that are EvoGit's in it, and where it is kept. Every other line stays as it is, byte for byte.

Whole crontabs are not given to python-crontab: it writes them anew, and thereby changes quotes, spaces and lines it
does not understand (tried with 3.4). It makes our lines only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crontab import CronItem, CronTab

from evogit.errors import EvoGitError, UsageError

MISSING = (
    "crontab is not installed. On Debian and Ubuntu: apt install cron; or print units: evogit schedule add --systemd"
)
_OURS = re.compile(r"(?P<off>\s*#+\s*)?(?P<line>\S.*)\s# evogit:(?P<place>[0-9a-f]{8}):(?P<name>[^\s:]+)\s*")


@dataclass(frozen=True, slots=True)
class Line:
    """One of EvoGit's lines. `enabled`: not commented out by its owner."""

    name: str
    expression: str
    command: str
    enabled: bool


def ours(text: str, place: str) -> list[Line]:
    """The lines of the repository `place` in a crontab's `text`."""
    found = []
    for line in text.split("\n"):
        if (match := _match(line, place)) is not None:
            words = match["line"].split()
            fields = 1 if words[0].startswith("@") else 5
            command = " ".join(words[fields:])
            found.append(Line(match["name"], " ".join(words[:fields]), command, match["off"] is None))
    return found


def _match(line: str, place: str) -> re.Match[str] | None:
    match = _OURS.fullmatch(line)
    return match if match is not None and match["place"] == place else None


def with_line(text: str, place: str, name: str, expression: str, command: str) -> str:
    """`text` with one more line at its end."""
    if "\n" in command or "\r" in command:
        raise UsageError("a crontab cannot hold a path with a line break. Move the repository")
    item = CronItem(command=command, comment=f"evogit:{place}:{name}")
    item.cron = CronTab(tab="")
    item.setall(expression)
    line = item.render()
    # python-crontab writes some times its own way (7 as 0); ours stands as it was typed.
    _, _, tail = line.partition(item.slices.render())
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{expression}{tail}\n"


def without(text: str, place: str, name: str) -> str:
    """`text` without the line of that name."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if (match := _match(line, place)) is None or match["name"] != name)


@dataclass(frozen=True)
class Tab:
    """The user's crontab, or a file that some other cron reads."""

    file: Path | None = None

    def read(self) -> str:
        if self.file is not None:
            try:
                return self.file.read_bytes().decode(errors="surrogateescape")
            except FileNotFoundError:
                return ""
            except OSError as error:
                raise EvoGitError(f"{self.file}: {error.strerror}") from error
        done = _crontab("-l")
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode and "no crontab" not in said.lower():
            raise EvoGitError(f"crontab -l: {said or done.returncode}")
        return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 else ""

    def write(self, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        if self.file is None:
            done = _crontab("-", data=data)
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()
                raise EvoGitError(f"crontab refused the new table, the old one stays: {said or done.returncode}")
            return
        try:
            partial = self.file.with_name(f".{self.file.name}.evogit-{os.getpid()}")
            partial.write_bytes(data)
            if self.file.exists():
                partial.chmod(self.file.stat().st_mode & 0o7777)
            partial.replace(self.file.resolve())
        except OSError as error:
            raise EvoGitError(f"{error.filename or self.file}: {error.strerror}") from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else of us changes a crontab of this user meanwhile: reading and writing it are two steps."""
        handle = os.open(Path.home(), os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _crontab(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["crontab", *arguments], input=data, capture_output=True, check=False, timeout=60, env=_plain_environment()
        )
    except FileNotFoundError:
        raise EvoGitError(MISSING) from None
    except subprocess.TimeoutExpired:
        raise EvoGitError(f"crontab {' '.join(arguments)} did not answer in a minute") from None


def _plain_environment() -> dict[str, str]:
    """Messages in English, because one of them is read."""
    return {**os.environ, "LC_ALL": "C"}


def daemon_runs() -> bool | None:
    """Whether some cron is running on this machine; None where that cannot be seen."""
    names = {"cron", "crond", "cronie", "fcron", "dcron", "anacron", "systemd-cron", "busybox-crond"}
    processes = list(Path("/proc").glob("[0-9]*/comm"))
    if not processes:
        return None
    for path in processes:
        with contextlib.suppress(OSError):
            if path.read_text().strip() in names:
                return True
    return False
