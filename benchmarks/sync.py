"""``python -m benchmarks.sync``: what one exchange costs against the number of hosts and of candidates.

A remote is filled with journals and branches as runs write them. Then one host exchanges with it through Git's own
processes and protocol and a `git daemon`; bytes are counted on the wire, both ways, and seconds are wall-clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.hosts import BEGIN, FILE, RUN, Host, found, make_origin, write
from benchmarks.wire import Wire, stretched
from evogit.evolution.population import fold
from evogit.evolution.session import read_journals
from evogit.store import refs, repository
from evogit.store.journal import Journal
from evogit.store.objects import Objects
from evogit.store.remote import Remote
from evogit.values import Oid
from tests.conftest import hermetic_environment

NEWS = (1, 100)
"""Candidates that are new in an exchange."""
BATCH = 5000  # candidates a pack


def name_of(n: int) -> str:
    return f"host-{n:04x}"


def fill(origin: Path, hosts: int, agents: int, candidates: int) -> None:
    """Put a run of `hosts` hosts with `agents` agents each, and `candidates` in all, into a bare repository."""
    objects = Objects(origin)
    base = objects.resolve("HEAD")
    assert base is not None
    where: dict[str, Oid] = {"refs/heads/main": base}
    made = 0
    for n in range(hosts):
        name = name_of(n)
        journal = Journal(objects, RUN, f"{name}-0", lambda: BEGIN)
        if n == 0:
            found(journal, base, name)
        seats = [base] * agents
        for at in range(candidates // hosts + (n < candidates % hosts)):
            agent = at % agents
            seats[agent] = extend(objects, journal, (name, f"dial-{agent}"), seats[agent], (n, at))
            where[refs.individual(RUN, name, f"dial-{agent}")] = seats[agent]
            made += 1
        where |= {refs.individual(RUN, name, f"dial-{agent}"): seats[agent] for agent in range(agents)}
        if journal.tip is not None:
            where[journal.ref] = journal.tip
        if made >= BATCH or n == hosts - 1:
            made, keep = 0, objects.flush()
            if keep is not None:
                keep.unlink()
    lines = "".join(f"{oid} {ref}\n" for ref, oid in sorted(where.items()))
    (origin / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}")
    shutil.rmtree(origin / "refs/heads")
    (origin / "refs/heads").mkdir()


def extend(objects: Objects, journal: Journal, maker: tuple[str, str], parent: Oid, what: tuple[int, int]) -> Oid:
    """An accepted child of `parent`, with numbers that nobody else has."""
    tree = objects.edit(objects.commit(parent).tree, {FILE: json.dumps([*what, 0, 0]).encode()})
    return write(objects, journal, maker, (parent,), tree, float(what[1]))[0]


def settled(folder: Path, origin: Path, wire: Wire, n: int) -> Host:
    """Host number `n` with a copy of everything at `origin`."""
    at = folder / name_of(n)
    shutil.copytree(origin, at)
    place = repository.find(at)
    place.private.mkdir()
    (place.private / "host").write_text(f"{name_of(n)}\n")
    return Host(name_of(n), place, Remote(place, wire.address(name_of(n), origin)), 1, 0, random.Random(n))


def add(host: Host, count: int) -> None:
    """`count` accepted candidates of one agent of a host."""
    objects = host.repository.objects()
    journal = Journal(objects, RUN, host.writer, lambda: BEGIN)
    journal.resume()
    ref = refs.individual(RUN, host.name, "dial-0")
    before = at = objects.ref(ref)
    assert at is not None
    for _ in range(count):
        at = extend(objects, journal, (host.name, "dial-0"), at, (int(host.name[5:], 16), journal.sequence + 10**6))
    journal.move(ref, before, at)
    journal.publish()


def timed(host: Host, wire: Wire) -> tuple[int, float]:
    """Bytes and milliseconds of an exchange."""
    begun = time.perf_counter()
    done = host.exchange(wire)
    took = (time.perf_counter() - begun) * 1e3
    assert done is not None, "nobody answered"
    return done.bytes, took


def measure(folder: Path, hosts: int, agents: int, candidates: int) -> dict[str, float]:
    """One row of the table."""
    folder.mkdir()
    origin = make_origin(folder / "origin.git")
    fill(origin, hosts, agents, candidates)
    with stretched(origin, folder / "server") as wire:
        here, there = (settled(folder, origin, wire, n) for n in range(2))
        for host in (here, there):
            host.tips = {}
            host.population = fold(read_journals(host.repository.objects(), RUN, host.tips, skip=host.writer))
        row: dict[str, float] = {"hosts": hosts, "agents": agents, "candidates": candidates}
        row["first bytes"], row["first ms"] = timed(here, wire)
        timed(there, wire)
        for news in NEWS:
            row["quiet bytes"], row["quiet ms"] = timed(here, wire)
            add(here, news)
            row[f"push {news} bytes"], row[f"push {news} ms"] = timed(here, wire)
            row[f"fetch {news} bytes"], row[f"fetch {news} ms"] = timed(there, wire)
    more = NEWS[-1] - NEWS[0]
    for way in ("push", "fetch"):
        row[f"{way} bytes each"] = (row[f"{way} {NEWS[-1]} bytes"] - row[f"{way} {NEWS[0]} bytes"]) / more
    begun = time.perf_counter()
    here.repository.objects().refs(refs.journals(RUN))
    row["listing ms"] = (time.perf_counter() - begun) * 1e3
    return row


COLUMNS = (
    *("hosts", "agents", "candidates", "first bytes", "first ms", "quiet bytes", "quiet ms", "push 1 bytes"),
    *("push 1 ms", "push bytes each", "fetch 1 bytes", "fetch 1 ms", "fetch bytes each", "listing ms"),
)


def show(rows: Sequence[dict[str, float]]) -> None:
    print(" ".join(f"{name:>16}" for name in COLUMNS))
    for row in rows:
        print(" ".join(f"{row[name]:>16,.0f}" for name in COLUMNS), flush=True)


def ratios(rows: Sequence[dict[str, float]]) -> None:
    """The last row with other hosts, and the last with other candidates, over the first."""
    first = rows[0]
    for what in ("hosts", "candidates"):
        others = [
            row for row in rows if row[what] != first[what] and (what == "hosts" or row["hosts"] == first["hosts"])
        ]
        if others:
            row = others[-1]
            found = ", ".join(f"{name} {row[name] / first[name]:.2f}" for name in COLUMNS[3:-1])
            print(f"\n{row[what]:,.0f} {what} over {first[what]:,.0f}: {found}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--agents", type=int, default=4, help="of each host")
    parser.add_argument("--candidates", type=int, nargs="+", default=[1000, 10000], help="in all")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    grid = [(hosts, asked.candidates[0]) for hosts in asked.hosts]
    grid += [(asked.hosts[0], candidates) for candidates in asked.candidates[1:]]
    with tempfile.TemporaryDirectory(prefix="evogit-sync-") as place:
        (Path(place) / "home").mkdir()
        os.environ.update(hermetic_environment(Path(place) / "home"))
        rows = []
        for at, (hosts, candidates) in enumerate(grid):
            rows.append(measure(Path(place) / str(at), hosts, asked.agents, max(hosts, candidates)))
            shutil.rmtree(Path(place) / str(at))
    if asked.json:
        print(json.dumps(rows))
        return 0
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {git}, git daemon")
    print("an exchange: the first of a process, later ones with nothing new, with new candidates here, and there\n")
    show(rows)
    ratios(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
