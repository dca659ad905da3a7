"""A run leaves the repository: into one file first (`archive`), or for good (`drop`). Never with a living process."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evogit.errors import RunBusy, StoreError, UsageError
from evogit.evolution.session import read_population
from evogit.store import bundle, refs, salvage
from evogit.store.repository import Repository, RunLock, busy, checked_out
from evogit.values import Oid


@dataclass(frozen=True, slots=True)
class Leaving:
    """What a run is made of. `people` are the branches and tags of people, `decisions` how often they decided.

    `bytes` is what its objects take that nothing else in the repository needs.
    """

    run: str
    refs: Mapping[str, Oid]
    people: tuple[str, ...]
    decisions: int
    candidates: int
    journals: int
    individuals: int
    bytes: int

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "run": self.run,
            "refs": len(self.refs),
            "journals": self.journals,
            "individuals": self.individuals,
            "candidates": self.candidates,
            "decisions": self.decisions,
            "people": list(self.people),
            "bytes": self.bytes,
        }


@contextlib.contextmanager
def held(repository: Repository, run: str) -> Iterator[None]:
    """Nobody else may begin this run meanwhile.

    Raises:
        RunBusy: a process on this host runs or reviews it.
    """
    if busy(repository, run) or busy(repository, run, "reviewers"):
        raise RunBusy(f"a process on this host holds run {run!r}. Wait for it, or end it with Ctrl-C")
    lock = RunLock(repository, run)
    lock.acquire(alongside=False)
    try:
        yield
    finally:
        lock.release()


def look(repository: Repository, run: str) -> Leaving:
    """What would leave.

    Raises:
        UsageError: no such run, or a branch of it is checked out.
        StoreError: its record is damaged.
    """
    if broken := salvage.broken_refs(repository, run):
        raise StoreError(f"{broken[0]} names no object. Type: evogit --run {run} fsck --repair")
    objects = repository.objects()
    population = read_population(objects, run)
    found = bundle.refs_of(objects, run)
    if standing := sorted(found.keys() & checked_out(repository)):
        raise UsageError(f"{refs.branch_of(standing[0])} is checked out. Type: git switch BRANCH")
    individuals = {ref for ref in found if refs.agent_of(ref, run)}
    journals = {ref for ref in found if ref.startswith(refs.journals(run))}
    return Leaving(
        run,
        found,
        tuple(sorted(ref for ref in found if ref not in individuals | journals)),
        len(population.decisions.made),
        population.candidates,
        len(journals),
        len(individuals),
        salvage.only_of(repository, found),
    )


def archive(repository: Repository, run: str, file: Path) -> Leaving:
    """Write the run into `file`, read all of it back, and only then remove its refs and its private folder.

    Raises:
        StoreError: the file cannot be written or read back, or a ref moved meanwhile. Nothing was removed.
    """
    with held(repository, run):
        leaving = look(repository, run)
        if file.exists():
            raise UsageError(f"{file}: exists already. Choose another with -o FILE")
        bundle.write(repository, leaving.refs, file)
        if bundle.prove(repository, file) != leaving.refs:
            raise StoreError(f"{file}: a ref moved while it was written. Nothing was removed; try again")
        salvage.delete_refs(repository, leaving.refs)
    shutil.rmtree(repository.run_folder(run), ignore_errors=True)
    return leaving


def drop(repository: Repository, leaving: Leaving) -> None:
    """Remove the run's refs, where they still stand as seen, and its private folder.

    Raises:
        StoreError: a ref moved meanwhile. Nothing was removed.
    """
    with held(repository, leaving.run):
        salvage.delete_refs(repository, leaving.refs)
    shutil.rmtree(repository.run_folder(leaving.run), ignore_errors=True)
