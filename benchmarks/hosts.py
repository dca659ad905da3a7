"""``python -m benchmarks.hosts``: many hosts on a virtual clock, with partitions and delays, over one real remote.

Real: every host's repository, its journal, its fold, and the exchange (`evogit.evolution.syncing`) through Git's own
processes and protocol to one `git daemon`, whose bytes are counted on the wire. Simulated: the clock (hosts' own run
fast or slow), who is cut off when, how long a push is under way (others' exchanges go through first), and what agents
do (numbers are changed and scored here, without the sandbox).
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.wire import PUSH, Wire, stretched
from evogit.errors import Unreachable
from evogit.evolution import breeding
from evogit.evolution.breeding import Birth
from evogit.evolution.ferry import pause
from evogit.evolution.population import Population, Seat, fold
from evogit.evolution.session import read_journals
from evogit.evolution.syncing import settle, trade
from evogit.store import refs, repository
from evogit.store.journal import Entry, Journal
from evogit.store.objects import Objects
from evogit.store.remote import Remote
from evogit.store.repository import Repository
from evogit.values import Evaluation, Oid, Proposal
from tests.agreement import essence
from tests.conftest import hermetic_environment, run_git

RUN, DIGEST, FILE, EVERY = "main", "0123456789abcdef", "numbers.json", 30.0
BEGIN = 1_800_000_000_000  # milliseconds
TARGET = (5, 3, 8, 1)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange that was answered: journal entries that came and went, connections, bytes."""

    came: int
    went: int
    calls: int
    bytes: int


def write(
    objects: Objects,
    journal: Journal,
    maker: tuple[str, str],
    parents: tuple[Oid, ...],
    tree: Oid,
    score: float,
    decision: str = "accepted",
) -> tuple[Oid, Entry]:
    """A candidate's commit and its entry, with what a run's would hold."""
    evaluation, clock = Evaluation("ok", score, seconds=0.01), journal.tick()
    birth = Birth(RUN, *maker, "dial", journal.sequence, clock.milliseconds, "")
    proposal = Proposal(parents, {}, f"n[2] {score} -> {score + 1}", "nudge", recipe={"by": "dial", "seed": 1})
    commit = breeding.candidate(objects, birth, proposal, tree, evaluation)
    data = breeding.record(birth, proposal, tree, DIGEST, evaluation, decision, timed=True)
    subject = f"{decision} {commit[:10]}: {breeding.shown(evaluation)} ({maker[1]}, nudge)"
    return commit, journal.append("evaluated", subject, data, clock=clock, candidate=commit)


def found(journal: Journal, base: Oid, host: str) -> Entry:
    data = {"run": RUN, "task": "numbers", "direction": "maximize", "digest": DIGEST, "host": host}
    return journal.append("founded", f"founded {RUN}", data, candidate=base)


