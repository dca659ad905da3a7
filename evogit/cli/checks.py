"""`fsck`, `clean` and `doctor`: is the record whole, is anything left behind, does this machine do?"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from evogit.cli.place import Directory, Json, Place, RunName, check_run, folder, here, print_json

if TYPE_CHECKING:
    from evogit.evolution.repairing import Act


def fsck(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, name what cannot, then check.")
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="PLACE", help="With --repair: a remote, clone or bundle to take objects from."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: say what would be done.")] = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Check every invariant of the runs recorded here: journals, candidates, individuals, the order of entries.

    Without --run all runs are checked. Nothing is written, unless --repair says so: then stale locks, damaged caches,
    broken refs, unreadable journals and missing objects (from every remote, or --from) are mended, within the run's
    refs and Git's objects; what is taken away is kept in .git/evogit/RUN/lost.

    Exit code 0 if all is well (afterwards), 1 if something is (still) broken, 5 if a process holds the run.
    """
    from evogit.evolution.fsck import check

    place = here(directory, run)
    acts = _mend(place, place.run if run else None, source, dry_run) if repair or dry_run else []
    progress = _counter() if sys.stderr.isatty() and not json else None
    report = check(place.repository, place.run if run else None, progress)
    if json:
        print_json(asdict(report) | {"clean": report.clean, "repair": [asdict(act) for act in acts]})
    else:
        for act in acts:
            print(f"{act.state}: {act.text}")
        for finding in report.findings:
            run_name = f"run {finding.run}: " if finding.run else ""
            print(f"{finding.severity}: {run_name}{finding.text}" + (f" ({finding.hint})" if finding.hint else ""))
        runs = ", ".join(report.runs) or "none"
        print(
            f"runs: {runs}; {report.entries} entries, {report.candidates} candidates, {report.individuals} individuals"
        )
        print("clean" if report.clean else "broken: see above")
    return 0 if report.clean else 1


def _mend(place: Place, run: str | None, source: list[str] | None, dry_run: bool) -> list[Act]:
    from evogit.evolution.repairing import Repair
    from evogit.store.salvage import recorded, remotes

    sources = source or remotes(place.repository)
    return [
        act
        for name in ([run] if run else recorded(place.repository))
        for act in Repair(place.repository, name, sources, dry_run).mend()
    ]


def _counter() -> Callable[[int], None]:
    def show(count: int) -> None:
        print(f"\rreading entries: {count:,}", end="", file=sys.stderr, flush=True)

    return show


def clean(json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """Remove what killed processes left: workspaces, partial packs, locks on refs. Never a commit or a branch."""
    from evogit.evolution.cleaning import clean as sweep

    removed = sweep(here(directory, run).repository)
    if json:
        print_json({"removed": removed})
        return
    for path in removed:
        print(f"removed {path}")
    print(f"{len(removed)} leftovers removed" if removed else "nothing to clean")


@dataclass(frozen=True)
class Check:
    name: str
    state: Literal["ok", "warning", "missing"]
    text: str


def doctor(json: Json = False, directory: Directory = None, run: RunName = None) -> int:
    """Test Git, the sandboxes, the fork server and the disk on this machine, and explain each line.

    Exit code 1 if something essential does not work.
    """
    check_run(run)
    results = []
    for check in _checks(folder(directory)):
        results.append(check)
        if not json:
            print(f"{check.state:<8}{check.name}: {check.text}", flush=True)
    if json:
        print_json([asdict(check) for check in results])
    return 1 if any(check.state == "missing" for check in results) else 0


def _checks(at: Path) -> Iterator[Check]:
    from evogit.errors import EvoGitError
    from evogit.evaluation.sandbox import INSTALL, TIERS, probe
    from evogit.store.repository import git_version

    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", "ok", f"{version} at {sys.executable}")
    try:
        found = git_version()
        enough = found >= (2, 32)
        text = ".".join(map(str, found))
        yield Check("Git", "ok" if enough else "missing", text if enough else f"{text}: 2.32 or newer is needed")
    except EvoGitError as error:
        yield Check("Git", "missing", str(error))
    works = []
    for tier in TIERS:
        begun = time.perf_counter()
        try:
            sandbox = probe(tier)
        except EvoGitError as error:
            advice = f" {INSTALL}" if tier == "bubblewrap" and shutil.which("bwrap") is None else ""
            yield Check(f"sandbox {tier}", "warning", f"{error}.{advice}")
        else:
            works.append(tier)
            took = (time.perf_counter() - begun) * 1e3
            yield Check(f"sandbox {tier}", "ok", f"{sandbox.explain} (a real evaluation in {took:.0f} ms)")
    if not works:
        yield Check("fork server", "missing", "no evaluation can run here at all")
    elif works == ["limits"]:
        yield Check("fork server", "warning", f"works, but nothing contains free code. {INSTALL}")
    else:
        yield Check("fork server", "ok", f"evaluations run under {works[0]}")
    yield from _disk(at)
    columns = shutil.get_terminal_size().columns
    live = sys.stdout.isatty()
    yield Check("terminal", "ok", f"{columns} columns, live display" if live else "not a terminal: plain lines")


def _disk(at: Path) -> Iterator[Check]:
    free = shutil.disk_usage(at).free / 1e9
    try:
        with tempfile.NamedTemporaryFile(dir=at) as file:
            file.write(b"x" * 65536)
            begun = time.perf_counter()
            file.flush()
            os.fsync(file.fileno())
            took = (time.perf_counter() - begun) * 1e3
    except OSError as error:
        yield Check("disk", "missing", f"{at}: {error.strerror}")
        return
    state: Literal["ok", "warning"] = "ok" if free > 1 else "warning"
    yield Check("disk", state, f"{free:.1f} GB free at {at}, an fsync takes {took:.1f} ms")
    memory = Path("/dev/shm")
    if memory.is_mount() and os.access(memory, os.W_OK):
        yield Check("workspaces", "ok", f"in memory: {shutil.disk_usage(memory).free / 1e9:.1f} GB free in {memory}")
    else:
        yield Check("workspaces", "warning", "no writable tmpfs at /dev/shm: they go to the repository's own disk")
