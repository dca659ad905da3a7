"""`join` and `bundle`: take part in a run that others began, over a remote or from a file."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.place import Directory, Json, RunName, check_run, folder, here, print_json

if TYPE_CHECKING:
    from evogit.evolution.population import Population
    from evogit.store.repository import Repository


def join(
    source: Annotated[str, typer.Argument(metavar="URL|FILE", help="A Git address, or a file of `evogit bundle`.")],
    to: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The new clone (default: named after the address).")
    ] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Take part in a run: clone what is needed, ready to go on where the others are.

    With the file of a bundle and no DIR, inside a repository: take in what the file brings.

    Examples:

      evogit join git@forge:team/project.git && cd project && evogit run --seconds 10m

      evogit join night.bundle
    """
    from evogit.errors import StoreError

    check_run(run)
    at = folder(directory)
    file = at / Path(source).expanduser()
    if file.is_file() and to is None:
        try:
            place = here(directory, run)
        except StoreError:
            pass
        else:
            return _take_in(place.repository, place.run, file, json=json)
    target = at / to if to is not None else at / _named_after(source)
    found = _from_file(file, target, run) if file.is_file() else _from_remote(source, target, run)
    if json:
        print_json(found)
        return 0
    print(f"{target}: run {found['run']}, {found['candidates']} candidates of {found['hosts']} hosts are here")
    print(f"go on:  cd {shlex.quote(str(target))} && evogit run{found['flags']}")
    return 0


def bundle(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    since: Annotated[
        Path | None, typer.Option(help="An earlier bundle: leave out what it holds.", show_default=False)
    ] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Write a run into one file, for machines without a network: there, `evogit join FILE` takes it in."""
    from evogit.errors import UsageError
    from evogit.store import bundle as bundles

    place = here(directory, run)
    at = place.directory / file
    names = bundles.refs_of(place.objects(), place.run)
    if not names:
        place.population()  # says which runs there are
        raise UsageError(f"run {place.run!r} has nothing to bundle")
    known = bundles.contents(place.directory / since) if since else {}
    held = bundles.write(place.repository, names, at, {oid for oid in known.values() if place.objects().has(oid)})
    if json:
        print_json({"file": str(at), "refs": len(held), "bytes": at.stat().st_size})
    else:
        print(f"{at}: {len(held)} refs of run {place.run}, {at.stat().st_size / 1e6:.1f} MB")
    return 0


def _named_after(source: str) -> str:
    """The folder that a clone of `source` goes to, as Git names it."""
    return source.rstrip("/").removesuffix("/.git").rpartition("/")[2].rpartition(":")[2].rpartition(".")[0] or "joined"


def _take_in(repository: Repository, run: str, file: Path, *, json: bool) -> int:
    from evogit.evolution.population import fold
    from evogit.evolution.renaming import own_writers
    from evogit.evolution.session import read_journals, stream_journals
    from evogit.evolution.syncing import settle
    from evogit.store import bundle as bundles
    from evogit.store import refs

    objects, host = repository.objects(), repository.host()
    tips = {ref.removeprefix(refs.journals(run)): oid for ref, oid in objects.refs(refs.journals(run)).items()}
    misfits = bundles.fetch(repository, file, run, own_writers(objects, run, host))
    objects = repository.objects()
    entries = len(read_journals(objects, run, tips))
    # An agent's branch goes where its journal says, which need not be ahead of where it was.
    complaints = [f"{ref} does not continue what is here" for ref in misfits if ref.startswith(refs.journals(run))]
    complaints += settle(objects, run, fold(stream_journals(objects, run, {})), host)
    if json:
        print_json({"run": run, "entries": entries, "complaints": complaints})
    else:
        print(f"{file}: {entries} entries of run {run} taken in")
        for complaint in complaints:
            print(f"warning: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _from_file(file: Path, target: Path, run: str | None) -> dict[str, Any]:
    from evogit.store import bundle as bundles
    from evogit.store.repository import blank

    name = _which(bundles.runs_in(bundles.contents(file)), run, str(file))
    repository = blank(target)
    bundles.fetch(repository, file, name)
    return _ready(repository, target, name, "")


def _from_remote(source: str, target: Path, run: str | None) -> dict[str, Any]:
    from evogit.evolution.syncing import exchange
    from evogit.store.bundle import runs_in
    from evogit.store.remote import Remote, clone
    from evogit.store.repository import find

    clone(source, target)
    repository = find(target)
    remote = Remote(repository, "origin")
    name = _which(runs_in(remote.advertised("refs/evogit/*/journal/*")), run, source)
    exchange(repository, name, remote)
    return _ready(repository, target, name, "origin")


def _which(runs: list[str], run: str | None, source: str) -> str:
    from evogit.errors import UsageError

    if run is None and (len(runs) == 1 or "main" in runs):
        return runs[0] if len(runs) == 1 else "main"
    if run in runs:
        return str(run)
    there = f"there are: {', '.join(runs)}. Say --run NAME" if runs else "there is none. Begin one: evogit run"
    raise UsageError(f"{source}: {'which run? ' if run is None else f'no run {run!r}; '}{there}")


def _ready(repository: Repository, target: Path, run: str, remote: str) -> dict[str, Any]:
    """Check out where the run began if nothing is checked out, and configure what the others run with."""
    from evogit.evolution.session import read_population
    from evogit.store.repository import check_out

    population = read_population(repository.objects(), run)
    if population.base:
        check_out(repository, population.base)
    config = target / ".evogit/config.toml"
    flags = "" if run == "main" else f" --run {run}"
    if config.exists():
        flags += f" --remote {remote}" if remote else ""
    else:
        config.parent.mkdir(exist_ok=True)
        config.write_text(_configuration(population, run, remote), encoding="utf-8")
        flags = ""
    return {
        "directory": str(target),
        "run": run,
        "candidates": population.candidates,
        "hosts": len(population.hosts),
        "flags": flags,
    }


def _configuration(population: Population, run: str, remote: str) -> str:
    """The population and the models that the run was founded with, as a file; keys are never on record."""
    said: Mapping[str, Any] = population.founded.get("configuration", {})
    agents = said.get("population", {}).get("agents", [])
    short = ", ".join(f"{a['name']}:{a['count']}" + (f":{a['model']}" if a.get("model") else "") for a in agents)
    lines = ["# Written by evogit join: what this run was founded with. Change what you like.", "[run]"]
    lines += [f"name = {_toml(run)}"]
    lines += ["", "[population]", f"agents = {_toml(short)}"] if short else []
    lines += ["", "[sync]", f"remote = {_toml(remote)}"] if remote else []
    for name, table in said.get("models", {}).items():
        lines += ["", f"[models.{name}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value not in (None, {})]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A value as TOML writes it; JSON's texts, numbers and truth values are TOML's too."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)
