"""Where a command works: the options every command shares, and what is opened by them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evogit.config import Config
    from evogit.evolution.findings import Trust
    from evogit.evolution.population import Population
    from evogit.store.objects import Objects
    from evogit.store.repository import Repository
    from evogit.tables import SyncTable

Directory = Annotated[
    Path | None, typer.Option("-C", metavar="DIR", help="Work as if started in DIR.", show_default=False)
]
RunName = Annotated[
    str | None, typer.Option("--run", metavar="NAME", help="The run (default: main).", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@dataclass(frozen=True)
class Place:
    """A repository, the run in question, and the configuration there."""

    directory: Path
    repository: Repository
    config: Config
    run: str

    def objects(self) -> Objects:
        return self.repository.objects()

    def population(self) -> Population:
        from dataclasses import replace

        from evogit.evolution.session import read_population

        said = trust(self.config.sync)
        if not said.everybody:
            said = replace(said, hosts=(self.repository.host(), *said.hosts), check=0.0)
        return read_population(self.repository.objects(), self.run, trust=said)


def trust(table: SyncTable, salt: bytes = b"") -> Trust:
    """Whose scores the configuration believes."""
    from evogit.evolution.findings import Trust

    return Trust(table.trust, table.check, table.tolerance, salt)


def folder(directory: Path | None) -> Path:
    """The folder a command works in. Raises `UsageError` if it is none."""
    from evogit.errors import UsageError

    found = Path(directory or ".")
    if not found.is_dir():
        raise UsageError(f"{found}: no such folder")
    return found.resolve()


def check_run(run: str | None) -> None:
    """Every command takes ``--run``; the ones that concern no run only check its form."""
    from evogit.store import refs

    if run is not None:
        refs.check_name("run name", run)


def configuration(root: Path | None, flags: Mapping[str, object] | None = None) -> Config:
    from evogit import config

    return config.load(root, os.environ, config.default_user_file(), flags or {})


def here(directory: Path | None, run: str | None, flags: Mapping[str, object] | None = None) -> Place:
    """Open the repository around `directory`, with flags over files and environment."""
    from evogit.store import refs
    from evogit.store.repository import find

    at = folder(directory)
    repository = find(at)
    settings = configuration(repository.root, flags)
    name = refs.check_name("run name", run or settings.run.name)
    return Place(at, repository, settings, name)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def fitted(text: str) -> str:
    """`text`, which holds a repository's, as one line that controls no terminal; on one it is cut to its width."""
    from evogit.phylogeny.formats.text import line
    from evogit.phylogeny.smartlog import cut

    found = line(text)
    return cut(found, shutil.get_terminal_size().columns, "…") if sys.stdout.isatty() else found


def number(value: float | None) -> str:
    """A score for people."""
    return "–" if value is None else f"{value + 0.0:.6g}"  # no negative zero