@dataclass
class Host:
    """One host: a repository of its own, `agents` individuals, and what it has folded so far."""

    name: str
    repository: Repository
    remote: Remote
    agents: int
    skew: int
    """Milliseconds by which its clock is wrong."""
    rng: random.Random
    population: Population = field(default_factory=Population)
    tips: dict[str, Oid] = field(default_factory=dict)
    pushed: dict[str, Oid] = field(default_factory=dict)
    unsent: int = 0
    failures: int = 0

    @property
    def writer(self) -> str:
        return f"{self.name}-0"

    def work(self, now: float, count: int, base: Oid) -> list[Oid]:
        """Make `count` candidates; trees that were evaluated for it."""
        objects = self.repository.objects()
        journal = Journal(objects, RUN, self.writer, lambda: BEGIN + int(now * 1000) + self.skew)
        journal.resume()
        journal.observe(self.population.clock)
        if self.population.digest != DIGEST:
            self.population.apply(found(journal, base, self.name))
            self.unsent += 1
        trees = [tree for _ in range(count) if (tree := self._step(objects, journal, base))]
        journal.publish()
        return trees

    def _step(self, objects: Objects, journal: Journal, base: Oid) -> Oid | None:
        population, rng = self.population, self.rng
        me = (self.name, f"dial-{rng.randrange(self.agents)}")
        start = Seat(base, objects.commit(base).tree, (population.clock, "", 0))
        seat = population.seats.get(me)
        mates = sorted(population.seats.values(), key=lambda found: found.commit)
        parents = [seat or start] if rng.random() < 0.7 or not mates else [seat or start, rng.choice(mates)]
        pool = [json.loads(objects.blob(objects.listing(parent.tree)[FILE][1])) for parent in parents]
        numbers = [rng.choice(column) + rng.choice((-1, 0, 0, 1)) for column in zip(*pool, strict=True)]
        tree = objects.edit(parents[0].tree, {FILE: json.dumps(numbers).encode()})
        if population.result(tree, 0) is not None:
            return None  # evaluated before, here or elsewhere: a duplicate, as in a run
        score = -float(sum(abs(x - y) for x, y in zip(numbers, TARGET, strict=True)))
        before = population.result(parents[0].tree, 0)
        decision = "accepted" if before is None or before.score is None or score >= before.score else "worse"
        commits = tuple(dict.fromkeys(parent.commit for parent in parents))
        commit, entry = write(objects, journal, me, commits, tree, score, decision)
        population.apply(entry)
        if decision == "accepted":
            journal.move(refs.individual(RUN, *me), seat.commit if seat else None, commit)
        self.unsent += 1
        return tree

    def exchange(self, wire: Wire) -> Exchange | None:
        """What `evogit run --remote` does each time: trade, take in, settle. None if nobody answered."""
        before = wire.traffic(self.name)
        try:
            done = trade(self.repository, RUN, self.remote, self.pushed)
        except Unreachable:
            self.failures += 1
            return None
        finally:
            if wire.error is not None:
                raise wire.error
        assert not done.complaints, done.complaints
        self.failures = 0
        went, self.unsent = self.unsent, 0
        objects = self.repository.objects()
        entries = read_journals(objects, RUN, self.tips, skip=self.writer)
        for entry in entries:
            self.population.apply(entry)
        if entries:
            complaints = settle(objects, RUN, self.population, self.name)
            assert not complaints, complaints
        calls, size = (after - was for after, was in zip(wire.traffic(self.name), before, strict=True))
        return Exchange(len(entries), went, calls, size)


@dataclass
class World:
    """Hosts, the wire, and the virtual clock in seconds."""

    folder: Path
    wire: Wire
    hosts: list[Host]
    base: Oid
    rng: random.Random
    now: float = 0.0
    exchanges: list[Exchange] = field(default_factory=list)
    unanswered: int = 0
    overtaken: int = 0
    """Pushes that others' exchanges went through before."""
    trees: Counter[Oid] = field(default_factory=Counter)
    _due: list[tuple[float, int]] = field(default_factory=list)

    def live(self, seconds: float, share_cut: float = 0.3, share_late: float = 0.3) -> None:
        """Let everybody work and exchange; cuts begin and end, and a share of the pushes arrives late."""
        end = self.now + seconds
        self._due = [(self.now + self.rng.uniform(0, EVERY), n) for n in range(len(self.hosts))]
        heapq.heapify(self._due)
        cuts = self._cuts(end, share_cut)
        while self._due and self._due[0][0] < end:
            at, n = heapq.heappop(self._due)
            self.now = max(self.now, at)
            self.wire.cut = {host.name for host in self.hosts if any(a <= at < b for a, b in cuts[host.name])}
            if self.rng.random() < share_late:
                until = at + self.rng.uniform(1, 10)
                self.wire.meanwhile = lambda until=until: self._catch_up(until)
            self._turn(n)
            self.wire.meanwhile = None
        self.now, self.wire.cut = end, set()

    def _cuts(self, end: float, share: float) -> dict[str, list[tuple[float, float]]]:
        """When each host is cut off: now and then a group is, and some hosts are when all begins."""
        found: dict[str, list[tuple[float, float]]] = {host.name: [] for host in self.hosts}
        length = end - self.now
        for _ in range(4):
            begun = self.rng.uniform(self.now, end - length / 4)
            for host in self.rng.sample(self.hosts, int(share * len(self.hosts))):
                found[host.name].append((begun, begun + length / 4))
        return found

    def _catch_up(self, until: float) -> None:
        """Exchanges of others that are due while a push is under way; each host at most once."""
        due: list[tuple[float, int]] = []
        while self._due and self._due[0][0] < until and len(due) < 3:
            due.append(heapq.heappop(self._due))
        self.overtaken += bool(due)
        for _, n in due:
            self._turn(n)

    def _turn(self, n: int) -> None:
        host = self.hosts[n]
        self.trees.update(host.work(self.now, self.rng.randrange(4), self.base))
        self._note(host.exchange(self.wire))
        wait = pause(EVERY, host.failures) * self.rng.uniform(0.9, 1.1)
        heapq.heappush(self._due, (self.now + wait, n))

    def _note(self, done: Exchange | None) -> None:
        if done is None:
            self.unanswered += 1
        else:
            self.exchanges.append(done)

    def settle(self) -> None:
        """Everybody is reachable again and exchanges twice: all that is known anywhere is known everywhere."""
        for _ in range(2):
            for host in self.hosts:
                self._note(host.exchange(self.wire))

    def agree(self) -> dict[str, object]:
        """The fold at all hosts, however they came to it, and of all journals anew.

        Raises:
            AssertionError: two hosts disagree; in what.
        """
        objects = self.hosts[0].repository.objects()
        first = essence(fold(read_journals(objects, RUN, {})))
        tips = objects.refs(refs.journals(RUN))
        for host in self.hosts:
            assert host.repository.objects().refs(refs.journals(RUN)) == tips, host.name
            for what, found in essence(host.population).items():
                assert found == first[what], (host.name, what)
        return first


