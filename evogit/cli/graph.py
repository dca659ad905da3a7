"""`graph`: the phylogeny in the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, RunName, here
from evogit.cli.selection import Accepted, Lineage, Living, MaxNodes, Since, chosen_of, commit, selection

if TYPE_CHECKING:
    from evogit.phylogeny.history import History, Mask
    from evogit.phylogeny.picture import Picture
    from evogit.phylogeny.smartlog import Piece

STYLES = {
    "tree": "bright_black", "id": "yellow", "quiet": "bright_black", "agent": "cyan", "summary": "", "better": "green",
    "worse": "red", "best": "bold yellow", "promoted": "bold green", "pruned": "red", "living": "bold blue",
    "start": "bold", "accepted": "green", "rejected": "bright_black", "commit": "",
}  # fmt: skip
SCORES = ("#c51b4a", "#d9583b", "#e08214", "#d6a419", "#b8b82b", "#8fbc3f", "#62b84f", "#39ad63", "#1a9e77", "#00b894")


def graph(
    everything: Annotated[bool, typer.Option("--all", help="Every commit; nothing is folded.")] = False,
    since: Since = None,
    around: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Only its relatives, three generations.", show_default=False)
    ] = None,
    focus: Annotated[
        str | None,
        typer.Option(metavar="COMMIT", help="Only one lineage, in full: best, or a commit.", show_default=False),
    ] = None,
    living: Living = False,
    lineage: Lineage = None,
    accepted: Accepted = False,
    max_nodes: MaxNodes = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Draw the phylogeny: the living, the promoted and the best lineages in full, the rest folded and counted.

    Example: evogit graph --focus best

    A star is the best, a diamond promoted, a full circle alive, an empty one accepted, a dot rejected. +N counts
    commits folded there, a dotted line has folded commits on it, and a cross names a crossover's other parent.
    """
    from evogit.phylogeny.folding import at_most, draw, remarkable
    from evogit.phylogeny.formats import json as json_format
    from evogit.phylogeny.selecting import select

    place = here(directory, run)
    found = chosen_of(place, run)
    history = found.history
    chosen = selection(place, history, living=living, lineage=lineage, accepted=accepted, since=since, around=around)
    selected = select(history, chosen)
    if focus is not None:
        shown = _path(history, commit(place, history, focus))
        selected = selected & history.ancestors(int(shown.nonzero()[0][-1]))
    elif everything or around or max_nodes:
        shown = selected
    else:
        shown = remarkable(history, selected)
    if max_nodes is not None:
        shown = at_most(history, shown & selected, max_nodes)
    picture = draw(history, selected, shown, run=found.run, task=found.task)
    if json:
        print(json_format.render(picture), end="")
        return
    _print(picture)


def _path(history: History, i: int) -> Mask:
    import numpy as np

    shown = np.zeros(len(history), dtype=np.bool_)
    shown[history.first_parent_path(i)] = True
    return shown


def _print(picture: Picture) -> None:
    """Colours, ages and the terminal's width on a terminal; elsewhere plain text with moments, fit for a diff."""
    from evogit.phylogeny.smartlog import ASCII, UNICODE, plain, render

    glyphs = UNICODE if _can_print("".join([*UNICODE.kinds.values(), UNICODE.fork, UNICODE.fork_gap])) else ASCII
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        _colour(render(picture, glyphs, width, time.time_ns() // 1_000_000))
    else:
        columns = os.environ.get("COLUMNS", "")
        width_asked = int(columns) if columns.isdigit() and int(columns) > 0 else None
        for text in plain(render(picture, glyphs, width_asked)):
            print(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8"))
    rest = " (all of them: evogit graph --all)" if picture.folded else ""
    print(f"{picture.counts}{rest}")


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _colour(lines: list[list[Piece]]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for pieces in lines:
        text = Text(no_wrap=True, end="\n")
        for role, words in pieces:
            style = SCORES[int(role[5:])] if role.startswith("score") else STYLES.get(role, "")
            text.append(words, style=style)
        console.print(text)
