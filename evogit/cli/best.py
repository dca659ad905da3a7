"""`best`: the champion, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json

if TYPE_CHECKING:
    from evogit.evolution.population import Population
    from evogit.evolution.ranking import Champion


def best(
    checkout: Annotated[Path | None, typer.Option(metavar="DIR", help="Write its files into a new folder.")] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Show the best version found, or write its files to a folder.

    Example: evogit best --checkout /tmp/champion
    """
    from evogit.errors import EvoGitError

    place = here(directory, run)
    population = place.population()
    champion = population.best()
    if champion is None:
        raise EvoGitError(f"run {place.run!r} has no scored version yet. Type: evogit run")
    found = describe(place, population, champion)
    if checkout is not None:
        target = place.directory / checkout
        write_tree(place, champion.tree, target)
        found["checkout"] = str(target)
    if json:
        print_json(found)
        return
    kind = "validation score" if champion.validated else "score"
    print(f"{champion.commit}  {kind} {number(champion.score)}")
    for name, value in champion.evaluation.metrics.items():
        print(f"  {name}: {number(value)}")
    print(f"  by {champion.agent} on {champion.host or 'the start'}; {population.candidates} candidates")
    if found["branch"]:
        print(f"  branch {found['branch']}")
    if checkout is not None:
        print(f"wrote its files to {found['checkout']}")
    else:
        print(f"next: evogit diff; git merge {champion.commit[:10]}; evogit best --checkout DIR")


def describe(place: Place, population: Population, champion: Champion) -> dict[str, Any]:
    """The champion as JSON. `branch` is the branch that stands on it, or the maker's, or null."""
    from evogit.evolution.session import living_refs
    from evogit.store import refs

    living = living_refs(place.objects(), place.run)
    standing = [name for name, commit in living.items() if commit == champion.commit]
    maker = (champion.host, champion.agent)
    name = maker if maker in standing else standing[0] if standing else maker if maker in living else None
    return {
        "commit": champion.commit,
        "score": champion.score,
        "metrics": dict(champion.evaluation.metrics),
        "agent": champion.agent,
        "host": champion.host,
        "branch": refs.branch_of(refs.individual(place.run, *name)) if name else None,
        "validated": champion.validated,
        "candidates": population.candidates,
    }


def write_tree(place: Place, tree: str, target: Path) -> None:
    """Write a tree's files into a new folder: modes and links as they are, links never followed.

    Raises:
        UsageError: the folder exists and is not empty.
    """
    from evogit.errors import UsageError
    from evogit.store.objects import EXECUTABLE, LINK, SUBMODULE

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists and is not empty. Choose another folder")
    target.mkdir(parents=True, exist_ok=True)
    objects = place.objects()
    for path, (mode, oid) in sorted(objects.listing(tree).items(), key=lambda item: item[1][0] == LINK):
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if mode == SUBMODULE:
            file.mkdir(exist_ok=True)
        elif mode == LINK:
            file.symlink_to(objects.blob(oid).decode("utf-8", "surrogateescape"))
        else:
            file.write_bytes(objects.blob(oid))
            file.chmod(0o755 if mode == EXECUTABLE else 0o644)
