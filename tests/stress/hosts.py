"""A host of the stress suite: a clone that runs `evogit run --remote` for ever, as a service manager would have it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

WAIT = float(os.environ.get("EVOGIT_STRESS_WAIT", "240"))
"""Seconds for what takes one or two on an idle machine: nothing here says how fast a machine must be."""
RUN = ("run", "--json", "--remote", "origin", "--sync-every", "2s", "--jobs", "1", "--seconds", "60")


def wait(look: Callable[[], _T | None]) -> _T | None:
    """What `look` finds, as soon as it finds something; None after `WAIT`."""
    limit = time.monotonic() + WAIT
    while time.monotonic() < limit:
        if found := look():
            return found
        time.sleep(0.05)
    return None


def event_of(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None  # cut off by a kill: nobody has read it
    return found if isinstance(found, dict) else None


class Host:
    """One clone in which `evogit run` is started again whenever it ends, in a thread of its own.

    Every candidate whose event was printed whole is in `acknowledged`, also if the process is killed after that. An
    exit code that is not expected at the time is an error of the product.
    """

    def __init__(self, at: Path) -> None:
        self.at = at
        self.acknowledged: set[str] = set()
        self.codes: Counter[int] = Counter()
        self.errors: list[str] = []
        self.said = ""
        """What the last run that ended wrote to its error output."""
        self.environment: dict[str, str] = {}
        self.starts = 0
        """Runs that have told that they began."""
        self._expected: Counter[int] = Counter({0: 1})
        self._process: subprocess.Popen[str] | None = None
        self._begun = threading.Event()
        self._idle = threading.Event()
        self._may = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live)

    # Its life

    def begin(self) -> None:
        self._may.set()
        self._thread.start()

    def end(self) -> None:
        """For good."""
        if self._thread.is_alive():
            with self.pause():
                self._ended.set()
            self._thread.join()

    def _live(self) -> None:
        while not self._ended.is_set():
            self._idle.set()
            self._may.wait()
            if self._ended.is_set():
                return
            self._idle.clear()
            code = self._once()
            self.codes[code] += 1
            if not self._expected[code]:
                self.errors.append(f"run exited {code}: {self.said[-400:]}")
            if code not in (0, -signal.SIGKILL):
                time.sleep(0.5)  # as a service manager waits before it tries again

    def _once(self) -> int:
        self._begun.clear()
        with self._start(*RUN) as process:
            self._process = process
            said: list[str] = []
            told = False
            errors = threading.Thread(target=lambda: said.extend(process.stderr or ()))
            errors.start()
            for line in process.stdout or ():
                if event := event_of(line):
                    if not told:  # once: `pause` clears it, and must not end a run twice
                        told = True
                        self.starts += 1
                        self._begun.set()
                    if event.get("event") == "candidate":
                        self.acknowledged.add(str(event["commit"]))
            code = process.wait()
            errors.join()
        self._process = None
        self.said = "".join(said)
        return code

    def _start(self, *words: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "evogit", "-C", str(self.at), *words]
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | self.environment,
        )

    # What is done to it

    def command(self, *words: str, codes: set[int] | None = None) -> subprocess.CompletedProcess[str]:
        """One more evogit command here; `codes` are the exit codes that are right."""
        with self._start(*words) as started:
            output, errors = started.communicate(timeout=WAIT)
        for event in filter(None, map(event_of, output.splitlines())):
            if event.get("event") == "candidate":
                self.acknowledged.add(str(event["commit"]))
        code, said = (
            started.returncode,
            f"{' '.join(words)} exited {started.returncode}: {output[-400:]} {errors[-600:]}",
        )
        assert code in (codes or {0}), said
        assert "bug in EvoGit" not in errors, said
        return subprocess.CompletedProcess(words, code, output, errors)

    def running(self) -> int:
        """The process id of a run that is under way and has told that it began."""

        def look() -> int | None:
            process = self._process
            return process.pid if process is not None and self._begun.is_set() else None

        found = wait(look)
        assert found, f"no run begins: {self.said[-400:]}"
        return found

    @contextlib.contextmanager
    def expecting(self, *codes: int) -> Iterator[None]:
        """Runs may end with these exit codes meanwhile."""
        self._expected.update(codes)
        try:
            yield
        finally:
            self._expected.subtract(codes)

    @contextlib.contextmanager
    def pause(self, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """Ended by Ctrl-C, and not started again meanwhile; afterwards with `environment` besides the usual."""
        with self.expecting(130):
            self._may.clear()
            for _ in range(int(WAIT * 20)):
                process = self._process
                if self._idle.is_set():
                    break
                if process is not None and self._begun.is_set():
                    self._begun.clear()  # one Ctrl-C is enough: a second would end it at once
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGINT)
                time.sleep(0.05)
            assert self._idle.is_set(), f"{self.at.name} does not end: {self.said[-400:]}"
        try:
            yield
        finally:
            if environment is not None:
                self.environment = dict(environment)
            self._may.set()

    def goes_on(self) -> bool:
        """Whether a further candidate is acknowledged by a run."""
        before = len(self.acknowledged)
        return bool(wait(lambda: len(self.acknowledged) > before))