def settled(folder: Path, wire: Wire, origin: Path, count: int, agents: int, seed: int) -> World:
    """`count` hosts with a clone each of `origin`, whose only commit is the start."""
    rng = random.Random(seed)
    base = run_git("rev-parse", "HEAD", cwd=origin)
    hosts = []
    for n in range(count):
        name = f"h{n:03}-{rng.randrange(1 << 16):04x}"
        at = folder / name
        shutil.copytree(origin, at)
        found = repository.find(at)
        found.private.mkdir()
        (found.private / "host").write_text(f"{name}\n")
        remote = Remote(found, wire.address(name, origin))
        hosts.append(Host(name, found, remote, agents, rng.randrange(-5000, 5000), random.Random(rng.random())))
    return World(folder, wire, hosts, base, rng)


def make_origin(at: Path) -> Path:
    made = repository.create(at.with_name("seed"), {FILE: (b"[0, 0, 0, 0]", False)}, "start")
    run_git("clone", "-q", "--bare", "--template=", str(made.root), str(at), cwd=at.parent)
    return at


def simulate(folder: Path, hosts: int, agents: int, seconds: float, seed: int) -> World:
    """A world that has lived for so many virtual seconds and settled, everybody agreeing.

    Raises:
        AssertionError: hosts disagree.
    """
    folder.mkdir(parents=True, exist_ok=True)
    origin = make_origin(folder / "origin.git")
    with stretched(origin, folder / "server") as wire:
        world = settled(folder, wire, origin, hosts, agents, seed)
        world.live(seconds)
        world.settle()
        world.agree()
        return world


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--agents", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=240.0, help="of the virtual clock")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the repositories go (default: the temporary folder)")
    asked = parser.parse_args(arguments)
    print(
        f"{asked.seconds:g} virtual seconds, exchanges every {EVERY:g}, {asked.agents} agents a host, seed {asked.seed}"
    )
    print(
        f"{'hosts':>6}{'candidates':>11}{'exchanges':>10}{'cut off':>8}{'pushes':>8}{'entries':>9}{'bytes':>8}"
        f"{'quiet':>8}{'same':>6}{'seconds':>9}"
    )
    for count in asked.hosts:
        with tempfile.TemporaryDirectory(prefix="evogit-hosts-", dir=asked.folder) as place:
            (Path(place) / "home").mkdir()
            os.environ.update(hermetic_environment(Path(place) / "home"))
            begun = time.monotonic()
            world = simulate(Path(place) / "world", count, asked.agents, asked.seconds, asked.seed)
            print(row(world, time.monotonic() - begun), flush=True)
    return 0


def row(world: World, took: float) -> str:
    done, hosts = world.exchanges, len(world.hosts)
    pushes = sum(n for (_, kind), n in world.wire.calls.items() if kind == PUSH)
    quiet = [e.bytes for e in done if not e.came and not e.went]
    twice = sum(n - 1 for n in world.trees.values())
    return (
        f"{hosts:>6}{sum(world.trees.values()):>11}{len(done):>10}{world.unanswered:>8}{pushes / hosts:>8.1f}"
        f"{statistics.mean(e.came + e.went for e in done):>9.1f}{statistics.mean(e.bytes for e in done):>8.0f}"
        f"{statistics.mean(quiet) if quiet else 0:>8.0f}{twice:>6}{took:>9.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
