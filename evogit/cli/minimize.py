"""`minimize`: what of a version's change its score really needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.measure import workbench
from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json
from evogit.cli.progress import Advance, progress
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.evolution.session import Session
    from evogit.models.desk import Desk
    from evogit.review.minimizing import Minimized
    from evogit.review.verifying import Bench

SHOWN = 20


def minimize(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A version, as Git names it, or: best.")] = "best",
    tolerance: Annotated[
        str, typer.Option(metavar="T", help="By how much the score may get worse: 0.01, or 1%.")
    ] = "0",
    jobs: Annotated[int, typer.Option(min=0, help="Variants tried at a time (0: as configured).")] = 0,
    expressions: Annotated[
        bool, typer.Option("--expressions/--no-expressions", help="Also shorten expressions of Python.")
    ] = True,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Find the smallest part of a version's change that keeps its score, and say what was dead weight.

    Hunks are left out, then lines, then parts of expressions, each variant evaluated once and journaled: interrupt it,
    and the next call goes on where it was. The result is a commit beside the version, on the run's start.

    Example: evogit minimize best --tolerance 1%
    """
    from evogit.evolution.session import sitting

    place = here(directory, run)
    commit = resolve(place, revision)
    with sitting(place.repository, place.run) as session, progress("minimize", quiet=json) as advance:
        found = asyncio.run(
            minimized(place, session, commit, advance, tolerance=tolerance, jobs=jobs, expressions=expressions)
        )
    if json:
        print_json(found.document)
    else:
        for line in told(found):
            print(line)
    return 0 if found.holds else 1


async def minimized(
    place: Place,
    session: Session,
    commit: str,
    advance: Advance,
    *,
    tolerance: str = "0",
    jobs: int = 0,
    expressions: bool = True,
) -> Minimized:
    """Do it with the sandbox and models configured here."""
    async with workbench(place, session, jobs=_width(place, jobs)) as (bench, desk):
        return await minimized_by(
            place, session, bench, desk, commit, advance, tolerance=tolerance, jobs=jobs, expressions=expressions
        )


async def minimized_by(
    place: Place,
    session: Session,
    bench: Bench,
    desk: Desk,
    commit: str,
    advance: Advance,
    *,
    tolerance: str = "0",
    jobs: int = 0,
    expressions: bool = True,
) -> Minimized:
    """The same at a bench that is there already."""
    from evogit.evolution.scoring import Scoring
    from evogit.review import minimizing

    async with bench.open(session.task) as evaluator:
        return await minimizing.minimize(
            session,
            Scoring(session, evaluator, desk),
            commit,
            tolerance=_tolerance(session, commit, tolerance),
            width=_width(place, jobs),
            expressions=expressions,
            heard=lambda done, at: advance(done, 0, at),
        )


def _width(place: Place, jobs: int) -> int:
    import os

    return jobs or place.config.evaluation.jobs or os.cpu_count() or 1


def _tolerance(session: Session, commit: str, text: str) -> float:
    """In score units; a percentage is of the version's own score."""
    from evogit.errors import UsageError

    share = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"--tolerance {text!r}: expected a number such as 0.01, or a percentage such as 1%")
    if not share:
        return value
    population = session.population
    result = population.result(session.objects.commit(commit).tree, population.epoch)
    return abs(result.score or 0.0) * value / 100 if result else 0.0


def told(found: Minimized) -> list[str]:
    """The outcome for people."""
    (more, less), (added, removed) = found.lines
    cost = f"{found.evaluations} evaluations" + (f", {found.known} more were on record" if found.known else "")
    if found.commit is None:
        return [f"nothing can be left out of {found.of[:10]} (+{more} −{less} lines; {cost})"]
    lines = [
        f"{found.of[:10]}: {found.hunks[0]} hunks, +{more} −{less} lines, score {number(found.before)}",
        f"{found.commit[:10]}: {found.hunks[1]} hunks, +{added} −{removed} lines, score {number(found.after)}",
    ]
    if found.dead:
        lines.append("dead weight:")
        lines += [f"  {piece.place}  +{piece.size[0]} −{piece.size[1]}" for piece in found.dead[:SHOWN]]
        lines += [f"  … and {len(found.dead) - SHOWN} more"] if len(found.dead) > SHOWN else []
    if found.shortened:
        lines.append(f"{found.shortened} expressions were replaced by parts of their own")
    if not found.holds:
        lines.append("measured again, the smaller version does NOT keep the score: what was seen was noise")
    return [*lines, cost, f"next: evogit diff base {found.commit[:10]}; evogit adopt {found.commit[:10]}"]
