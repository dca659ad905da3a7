"""`export`: the phylogeny as a file for other programs, documents and people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, Place, RunName, here, print_json
from evogit.cli.selection import Accepted, Lineage, Living, MaxNodes, Since, chosen_of, selection

if TYPE_CHECKING:
    from evogit.phylogeny.history import History, Mask
    from evogit.phylogeny.picture import Picture


def export(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The file; - for standard output.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="dot, graphml, json, newick, alife, mermaid, svg, png, html or csv (default: by the file's suffix).",
            show_default=False,
        ),
    ] = None,
    living: Living = False,
    lineage: Lineage = None,
    accepted: Accepted = False,
    since: Since = None,
    max_nodes: MaxNodes = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Write the phylogeny to a file.

    Example: evogit export -o phylogeny.html

    Pictures fold what is too much to look at and say how much that is; --max-nodes sets how much is shown. Data formats
    hold everything. Without a run, the repository's plain history is exported.
    """
    from evogit.errors import EvoGitError, UsageError
    from evogit.phylogeny.folding import at_most, draw
    from evogit.phylogeny.formats import format_named, guess, render
    from evogit.phylogeny.selecting import select

    if form is None and (output is None or output == Path("-")):
        raise UsageError("say where to and how: -o FILE (as phylogeny.html), or --format NAME")
    chosen = format_named(form) if form else guess(output or Path())
    place = here(directory, run)
    found = chosen_of(place, run)
    history = found.history
    selected = select(
        history, selection(place, history, living=living, lineage=lineage, accepted=accepted, since=since)
    )
    wanted = max_nodes or chosen.limit or len(history)
    shown = at_most(history, selected, min(wanted, chosen.most or wanted))
    picture = draw(history, selected, shown, run=found.run, task=found.task)
    data = _page(place, history, selected, picture) if chosen.name == "html" else render(chosen, picture)
    if output is None or output == Path("-"):
        sys.stdout.buffer.write(data)
        return
    target = place.directory / output
    try:
        target.write_bytes(data)
    except OSError as error:
        raise EvoGitError(f"{target}: cannot be written: {error.strerror}") from error
    about = {"file": str(target), "format": chosen.name, "bytes": len(data)}
    about |= {"shown": len(picture.nodes), "folded": picture.folded, "total": picture.total}
    if json:
        print_json(about)
    else:
        print(f"{target}: {chosen.name}, {picture.counts}")


def _page(place: Place, history: History, selected: Mask, picture: Picture) -> bytes:
    from evogit.evolution.details import look_in
    from evogit.phylogeny.curves import curves
    from evogit.phylogeny.formats import html

    look = look_in(place.objects(), picture.run or None)
    return html.render(picture, look, curves(history, selected)).encode()
