"""`make stress`: hosts that share one remote, while what can break is broken. Then: was anything acknowledged lost?

Every host is a clone of its own in which ``evogit run --remote origin`` is at work all the time. Each fault is done to
one of them, or to the remote. After it the host must be whole (``evogit fsck``, after ``--repair`` where something was
damaged), have everything that it ever acknowledged on its ``--json`` stream in its journals, and evaluate further
candidates; so must all others; and no run may have ended with an exit code that the fault does not explain.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import hermetic_environment, run_git
from tests.stress.faults import FAULTS, NOT_INSTALLED, World, unable
from tests.stress.hosts import Host, wait
from tests.stress.test_kill import CONFIG, TASK, journaled

JUDGE = """#!/usr/bin/env python3
import json, os, time
time.sleep(0.2)  # eight hosts share two processors, and their journals are to stay small
numbers = json.load(open("n.json"))
score = -sum(abs(1000.0 * (i + 1) - x) for i, x in enumerate(numbers))
with open(os.environ["EVOGIT_RESULT"], "w") as file:
    json.dump({"score": score}, file)
"""
END = "all hosts at the end"


@dataclass
class Tally:
    """What became of one kind of fault. `skipped` says why it could not be tried, if it could not."""

    tried: int = 0
    survived: int = 0
    lost: int = 0
    skipped: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tried and survived each time, or not to be had on this machine. What could be installed has to be."""
        if self.skipped:
            return not self.tried and NOT_INSTALLED not in self.skipped
        return self.tried > 0 and self.survived == self.tried and self.lost == 0


def found(folder: Path, count: int, seed: int) -> World:
    """A remote with a task, and `count` hosts; the last one on a small file system of its own, where that can be."""
    seeded, origin, small = folder / "seed", folder / "origin.git", folder / "small"
    task = seeded / ".evogit/tasks/numbers"
    task.mkdir(parents=True)
    (task / "task.toml").write_text(TASK.replace('function = "evaluate.py:evaluate"', 'command = ["./judge.py"]'))
    (task / "goal.md").write_text("Bring the numbers near their targets.\n")
    (task / "judge.py").write_text(JUDGE)
    (task / "judge.py").chmod(0o755)
    (seeded / ".evogit/config.toml").write_text(CONFIG)
    (seeded / "n.json").write_text("[1.0, 2.0, 3.0, 4.0, 5.0]\n")
    run_git("init", "-q", cwd=seeded)
    run_git("add", "-A", cwd=seeded)
    run_git("commit", "-qm", "start", cwd=seeded)
    run_git("clone", "-q", "--bare", str(seeded), str(origin), cwd=folder)
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(small)], capture_output=True, check=False
    )
    room = small if mounted.returncode == 0 else None
    places = [folder / f"host-{n}" for n in range(count - 1)] + [(room or folder) / "host-last"]
    for place in places:
        run_git("clone", "-q", str(origin), str(place), cwd=folder)
    return World(folder, origin, [Host(place) for place in places], room, random.Random(seed))


def close(world: World) -> None:
    if world.small is not None:
        subprocess.run(["umount", "-l", str(world.small)], check=False)


def break_things(world: World, faults: Sequence[str], rounds: int) -> dict[str, Tally]:
    """Each fault `rounds` times, in a random order, while every host lives."""
    table = {fault: Tally(skipped=unable(world, fault)) for fault in faults}
    for host in world.hosts:
        host.begin()
    try:
        lively = wait(lambda: all(host.acknowledged for host in world.hosts))
        assert lively, f"not every host has begun: {[(host.codes, host.said) for host in world.hosts]}"
        todo = [fault for fault in faults if not table[fault].skipped for _ in range(rounds)]
        world.rng.shuffle(todo)
        for fault in todo:
            tally, begun = table[fault], time.monotonic()
            host = world.hosts[-1] if fault == "disk full" else world.rng.choice(world.hosts)
            tally.tried += 1
            lost, wrong = break_one(world, host, fault)
            tally.lost += lost
            tally.survived += not wrong
            tally.notes += [wrong] if wrong else []
            took = time.monotonic() - begun
            print(f"{fault} ({host.at.name}, {took:.0f} s): {wrong or 'survived'}", file=sys.stderr, flush=True)
    finally:
        for host in world.hosts:
            host.end()
    return table


