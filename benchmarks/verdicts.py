"""What `benchmarks.four` looks at when all is over: one fold, nothing lost, no work done twice, better together."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evogit.evolution.findings import host_of
from evogit.evolution.population import Population, read_evaluation
from evogit.evolution.ranking import VALIDATION, Champion
from evogit.evolution.session import read_journals, read_population
from evogit.store import refs
from evogit.store.journal import Entry
from evogit.store.objects import Objects
from evogit.store.repository import find
from evogit.values import Oid
from tests.agreement import essence

RUN = "main"
ROOT = Path(__file__).parents[1]
LOOK = 0.5  # seconds between two looks at what has arrived where
SLACK = 20.0
"""Seconds between a journal's arrival and the moment from which it must have been read. A running process reads once a
second, may be busy folding, and may have an evaluation waiting for its turn that it decided on before."""


@dataclass
class Account:
    """What the hosts said, and what was seen of them from outside. Keys are the names of their folders."""

    places: Mapping[str, Path]
    origin: Path
    acknowledged: Mapping[str, set[Oid]]
    spawned: Mapping[str, list[float]]
    arrivals: Mapping[str, list[tuple[float, dict[str, Oid]]]]
    """Host → when journals moved there (seconds since 1970, at the latest), and their tips since."""
    faults: Mapping[str, int]
    errors: Sequence[str]
    notices: Mapping[str, Mapping[str, int]]


@dataclass
class Watch:
    """Notes from outside which journals have arrived at which host, twice a second."""

    places: Mapping[str, Path]
    arrivals: dict[str, list[tuple[float, dict[str, Oid]]]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self.arrivals = {name: [] for name in self.places}
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        seen: dict[str, dict[str, Oid]] = {}
        while not self._over.wait(LOOK):
            for name, at in self.places.items():
                tips = Objects(at / ".git").refs(refs.journals(RUN))
                if tips != seen.get(name):
                    seen[name] = tips
                    self.arrivals[name].append((time.time(), tips))


Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Ran:
    """One evaluation that a host ran: of what, when it ended, and how long it took."""

    key: Key
    entry: Oid
    host: str
    ended: float
    seconds: float


def ran(entries: Iterable[Entry]) -> list[Ran]:
    """Evaluations that were run, in the order of their ends. An accepted child with a known tree is looked up: it has
    the very duration of the entry it was looked up in, to the microsecond."""
    found: list[Ran] = []
    durations: dict[Key, set[float]] = {}
    for entry in sorted(entries, key=lambda e: e.order):
        if entry.kind != "evaluated":
            continue
        evaluation = read_evaluation(entry.data)
        key = (str(entry.data["tree"]), str(entry.data["digest"]), evaluation.epoch)
        known = durations.setdefault(key, set())
        if evaluation.seconds in known:
            continue
        known.add(evaluation.seconds)
        ended = entry.clock.milliseconds / 1000
        found.append(Ran(key, entry.oid, host_of(entry.writer), ended, evaluation.seconds))
    return found


def twice(
    done: Sequence[Ran], arrived: Mapping[str, Mapping[Oid, float]], spawned: Mapping[str, list[float]]
) -> tuple[list[tuple[Ran, Ran]], list[tuple[Ran, Ran]]]:
    """Pairs of evaluations of one tree: those nobody could avoid, and those begun after the first was known.

    `arrived`: host → entry → when it was there at the latest. `spawned`: host → when its processes began; each reads
    all journals first, whatever it does later.
    """
    apart: list[tuple[Ran, Ran]] = []
    wasted: list[tuple[Ran, Ran]] = []
    first: dict[Key, list[Ran]] = {}
    for run in done:
        for earlier in first.setdefault(run.key, []):
            there = arrived[run.host].get(earlier.entry, float("inf"))
            begun = run.ended - run.seconds
            starts = spawned[run.host]
            process = starts[bisect_right(starts, begun) - 1] if starts and starts[0] <= begun else 0.0
            (wasted if there < process or there + SLACK < begun else apart).append((earlier, run))
        first[run.key].append(run)
    return apart, wasted


def arrived_at(entries: Iterable[Entry], arrivals: Sequence[tuple[float, dict[str, Oid]]]) -> dict[Oid, float]:
    """When each entry had arrived, by the journals' tips as they were seen."""
    of: dict[str, list[Entry]] = {}
    for entry in entries:
        of.setdefault(entry.writer, []).append(entry)
    numbers = {entry.oid: entry.sequence for found in of.values() for entry in found}
    when: dict[Oid, float] = {}
    for writer, found in of.items():
        left = sorted(found, key=lambda e: e.sequence)
        at = 0
        for moment, tips in arrivals:
            reached = numbers.get(tips.get(refs.journal(RUN, writer), ""), -1)
            while at < len(left) and left[at].sequence <= reached:
                when[left[at].oid] = moment
                at += 1
    return when


def own_best(entries: Iterable[Entry], digest: str) -> dict[str, float]:
    """Each host's best validation score among the versions that it made or measured itself (lower is better)."""
    found: dict[str, float] = {}
    for entry in entries:
        if entry.kind != "evaluated" or entry.data["digest"] != digest or entry.data.get("epoch", 0) != VALIDATION:
            continue
        score = entry.data.get("score")
        if score is not None:
            host = host_of(entry.writer)
            found[host] = min(found.get(host, score), score)
    return found


