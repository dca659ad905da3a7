"""`archive` and `drop`: a run leaves the repository, into one file or for good."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, RunName, here, interactive, print_json

if TYPE_CHECKING:
    from evogit.evolution.leaving import Leaving

Name = Annotated[str | None, typer.Argument(metavar="RUN", help="The run (default: as --run says).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Remove nothing: say what would be.")]


def archive(
    name: Name = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The bundle (default: evogit-RUN.bundle).")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Put a whole run into one Git bundle, verify it, then remove the run's refs here.

    Everything is in the file: journals, candidates, individuals, promoted versions, decisions. Back it comes, here or
    in any clone, by: git fetch FILE 'refs/*:refs/*'. Exit code 5 if a process holds the run.
    """
    from evogit.evolution import leaving

    place = here(directory, name or run)
    file = place.directory / (output or f"evogit-{place.run}.bundle")
    if dry_run:
        with leaving.held(place.repository, place.run):
            found = leaving.look(place.repository, place.run)
    else:
        found = leaving.archive(place.repository, place.run, file)
    size = None if dry_run else file.stat().st_size
    if json:
        print_json({**found.row(), "file": str(file), "file_bytes": size, "removed": not dry_run})
        return
    if size is None:
        print(f"would put {_told(found)} into {file} and remove it here")
        return
    print(f"{_told(found)}: now in {file} ({size / 1e6:.1f} MB), read back whole, and removed here")
    print(f"to have it again: git fetch {file} 'refs/*:refs/*'")
    print("to free its space: git gc --prune=now")


def drop(
    name: Name = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Remove a run for good: its journals, branches, tags and private folder. `archive` keeps a copy.

    Says first what goes, promoted versions and decisions by name, and asks. Exit code 1 if nobody confirmed, 5 if a
    process holds the run.
    """
    from evogit.errors import UsageError
    from evogit.evolution import leaving

    place = here(directory, name or run)
    with leaving.held(place.repository, place.run):
        found = leaving.look(place.repository, place.run)
    if not json or not (yes or dry_run):
        for line in _warning(found):
            print(line, file=sys.stderr)
    if not dry_run and not yes:
        if not interactive():
            raise UsageError(f"nothing was removed: confirm with evogit drop {place.run} --yes")
        if not typer.confirm(f"Remove run {place.run!r} for good?", err=True):
            print("nothing was removed")
            return 1
    if not dry_run:
        leaving.drop(place.repository, found)
    if json:
        print_json({**found.row(), "removed": not dry_run})
    elif not dry_run:
        print(f"removed run {place.run}: {len(found.refs)} refs. To free its space: git gc --prune=now")
    return 0


def _told(found: Leaving) -> str:
    return (
        f"run {found.run}: {found.candidates:,} candidates in {found.journals} journals, "
        f"{found.individuals} individuals, {found.decisions} decisions, "
        f"{found.bytes / 1e6:.1f} MB that nothing else here needs"
    )


def _warning(found: Leaving) -> list[str]:
    """What goes, with what people did by name."""
    lines = [f"this removes {_told(found)}"]
    if found.people or found.decisions:
        lines.append(f"with {found.decisions} decisions of people, and what they named:")
        lines += [f"  {ref} at {found.refs[ref][:10]}" for ref in found.people]
        lines.append("to keep a version: git branch NAME COMMIT; to keep everything: evogit archive")
    return lines