def break_one(world: World, host: Host, fault: str) -> tuple[int, str]:
    """Do `fault` to `host`: how many acknowledged candidates are gone after it, and what else was wrong."""
    errors = {id(each): len(each.errors) for each in world.hosts}
    wrong = ""
    try:
        FAULTS[fault](world, host)
        host.command("fsck")
        for each in world.hosts:
            assert each.goes_on(), f"{each.at.name}: no further candidate; {each.said[-300:]}"
    except (AssertionError, subprocess.SubprocessError) as error:
        wrong = f"{type(error).__name__}: {error}"[:900]
    acknowledged = set(host.acknowledged)
    lost = len(acknowledged - journaled(host.at))
    complaints = [
        f"{each.at.name}: {each.errors[errors[id(each)]]}"
        for each in world.hosts
        if len(each.errors) > errors[id(each)]
    ]
    if lost:
        complaints.append(f"{lost} acknowledged candidates are in no journal")
    return lost, "; ".join(filter(None, [wrong, *complaints]))


def ending(world: World) -> Tally:
    """Everybody exchanges until all know everything: what was acknowledged anywhere is on the remote, and all agree."""
    for _ in range(2):
        for host in world.hosts:
            host.command("sync", codes={0, 1})
    tally, views = Tally(), set()
    try:
        there = journaled(world.origin)
    except (AssertionError, subprocess.SubprocessError) as error:
        there = set()
        tally.notes.append(f"the remote cannot be read: {error}"[:600])
    for host in world.hosts:
        tally.tried += 1
        tally.lost += len(host.acknowledged - there)
        try:
            host.command("fsck")
            view = json.loads(host.command("status", "--json").stdout)
            views.add((view["candidates"], view["best"]["commit"]))
            assert not host.errors, host.errors[0]
        except AssertionError as error:
            tally.notes.append(f"{host.at.name}: {error}"[:600])
        else:
            tally.survived += 1
    if len(views) > 1:
        tally.survived = 0
        tally.notes.append(f"hosts that know everything differ: {sorted(views)}")
    acknowledged = sum(len(host.acknowledged) for host in world.hosts)
    codes = sum((host.codes for host in world.hosts), Counter[int]())
    tally.notes.append(f"{acknowledged} acknowledged; exit codes of runs {dict(sorted(codes.items()))}")
    return tally


def stress(folder: Path, hosts: int, rounds: int, seed: int, faults: Sequence[str] = tuple(FAULTS)) -> dict[str, Tally]:
    world = found(folder, hosts, seed)
    try:
        table = break_things(world, faults, rounds)
        table[END] = ending(world)
        return table
    finally:
        close(world)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="how often each fault")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="this fault only (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    asked = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="evogit-stress-") as folder:
        home, world = Path(folder) / "home", Path(folder) / "world"
        home.mkdir()
        world.mkdir()
        os.environ.update(hermetic_environment(home))
        table = stress(world, asked.hosts, asked.rounds, asked.seed, asked.only or tuple(FAULTS))
    print(f"{asked.hosts} hosts, seed {asked.seed}, {time.monotonic() - begun:.0f} s")
    print(f"{'fault':<28}{'tried':>6}{'survived':>9}{'lost':>6}{'skipped':>9}")
    for fault, tally in table.items():
        row = f"{fault:<28}{tally.tried:>6}{tally.survived:>9}{tally.lost:>6}{'yes' if tally.skipped else '-':>9}"
        print("  ".join([row, *filter(None, [tally.skipped, "; ".join(tally.notes)])]))
    if asked.json:
        asked.json.write_text(json.dumps({name: vars(tally) for name, tally in table.items()}, indent=1) + "\n")
    return 0 if all(tally.good for tally in table.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
