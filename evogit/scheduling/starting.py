"""One start: never two at a time, with a log of its own, secrets kept out of it, and who wants to know is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any

from filelock import FileLock, Timeout

from evogit.errors import EvoGitError
from evogit.scheduling import plan as plans
from evogit.scheduling.plan import Plan

KEPT = 20  # logs of a name
SKIPS = 200  # lines about starts that found the last one still at work
BUSY = 5  # the exit code of a command whose run another process holds
TELLING = 60  # seconds that a --notify command may take
SUMMARY = "summary: "
_SHORTEST_SECRET = 4  # characters; shorter values are everywhere in a log


def logs(private: Path, name: str) -> Path:
    return private / "logs" / name


def log_files(private: Path, name: str) -> list[Path]:
    """The logs of that name, oldest first."""
    return sorted(logs(private, name).glob("2*.log"))


def summary_of(log: Path) -> dict[str, Any] | None:
    """The summary at a log's end, None while there is none."""
    with contextlib.suppress(OSError, ValueError):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            lines = file.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            if line.startswith(SUMMARY):
                found = json.loads(line.removeprefix(SUMMARY))
                return found if isinstance(found, dict) else None
    return None


@dataclass(frozen=True)
class Told:
    """What the start's own words need of the world: the moment, and what a run's record says."""

    now: Callable[[], datetime]
    standing: Callable[[], Mapping[str, Any]]
    summed: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]


def start(private: Path, plan: Plan, told: Told, environ: Mapping[str, str]) -> int:
    """Do it; the exit code for cron, 0 also when the last start is still at work."""
    folder = logs(private, plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(plans.folder(private) / f"{plan.name}.lock"), blocking=False)
    try:
        with lock:
            return _start(private, folder, plan, told, environ)
    except Timeout:
        _skipped(folder, told.now(), "the last start is still at work")
        return 0


def _skipped(folder: Path, now: datetime, why: str) -> None:
    path = folder / "skipped.log"
    lines = path.read_text().splitlines()[-SKIPS + 1 :] if path.exists() else []
    path.write_text("\n".join([*lines, f"{_moment(now)} not started: {why}"]) + "\n")


def _start(private: Path, folder: Path, plan: Plan, told: Told, environ: Mapping[str, str]) -> int:
    begun = told.now()
    path, log = _new_log(folder, begun)
    with log:
        _say(log, f"started {_moment(begun)}: evogit {' '.join(plan.arguments)}")
        secrets: dict[str, str] = {}
        code, why, before = 1, "", {}
        try:
            if plan.env_file:
                secrets = plans.read_env_file(Path(plan.env_file))
            before = dict(told.standing())
            code = _child(plan, {**environ, **plan.environment, **secrets}, log, tuple(secrets.values()))
        except EvoGitError as error:
            why = str(error)
            _say(log, f"error: {why}")
        ended = told.now()
        if code == BUSY:
            path.unlink()  # twenty of these would push out the logs of what did start
            _skipped(folder, ended, "another process holds the run")
            return 0
        summary = {
            "name": plan.name,
            "command": list(plan.arguments),
            "directory": plan.directory,
            "log": str(path),
            "started": _moment(begun),
            "ended": _moment(ended),
            "seconds": round((ended - begun).total_seconds(), 1),
            "exit_code": code,
            "error": why or None,
        }
        summary |= _summed(told, before, log)
        if plan.notify:
            _notify(plan, summary, {**environ, **plan.environment}, log)
        _say(log, SUMMARY + json.dumps(summary, ensure_ascii=False))
    for old in log_files(private, plan.name)[:-KEPT]:
        old.unlink(missing_ok=True)
    return code


def _new_log(folder: Path, now: datetime) -> tuple[Path, IO[bytes]]:
    stem = now.strftime("%Y-%m-%dT%H-%M-%SZ")
    for number in range(1000):
        path = folder / f"{stem}{f'.{number:03}' if number else ''}.log"
        with contextlib.suppress(FileExistsError):
            return path, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    raise EvoGitError(f"{folder}: a thousand starts in one second")


def _summed(told: Told, before: Mapping[str, Any], log: IO[bytes]) -> Mapping[str, Any]:
    try:
        return told.summed(before, told.standing())
    except EvoGitError as error:
        _say(log, f"no summary of the run: {error}")
        return {}


def _child(plan: Plan, environ: Mapping[str, str], log: IO[bytes], secrets: tuple[str, ...]) -> int:
    """Run the command. What it prints goes to the log a line at a time, with the secrets blanked out."""
    hidden = sorted((os.fsencode(s) for s in set(secrets) if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)
    words = [plan.python, "-P", "-m", "evogit", *plan.arguments]
    try:
        child = subprocess.Popen(
            words,
            cwd=plan.directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise EvoGitError(f"{error.filename or plan.python}: {error.strerror}") from error
    assert child.stdout is not None
    with _forwarded(child), child.stdout as lines:
        for line in lines:
            for secret in hidden:
                line = line.replace(secret, b"***")
            log.write(line)
            log.flush()
        code = child.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _forwarded(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Who ends the start ends the command: gracefully, as the command itself does."""

    def forward(number: int, _frame: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, forward) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _notify(plan: Plan, summary: Mapping[str, Any], environ: Mapping[str, str], log: IO[bytes]) -> None:
    """Give the summary to the person's command. It gets no key: the file of secrets is for the run."""
    assert plan.notify is not None
    data = json.dumps(summary, ensure_ascii=False).encode() + b"\n"
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", plan.notify],
            input=data,
            cwd=plan.directory,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=TELLING,
        )
    except subprocess.TimeoutExpired:
        _say(log, f"--notify took longer than {TELLING} s and was ended")
        return
    log.write(done.stdout)
    if done.returncode:
        _say(log, f"--notify failed with exit code {done.returncode}")


def _say(log: IO[bytes], text: str) -> None:
    log.write(text.encode(errors="replace") + b"\n")
    log.flush()


def _moment(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
