"""`sync`: exchange a run with a Git remote, once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, Place, RunName, here, print_json

if TYPE_CHECKING:
    from evogit.store.remote import Remote


def sync(
    remote: Annotated[
        str | None, typer.Option(help="A Git remote's name (default: as configured, else origin).")
    ] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Exchange a run with a Git remote once: fetch everybody's journals, push this host's journals and branches.

    Nothing is forced, here or there, and no ref outside the run is touched. Exit code 1 if something did not fit.
    """
    from dataclasses import asdict

    from evogit.evolution.syncing import exchange
    from evogit.store.remote import Remote

    place = here(directory, run, {"sync.remote": remote})
    name = place.config.sync.remote or "origin"
    done = exchange(place.repository, place.run, Remote(place.repository, name), _say)
    if json:
        print_json({"remote": name, **asdict(done)})
    else:
        print(f"{name}: {done.entries} entries fetched, {len(done.pushed)} refs pushed")
        for note in done.notes:
            print(note)
        for complaint in done.complaints:
            print(f"warning: {complaint}", file=sys.stderr)
    return 1 if done.complaints else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def first_exchange(place: Place) -> Remote | None:
    """The remote to exchange with, if one is configured, after an exchange before anything is begun."""
    from evogit.errors import Unreachable
    from evogit.evolution.syncing import exchange
    from evogit.store.remote import Remote

    name = place.config.sync.remote
    if name is None:
        return None
    if place.config.run.deterministic:
        print("warning: --deterministic exchanges nothing: type evogit sync afterwards", file=sys.stderr)
        return None
    remote = Remote(place.repository, name)
    try:
        done = exchange(place.repository, place.run, remote, _say)
    except Unreachable as error:
        print(f"warning: {error}. Going on without; it is tried again", file=sys.stderr)
    else:
        for line in (*done.notes, *done.complaints):
            print(f"warning: {line}", file=sys.stderr)
    return remote
