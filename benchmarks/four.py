"""``python -m benchmarks.four``: hosts evolve `online-bin-packing` over one remote, while they are killed and cut off.

Each is a clone with processes of its own. At random a host gets ``kill -9`` (and begins again), is cut off (refused, or
nothing passes), or the server dies for a while. At the end everybody exchanges, and every promise is looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gate import Gate
from benchmarks.verdicts import Account, Watch, judge
from tests.conftest import hermetic_environment, run_git
from tests.servers import Missing, Server, serving

TASK = "online-bin-packing"
WAIT = 600.0
EXPECTED = {0, -signal.SIGKILL}
"""Exit codes of a run: its time is over, or killed by us."""


@dataclass
class Host:
    """One clone; `live` runs it until the time is over, again after every kill."""

    at: Path
    gate: Gate
    options: tuple[str, ...]
    acknowledged: set[str] = field(default_factory=set)
    spawned: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    notices: Counter[str] = field(default_factory=Counter)
    process: subprocess.Popen[str] | None = None

    def live(self, until: float) -> None:
        while (left := until - time.time()) > 1:
            self.spawned.append(time.time())
            words = ["run", "--json", "--seconds", f"{left:.0f}", *self.options]
            with tempfile.TemporaryFile("w+") as errors, begin(self.at, words, errors) as process:
                self.process = process
                assert process.stdout is not None
                for line in process.stdout:
                    self._hear(line)
                code = process.wait()
                self.process = None
                errors.seek(0)
                said = errors.read()
            self.codes[code] += 1
            if code not in EXPECTED:
                self.errors.append(f"run exited {code}: {said[-500:]}")
                return

    def _hear(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return  # cut off by a kill: nobody has read it
        if event.get("event") == "candidate":
            self.acknowledged.add(event["commit"])
        elif event.get("event") == "notice":
            known = ("The agents go on", "answers again")
            self.notices[next((text for text in known if text in event["text"]), event["text"])] += 1

    def kill(self) -> bool:
        process = self.process
        if process is None:
            return False
        process.kill()
        return True


def begin(at: Path, words: Sequence[str], errors: object = subprocess.PIPE) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "evogit", "-C", str(at), *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True)  # type: ignore[call-overload,no-any-return]


def evogit(at: Path, *words: str) -> str:
    """Raises `AssertionError` if the command fails."""
    with begin(at, words) as process:
        output, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 0, f"evogit {' '.join(words)} exited {process.returncode}: {errors[-2000:]}"
    return output


class Storm:
    """What goes wrong, at random, one thing after another until the time is over."""

    def __init__(self, hosts: Sequence[Host], server: Server, rng: random.Random) -> None:
        self._hosts, self._server, self._rng = hosts, server, rng
        self.done: Counter[str] = Counter()

    def blow(self, until: float) -> None:
        """Raises `AssertionError` if the server does not come back."""
        while time.time() < until:
            self._sleep(self._rng.uniform(3, 9), until)
            what = self._rng.choices(("kill -9", "cut off", "stalled", "server killed"), (6, 3, 2, 1))[0]
            host = self._rng.choice(self._hosts)
            if what == "kill -9":
                self.done[what] += host.kill()
                continue
            self.done[what] += 1
            if what == "server killed":
                self._server.stop()
                self._sleep(self._rng.uniform(4, 12), until)
                self._server.start()
                continue
            host.gate.shut() if what == "cut off" else host.gate.stall()
            self._sleep(self._rng.uniform(5, 25), until)
            host.gate.shut()
            host.gate.open()

    def _sleep(self, seconds: float, until: float) -> None:
        time.sleep(max(0.0, min(seconds, until - time.time())))


@contextlib.contextmanager
def gathered(folder: Path, server: Server, count: int, options: tuple[str, ...]) -> Iterator[list[Host]]:
    """Hosts that take part in one run: the first founds it, the others join, each through its gate."""
    gates = [Gate(server.port) for _ in range(count)]
    for gate in gates:
        gate.open()
    addresses = [server.address.replace(f":{server.port}/", f":{gate.port}/") for gate in gates]
    hosts = [
        Host(folder / f"host-{n}", gate, (*options, "--seed", str(n), "--remote", "origin"))
        for n, gate in enumerate(gates)
    ]
    try:
        run_git("clone", "-q", addresses[0], str(hosts[0].at), cwd=folder)
        evogit(hosts[0].at, "run", "--task", TASK, "--candidates", "4", "--quiet", *hosts[0].options)
        for host, address in zip(hosts[1:], addresses[1:], strict=True):
            evogit(folder, "join", address, str(host.at))
        yield hosts
    finally:
        for gate in gates:
            gate.shut()


def weather(folder: Path, over: str, count: int, seconds: float, seed: int, options: tuple[str, ...]) -> Account:
    """The whole demonstration; what there is to judge."""
    evogit(folder, "new", str(folder / "seed"), "--task", TASK)
    origin = folder / "origin.git"
    run_git("clone", "-q", "--bare", str(folder / "seed"), str(origin), cwd=folder)
    with serving(over, origin, folder / "server") as server:
        os.environ.update(server.variables)
        with (
            gathered(folder, server, count, options) as hosts,
            Watch({h.at.name: h.at for h in hosts}) as watch,
        ):
            storm, until = Storm(hosts, server, random.Random(seed)), time.time() + seconds
            threads = [threading.Thread(target=host.live, args=(until,)) for host in hosts]
            for thread in threads:
                thread.start()
            try:
                storm.blow(until - 5)
            finally:
                for thread in threads:
                    thread.join()
            for _ in range(2):
                for host in hosts:
                    evogit(host.at, "sync")
    return Account(
        {host.at.name: host.at for host in hosts},
        origin,
        {host.at.name: host.acknowledged for host in hosts},
        {host.at.name: host.spawned for host in hosts},
        watch.arrivals,
        storm.done,
        [error for host in hosts for error in host.errors],
        {host.at.name: dict(host.notices) for host in hosts},
    )


def alone(folder: Path, count: int, seconds: float, options: tuple[str, ...]) -> list[Path]:
    """As many hosts for as long at the same time, undisturbed and each for itself."""
    places = [folder / f"alone-{n}" for n in range(count)]
    running = []
    for n, at in enumerate(places):
        evogit(folder, "new", str(at), "--task", TASK)
        flags = ["run", "--quiet", "--task", TASK, "--seconds", f"{seconds:.0f}", *options, "--seed", str(n)]
        running.append(begin(at, flags))
    for process in running:
        _, errors = process.communicate(timeout=seconds + WAIT)
        assert process.returncode == 0, errors
    return places


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--over", choices=["http", "ssh", "git"], default="ssh")
    parser.add_argument("--sync-every", default="5s")
    parser.add_argument("--agents", default="tinker:12", help="of each host")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what goes wrong")
    parser.add_argument("--alone", action="store_true", help="then the same hosts each for itself, to compare with")
    asked = parser.parse_args(arguments)
    options = ("--agents", asked.agents, "--jobs", "1")
    with tempfile.TemporaryDirectory(prefix="evogit-four-") as place:
        folder, home = Path(place), Path(place) / "home"
        home.mkdir()
        for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("GIT_")]:
            del os.environ[name]
        os.environ.update(hermetic_environment(home))
        print(
            f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}:",
            f"{asked.hosts} hosts over {asked.over}, {asked.minutes:g} minutes,",
            f"exchanges every {asked.sync_every}, seed {asked.seed}",
            flush=True,
        )
        synced = (*options, "--sync-every", asked.sync_every)
        try:
            account = weather(folder, asked.over, asked.hosts, asked.minutes * 60, asked.seed, synced)
        except Missing as error:
            parser.error(f"--over {asked.over} needs {error}")
        others = alone(folder, asked.hosts, asked.minutes * 60, options) if asked.alone else []
        return judge(account, others)


if __name__ == "__main__":
    sys.exit(main())
