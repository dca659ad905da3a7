"""`adopt`: a person's commit, branch or patch enters the population."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.decide import DryRun, Reason
from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.evolution.session import Session


def adopt(
    what: Annotated[
        str, typer.Argument(metavar="REV|BRANCH|PATCH|-", help="A commit, a branch, a patch file, or a patch on stdin.")
    ],
    onto: Annotated[str, typer.Option(metavar="REV", help="What a patch is applied to.")] = "best",
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Bring a version of your own into the population: it is evaluated, and agents breed from it from then on.

    A commit pushed to a branch evogit/RUN/human/NAME is adopted by itself wherever the run goes on.

    Example: evogit adopt my-branch -m "A faster inner loop"
    """
    from evogit.evolution.session import sitting
    from evogit.store.repository import person

    place = here(directory, run)
    who = person(place.repository, int(time.time()))
    with sitting(place.repository, place.run) as session:
        commit = _commit(place, session, what, onto, reason)
        if dry_run:
            found: dict[str, Any] = {"commit": commit, "dry_run": True}
        else:
            found = asyncio.run(adopted(place, session, commit, who.name, reason))
    if json:
        print_json(found)
    elif dry_run:
        print(f"would evaluate {commit[:10]} and take it into the population if it passes")
    else:
        for line in told(found):
            print(line)
    return 0 if found.get("status", "ok") == "ok" else 1


def _commit(place: Place, session: Session, what: str, onto: str, reason: str) -> str:
    """The commit in question: one that is there, or the one a patch makes."""
    from evogit.errors import UsageError
    from evogit.review.contributing import from_patch
    from evogit.store.repository import person

    file = place.directory / what
    if what != "-" and (found := place.objects().resolve(what)) is not None:
        return found
    if what != "-" and not file.is_file():
        raise UsageError(f"{what}: neither a commit, a branch nor a patch file here. Type: git log; or: evogit log")
    try:
        patch = sys.stdin.buffer.read() if what == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{what}: cannot be read: {error.strerror}") from error
    return from_patch(session, patch, resolve(place, onto), person(place.repository, int(time.time())), reason)


async def adopted(place: Place, session: Session, commit: str, who: str, reason: str) -> dict[str, Any]:
    """Evaluate and journal it; the outcome as JSON."""
    from evogit.cli.measure import measuring
    from evogit.evolution import adopting

    async with measuring(place, session, jobs=1) as (_, scoring):
        _, evaluation = await adopting.adopt(
            session, scoring, commit, author=who, reason=reason, epoch=session.population.epoch
        )
    session.journal.publish()
    return {
        "commit": commit,
        "status": evaluation.status,
        "score": evaluation.score,
        "metrics": dict(evaluation.metrics),
        "feedback": evaluation.feedback,
        "outside": list(adopting.outside(session, commit)),
        "dry_run": False,
    }


def told(found: dict[str, Any]) -> list[str]:
    """The outcome for people."""
    short = str(found["commit"])[:10]
    if found["status"] != "ok":
        feedback = str(found["feedback"]).strip()
        return [f"not adopted: {short} ends its evaluation {found['status']}", *feedback.splitlines()[-20:]]
    lines = [f"adopted {short}, score {number(found['score'])}: agents breed from it from now on"]
    if found["outside"]:
        lines.append(f"note: it also changes what agents may not: {', '.join(found['outside'][:10])}")
    return [*lines, f"undo: evogit restore {short}; or: evogit prune {short}"]
