"""The options by which `graph` and `export` choose commits, and the history they choose from."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Place

if TYPE_CHECKING:
    from evogit.phylogeny.history import History
    from evogit.phylogeny.selecting import Selection

Living = Annotated[bool, typer.Option("--living", help="Only the living and their ancestors.")]
Lineage = Annotated[
    str | None,
    typer.Option(metavar="COMMIT", help="Only this commit (or: best) and its ancestors.", show_default=False),
]
Accepted = Annotated[bool, typer.Option("--accepted", help="Only accepted candidates.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="Only since then: 90s, 30m, 2h, 3d, or 2025-06-01T12:00.", show_default=False),
]
MaxNodes = Annotated[
    int | None, typer.Option("--max-nodes", min=1, help="Show at most so many; the rest is folded and counted.")
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Chosen:
    """A history, and of what: both names are empty for the plain history of a repository without a run."""

    history: History
    run: str = ""
    task: str = ""


def chosen_of(place: Place, run: str | None) -> Chosen:
    """The run's phylogeny, or the repository's plain history when it has no run.

    `run` is what ``--run`` said: a run that was named must be there.
    """
    from evogit.evolution.lineage import read_history, read_run

    if run is None and place.run not in place.repository.runs():
        return Chosen(read_history(place.objects()))
    record = read_run(place.objects(), place.run)
    return Chosen(record.history, place.run, str(record.population.founded.get("task", "")))


def history_of(place: Place, run: str | None) -> tuple[History, str]:
    """The history alone, and the run's name: where the task does not matter."""
    found = chosen_of(place, run)
    return found.history, found.run


def selection(
    place: Place,
    history: History,
    *,
    living: bool = False,
    lineage: str | None = None,
    accepted: bool = False,
    since: str | None = None,
    around: str | None = None,
) -> Selection:
    """What the options ask for. Raises `UsageError`."""
    from evogit.phylogeny.selecting import Selection

    return Selection(
        living=living,
        lineage=None if lineage is None else commit(place, history, lineage),
        accepted=accepted,
        since=None if since is None else moment(since, time.time()),
        around=None if around is None else commit(place, history, around),
    )


def commit(place: Place, history: History, revision: str) -> int:
    """A commit's number in `history`, from what Git understands or the words best and base."""
    from evogit.errors import UsageError

    words = {"best": history.best, "base": history.base}
    if (number := words.get(revision)) is not None:
        return number
    oid = place.objects().resolve(revision)
    if oid is None:
        raise UsageError(f"{revision}: no such commit here. Type: evogit log")
    try:
        return history.index(oid)
    except KeyError:
        raise UsageError(f"{revision}: not a commit of this history. Type: evogit graph --all") from None


def moment(text: str, now: float) -> int:
    """Milliseconds since 1970 from ``2h`` (before `now`, in seconds) or an ISO date; UTC unless it says otherwise."""
    from evogit.errors import UsageError

    ago = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if ago:
        return round((now - float(ago[1]) * _UNITS[ago[2]]) * 1000)
    days = {"today": 0, "yesterday": 1}.get(text.strip().lower())
    if days is not None:
        return (int(now // _UNITS["d"]) - days) * _UNITS["d"] * 1000
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"--since {text}: say 90s, 30m, 2h, 3d, or a date as 2025-06-01 or 2025-06-01T12:00") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
