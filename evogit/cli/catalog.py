"""`agents`: list the definitions there are, show one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evogit.cli.place import Directory, Json, RunName, check_run, folder, print_json

Name = Annotated[str | None, typer.Argument(help="Show this one.")]


def checkout(directory: Path | None) -> Path | None:
    """The checkout around the folder, or None: definitions can be listed anywhere."""
    from evogit.errors import StoreError
    from evogit.store.repository import find

    try:
        return find(folder(directory)).root
    except StoreError:
        return None


def origin(source: Path | None) -> str:
    return "yours" if source is not None and ".evogit" in source.parts else "built-in"


def agents(name: Name = None, json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """List the agent definitions, or show one.

    Example: evogit agents tinker
    """
    from evogit.catalog import list_agents, load_agent
    from evogit.variation.making import arms_of

    check_run(run)
    root = checkout(directory)
    found = [load_agent(name, root)] if name else list_agents(root)
    rows: list[dict[str, Any]] = []
    for agent in found:
        arms = list(arms_of(agent))
        rows.append(
            {
                "name": agent.name,
                "description": agent.description,
                "origin": origin(agent.source),
                "operator": agent.operator,
                "arms": arms,
                "models": dict(agent.models),
                "free_code": agent.free_code,
                "source": str(agent.source) if agent.source else None,
            }
        )
    if json:
        print_json(rows[0] if name else rows)
        return
    for row, agent in zip(rows, found, strict=True):
        print(f"{row['name']}  ({row['origin']}) {row['description']}")
        if name:
            print(f"  operator {agent.operator}; arms: {', '.join(rows[0]['arms']) or '–'}\n\n{agent.prompt.strip()}")
