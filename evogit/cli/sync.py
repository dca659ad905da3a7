"""`sync`: exchange a run with a Git remote, once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from evogit.cli.place import Directory, Json, RunName, here, print_json


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
    done = exchange(place.repository, place.run, Remote(place.repository, name))
    if json:
        print_json({"remote": name, **asdict(done)})
    else:
        print(f"{name}: {done.entries} entries fetched, {len(done.pushed)} refs pushed")
        for note in done.notes:
            print(note)
        for complaint in done.complaints:
            print(f"warning: {complaint}", file=sys.stderr)
    return 1 if done.complaints else 0
