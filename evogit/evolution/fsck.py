"""Check a run's invariants on the real repository (design, section 3) and say what is wrong and what to type."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from evogit.errors import StoreError
from evogit.evolution.entries import flaw
from evogit.evolution.population import Population, fold
from evogit.evolution.session import living_refs
from evogit.store import refs, salvage
from evogit.store.journal import Entry, parse
from evogit.store.objects import Objects
from evogit.store.repository import Repository, busy, connectivity
from evogit.values import Oid

REPAIR = "evogit fsck --repair"


@dataclass(frozen=True, slots=True)
class Finding:
    """`severity` is "error" for a broken invariant, "warning" for what mends itself at the next run."""

    severity: Literal["error", "warning"]
    run: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and what was found. `clean` when nothing is an error."""

    runs: tuple[str, ...]
    entries: int
    candidates: int
    individuals: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def check(repository: Repository, run: str | None = None, progress: Callable[[int], None] | None = None) -> Report:
    """Check one run, or all; `progress` hears how many entries were read. Never writes.

    Raises:
        StoreError: the repository itself cannot be opened.
    """
    objects = repository.objects()
    names = [run] if run else salvage.recorded(repository)
    findings: list[Finding] = []
    unreadable: dict[Oid, str] = {}
    entries = candidates = individuals = 0
    for name in names:
        broken = [
            Finding("error", name, f"{ref} names no object: its file is empty or damaged", REPAIR)
            for ref in salvage.broken_refs(repository, name)
        ]
        living = living_refs(objects, name)  # before the journals: who evolves meanwhile moves branches after them
        read, found = _journals(objects, name, progress)
        found = broken + found
        findings += found
        if not read and not found:
            findings.append(Finding("error", name, "no such run", "evogit fsck without --run checks all"))
            continue
        sound = [entry for entry in read if flaw(entry) is None]  # as every reader takes them
        entries += len(read)
        candidates += sum(1 for entry in read if entry.candidate)
        individuals += len(living)
        population = fold(sorted(sound, key=lambda entry: entry.order))
        findings += _individuals(repository, objects, name, population, living)
        tips = [*objects.refs(refs.journals(name)).values(), *living.values()]
        unreadable |= dict.fromkeys(salvage.rotten(repository, tips, population.base), name)
    complaints = connectivity(repository, [refs.journals(n) for n in names] + [refs.individuals(n) for n in names])
    findings += (Finding("error", "", complaint, REPAIR) for complaint in complaints)
    named = " ".join(complaints)
    for oid, name in unreadable.items():
        if oid not in named:
            text = f"object {oid} is damaged: its bytes are not what its id says"
            findings.append(Finding("error", name, text, REPAIR))
    return Report(tuple(names), entries, candidates, individuals, tuple(findings))


def _journals(objects: Objects, run: str, progress: Callable[[int], None] | None) -> tuple[list[Entry], list[Finding]]:
    """Every readable entry, and what is wrong: gaps, rewritten or foreign entries, clocks that fall."""
    read: list[Entry] = []
    findings: list[Finding] = []
    for ref, tip in objects.refs(refs.journals(run)).items():
        writer = ref.removeprefix(refs.journals(run))
        later: Entry | None = None
        at: Oid | None = tip
        while at is not None:
            try:
                commit = objects.commit(at)
                entry = parse(at, commit.tree, commit.parents, commit.message)
            except StoreError as error:
                findings.append(Finding("error", run, f"journal {writer}: {error}", REPAIR))
                break
            findings += _entry(objects, run, writer, entry, later)
            if wrong := flaw(entry):
                where = f"journal {writer}, entry {entry.sequence} ({entry.oid[:10]})"
                findings.append(Finding("error", run, f"{where}: {wrong}; it counts for nothing"))
            read.append(entry)
            if progress is not None and len(read) % 1000 == 0:
                progress(len(read))
            later, at = entry, entry.previous
        if later is not None and later.sequence != 0:
            findings.append(Finding("error", run, f"journal {writer}: begins at entry {later.sequence}, not 0"))
    return read, findings


def _entry(objects: Objects, run: str, writer: str, entry: Entry, later: Entry | None) -> Iterator[Finding]:
    where = f"journal {writer}, entry {entry.sequence} ({entry.oid[:10]})"
    if entry.writer != writer:
        yield Finding("error", run, f"{where}: written by {entry.writer!r}")
    if later is not None and later.sequence != entry.sequence + 1:
        yield Finding("error", run, f"{where}: followed by entry {later.sequence}")
    if later is not None and later.clock <= entry.clock:
        yield Finding("error", run, f"{where}: its clock is not before the next entry's")
    if entry.kind == "evaluated" and entry.candidate is None:
        yield Finding("error", run, f"{where}: names no candidate")
        return
    if entry.candidate is None:
        return
    try:
        tree = objects.commit(entry.candidate).tree
    except StoreError:
        yield Finding("error", run, f"{where}: candidate {entry.candidate[:10]} is missing")
        return
    if entry.kind == "evaluated" and tree != entry.data.get("tree"):
        yield Finding(
            "error", run, f"{where}: says tree {str(entry.data.get('tree'))[:10]}, the commit has {tree[:10]}"
        )
    if not objects.has(tree):
        yield Finding("error", run, f"{where}: the tree {tree[:10]} of its candidate is missing")


def unscored(
    objects: Objects, population: Population, living: Mapping[tuple[str, str], Oid]
) -> dict[tuple[str, str], Oid]:
    """Individuals whose tree nobody has evaluated, as the journals say. One that cannot be read is left out."""
    scored = {tree for tree, _, _ in population.results}
    found = {}
    for name, commit in living.items():
        with contextlib.suppress(StoreError):
            if objects.commit(commit).tree not in scored:
                found[name] = commit
    return found


def _individuals(
    repository: Repository, objects: Objects, run: str, population: Population, living: dict[tuple[str, str], Oid]
) -> Iterator[Finding]:
    running = busy(repository, run)
    new = unscored(objects, population, living)
    for (host, agent), commit in living.items():
        branch = f"evogit/{run}/{host}/{agent}"
        try:
            objects.commit(commit)
        except StoreError:
            yield Finding("error", run, f"{branch}: its commit {commit[:10]} is missing", REPAIR)
            continue
        if (host, agent) in new:
            yield Finding(
                "error", run, f"{branch}: {commit[:10]} was never evaluated", "evogit run evaluates it when it resumes"
            )
        seat = population.seats.get((host, agent))
        if seat is not None and seat.commit != commit and not running:
            text = f"{branch}: stands at {commit[:10]}, its journal says {seat.commit[:10]}"
            yield Finding("warning", run, text, "evogit run moves it on when it resumes")
