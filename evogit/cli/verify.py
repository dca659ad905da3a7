"""`verify`: does a version's claimed score hold, measured again from scratch?"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.measure import workbench
from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.evolution.session import Session
    from evogit.review.intervals import Interval
    from evogit.review.verifying import Holdout, Verification


def verify(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A version, as Git names it, or best.")] = "best",
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="How often to measure.")] = 5,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Measure a version again from scratch, each time in a fresh sandbox, and say whether its score holds.

    Where the task has a sealed holdout it is opened for this, for the version and for the start. Exit code 1 if the
    claimed score does not hold. The result is journaled.

    Example: evogit verify best --repeats 10
    """
    from evogit.evolution.session import sitting

    place = here(directory, run)
    commit = resolve(place, revision)
    with sitting(place.repository, place.run) as session:
        found = asyncio.run(_measure(place, session, commit, repeats, quiet=json))
    if json:
        print_json(found.document())
    else:
        _print(found)
    return 0 if found.holds else 1


async def _measure(place: Place, session: Session, commit: str, repeats: int, *, quiet: bool) -> Verification:
    from evogit.review import verifying

    def heard(done: int) -> None:
        if not quiet and sys.stderr.isatty():
            print(f"\rmeasured {done} of {repeats} times ", end="\n" if done == repeats else "", file=sys.stderr)

    async with workbench(place, session, jobs=1) as (bench, _):
        return await verifying.verify(session, commit, bench, repeats=repeats, heard=heard)


def _print(found: Verification) -> None:
    times = "once" if found.repeats == 1 else f"{found.repeats} times, each"
    print(f"{found.commit[:10]} measured again {times} in a fresh sandbox ({found.sandbox})")
    for claim in found.claims:
        measured = "" if claim.expected is None else f", measured {_shown(claim.expected)}"
        print(f"  {claim.what}: claimed {number(claim.claimed)}{measured}: {_word(claim.holds)} ({claim.why})")
    if any(claim.expected is not None and claim.expected.half for claim in found.claims):
        print("  ± is the 95 % prediction interval by Student's t: where such a claim must lie")
    if found.holdout is not None:
        _print_holdout(found.holdout)
    if found.note:
        print(f"  note: {found.note}")
    print("the claimed score holds" if found.holds else "the claimed score does NOT hold")


def _print_holdout(held: Holdout) -> None:
    from evogit.review import intervals

    if held.measured.scores:
        print(f"  holdout: {_shown(intervals.mean(held.measured.scores))}: {_word(held.holds)} ({held.why})")
    else:
        print(f"  holdout: {_word(held.holds)} ({held.why})")
    if held.gap is not None:
        word = "worse" if held.gap.centre >= 0 else "better"
        print(f"    gap: the holdout is {_shown(held.gap, positive=True)} {word} than the score")
    if held.gain is not None and held.kept is not None:
        print(f"    gain over the start: {_shown(held.gain)} by the score, {_shown(held.kept)} on the holdout")
    if held.gap is not None and held.gap.half:
        print("    ± is the 95 % interval by Student's t, of a difference by Welch's t")


def _shown(found: Interval, *, positive: bool = False) -> str:
    centre = abs(found.centre) if positive else found.centre
    return number(centre) + (f" ± {number(found.half)}" if found.half else "")


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"