def unseen(at: Path, commit: Oid) -> float:
    """Percent above the bound on the released Weibull 5k set, which no run sees."""
    source = subprocess.run(["git", "-C", str(at), "show", f"{commit}:heuristic.py"], capture_output=True, check=True)
    file = at / ".git/champion.py"
    file.write_bytes(source.stdout)
    script = ROOT / "tasks/online-bin-packing/report.py"
    done = subprocess.run(
        [sys.executable, str(script), "--heuristic", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return _excess(done.stdout)


def _excess(table: str) -> float:
    """The candidate's row of the report."""
    rows = [line.split() for line in table.splitlines() if line.startswith("this run's champion")]
    assert rows, table
    return float(rows[0][-1])


def judge(account: Account, alone: Sequence[Path]) -> int:
    """Print the table; 0 if every promise was kept."""
    folds = {name: read_population(find(at).objects(), RUN) for name, at in account.places.items()}
    first = next(iter(account.places))
    objects = find(account.places[first]).objects()
    entries = read_journals(objects, RUN, {})
    hosts = {find(at).host(): name for name, at in account.places.items()}
    arrived = {host: arrived_at(entries, account.arrivals[name]) for host, name in hosts.items()}
    done = ran(entries)
    apart, wasted = twice(done, arrived, {host: account.spawned[name] for host, name in hosts.items()})
    missing = _missing(account)
    best, own = folds[first].best(), own_best(entries, folds[first].digest)
    assert best is not None
    _host_rows(account, entries, hosts, own)
    said = sum(map(len, account.acknowledged.values()))
    evaluations = Counter(run.host for run in done)
    checks = [
        ("what went wrong on purpose", ", ".join(f"{k} {n}" for k, n in sorted(account.faults.items())), _all(account)),
        ("hosts whose fold is the first one's", *_alike(folds)),
        ("journals at every host as at the remote", *_tips(account)),
        ("acknowledged candidates, missing somewhere", f"{said}, {missing}", said > 0 and not missing),
        ("evaluations run", f"{sum(evaluations.values())}", min(evaluations[h] for h in hosts) > 0),
        ("of one tree by two before they had met", f"{len(apart)}", True),
        ("of one tree after its journal was seen", f"{len(wasted)}", not wasted),
        ("champion, validated", f"{best.score:.4f}", best.validated and own and best.score <= min(own.values())),
        ("unexpected exits", "; ".join(account.errors) or "0", not account.errors),
    ]
    for pair in wasted[:5]:
        print("twice:", *pair)
    for what, found, fine in checks:
        print(f"{what:<46}{'ok' if fine else 'NOT SO':<8}{found}")
    print(f"{'champion on the released Weibull 5k set':<54}{unseen(account.places[first], best.commit):.3f}")
    if alone:
        others = [read_population(find(at).objects(), RUN) for at in alone]
        print(f"{'each for itself, undisturbed: candidates':<54}{' '.join(str(fold.candidates) for fold in others)}")
        print(f"{'validated':<54}{' '.join(f'{fold.score:.4f}' for fold in map(_champion, others))}")
    return 0 if all(fine for _, _, fine in checks) else 1


def _host_rows(account: Account, entries: Sequence[Entry], hosts: Mapping[str, str], own: Mapping[str, float]) -> None:
    made = Counter(host_of(entry.writer) for entry in entries if "decision" in entry.data and entry.kind == "evaluated")
    print(f"{'host':<10}{'starts':>7}{'acknowledged':>14}{'journaled':>11}{'best, validated':>17}  notices")
    for host, name in hosts.items():
        score = f"{own[host]:.4f}" if host in own else "-"
        notices = ", ".join(f"{n} × {text[:60]}" for text, n in account.notices[name].items())
        row = f"{name:<10}{len(account.spawned[name]):>7}{len(account.acknowledged[name]):>14}"
        print(f"{row}{made[host]:>11}{score:>17}  {notices}")


def _all(account: Account) -> bool:
    """Whether what should go wrong did: something of each that a run of this length can have."""
    return account.faults.get("kill -9", 0) > 0 and sum(account.faults.values()) > account.faults.get("kill -9", 0)


def _champion(fold: Population) -> Champion:
    champion = fold.best()
    assert champion is not None
    return champion


def _alike(folds: Mapping[str, Population]) -> tuple[str, bool]:
    whole = [essence(fold) for fold in folds.values()]
    differs = sorted({what for other in whole for what, found in other.items() if found != whole[0][what]})
    count = sum(other == whole[0] for other in whole)
    return f"{count} of {len(whole)}{' but for ' + ', '.join(differs) if differs else ''}", count == len(whole)


def _tips(account: Account) -> tuple[str, bool]:
    there = Objects(account.origin).refs(refs.journals(RUN))
    same = [find(at).objects().refs(refs.journals(RUN)) == there for at in account.places.values()]
    return f"{len(there)} at {sum(same)} of {len(same)}", bool(there) and all(same)


def _missing(account: Account) -> int:
    """Acknowledged candidates that some host, or the remote, does not have in a journal."""
    told = set().union(*account.acknowledged.values())
    lost: set[Oid] = set()
    for store in (Objects(account.origin), *(find(at).objects() for at in account.places.values())):
        lost |= told - {entry.candidate for entry in read_journals(store, RUN, {})}
    return len(lost)
