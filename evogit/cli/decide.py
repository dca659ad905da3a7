"""`promote`, `prune`, `restore`, `pin`: what a person decides of one version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, Place, RunName, here, print_json
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.review.deciding import Outcome

Rev = Annotated[str, typer.Argument(metavar="REV", help="A version, as Git names it, or: best.")]
Reason = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Why; it stays on record.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Decide nothing: say what it would mean.")]

PAST = {"promote": "promoted", "prune": "pruned", "restore": "restored", "pin": "pinned"}


def promote(
    revision: Rev,
    name: Annotated[str, typer.Option(metavar="N", help="Of the branch promoted/N (default: the short id).")] = "",
    exclusive: Annotated[bool, typer.Option("--exclusive", help="The whole population continues from it.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Endorse a version: agents prefer it as a parent, and a branch marks it.

    Example: evogit promote best --name v1 -m "Readable, and the fastest so far"
    """
    _decide(here(directory, run), revision, "promote", reason, dry_run, json, name=name, exclusive=exclusive)


def prune(
    revision: Rev,
    lineage: Annotated[
        bool, typer.Option("--lineage", help="Its whole lineage, back to where it parted from the others.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="OTHER", help="With --lineage: back to the merge base with OTHER.")
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Declare a version and its descendants extinct: no parent any more, and no equal version comes back.

    Agents that stand there continue from their nearest living relative. Undo: evogit restore REV

    Example: evogit prune 1a2b3c4 -m "Hard-codes the answer"
    """
    _decide(here(directory, run), revision, "prune", reason, dry_run, json, lineage=lineage, since=since)


def restore(
    revision: Rev,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Take back what was decided of a version; a pruned one comes back into the population.

    Example: evogit restore 1a2b3c4
    """
    _decide(here(directory, run), revision, "restore", reason, dry_run, json)


def pin(
    revision: Rev,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Keep a version in the population whatever happens to its agent. Undo: evogit restore REV

    Example: evogit pin 1a2b3c4 -m "Another idea, worth keeping"
    """
    _decide(here(directory, run), revision, "pin", reason, dry_run, json)


def _decide(
    place: Place,
    revision: str,
    verb: str,
    reason: str,
    dry_run: bool,
    json: bool,
    *,
    name: str = "",
    exclusive: bool = False,
    lineage: bool = False,
    since: str | None = None,
) -> None:
    from evogit.errors import UsageError
    from evogit.evolution.session import sitting
    from evogit.review.deciding import Wish, decide, where_it_parted

    if since is not None and not lineage:
        raise UsageError("--since says where --lineage goes back to. Type: evogit prune REV --lineage --since OTHER")
    with sitting(place.repository, place.run) as session:
        commit = resolve(place, revision)
        if lineage and commit in session.population.phylogeny:
            commit = where_it_parted(session, commit, resolve(place, since) if since else None)
        outcome = decide(session, Wish(verb, commit, author(place), reason, name, exclusive), dry_run=dry_run)
    if json:
        print_json(outcome.document)
        return
    for line in told(outcome):
        print(line)


def author(place: Place) -> str:
    """The name of who decides, as Git knows it."""
    import time

    from evogit.store.repository import person

    return person(place.repository, int(time.time())).name


def told(outcome: Outcome) -> list[str]:
    """An outcome for people: what was decided, what follows, how to undo it."""
    wish, short = outcome.wish, outcome.wish.commit[:10]
    done = outcome.entry is not None
    lines = [f"{PAST[wish.verb]} {short}" if done else f"would {wish.verb} {short}"]
    if outcome.branch:
        lines[0] += f" as {outcome.branch}"
    if outcome.moving:
        count = len(outcome.moving)
        named = ", ".join(outcome.moving[:5]) + (f" and {count - 5} more" if count > 5 else "")
        where = "from there" if wish.exclusive else "from their nearest living relatives"
        when = ": within seconds where they run, else with the next evogit run" if done else ""
        lines.append(f"{count} agent{'s continue' if count > 1 else ' continues'} {where}{when} ({named})")
    if done and wish.verb != "restore":
        lines.append(f"undo: evogit restore {short}")
    return lines
