"""`replay`: is a version what its record says? Make it again and compare."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, RunName, here, print_json
from evogit.cli.progress import progress
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.review.replaying import Replay, Replayer


def replay(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A candidate, as Git names it, or best.")] = "best",
    lineage: Annotated[bool, typer.Option("--lineage", help="Also all its ancestors, back to the start.")] = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Make a candidate again from its recorded parents, operator, seed and reply, and say whether the tree is the same.

    No model is asked and nothing is written. What a coding program or a person made cannot be made again, which is
    said and counted. Exit code 1 if anything comes out different.

    Example: evogit replay best --lineage
    """
    from evogit.evolution.session import read_journals, read_population
    from evogit.review.replaying import Replayer, counts

    place = here(directory, run)
    objects = place.objects()
    commit = resolve(place, revision)
    entries = read_journals(objects, place.run, {})
    if not entries:
        read_population(objects, place.run)  # says which runs there are
    replayer = Replayer(objects, entries)
    commits = (replayer.lineage(commit) or [commit]) if lineage else [commit]
    found = asyncio.run(_all(replayer, commits, quiet=json))
    numbers = counts(found)
    if json:
        words = {word.replace(" ", "_"): count for word, count in numbers.items()}
        print_json({"commit": commit, "counts": words, "candidates": [one.document() for one in found]})
    elif lineage:
        _print_lineage(commit, found, numbers)
    else:
        print("\n".join(_lines(found[0])))
    return 1 if numbers["different"] else 0


async def _all(replayer: Replayer, commits: list[str], *, quiet: bool) -> list[Replay]:
    found = []
    with progress("replaying", quiet=quiet) as advance:
        for commit in commits:
            found.append(await replayer.replay(commit))
            advance(len(found), len(commits), commit[:10])
    return found


def _lines(one: Replay) -> list[str]:
    what = f"{one.agent} {one.operator}: {one.summary}".strip(" :")
    lines = [f"{one.commit[:10]}  {one.outcome}  {what}".rstrip(), f"  tree {one.tree}"]
    if one.outcome == "different" and one.made:
        lines.append(f"  made {one.made}")
    return [*lines, f"  {one.why}"] if one.why else lines


def _print_lineage(commit: str, found: list[Replay], numbers: dict[str, int]) -> None:
    for one in found:
        if one.outcome == "different":
            print("\n".join(_lines(one)))
    words = ", ".join(f"{count} {word}" for word, count in numbers.items())
    print(f"{len(found)} candidates on the way to {commit[:10]}: {words}")
    for why, count in Counter(one.why for one in found if one.outcome == "not replayable").most_common():
        print(f"  not replayable: {count} ({why})")
