"""`models`: which language models are configured, and whether they answer."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from evogit.cli.place import Directory, Json, RunName, check_run, configuration, folder, print_json

app = typer.Typer(help="The configured language models.", no_args_is_help=True, rich_markup_mode=None)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.", show_default=False)]


@app.command("list")
def list_models(json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """List the configured models. Keys are never shown.

    Example: evogit models list
    """
    check_run(run)
    tables = _tables(directory, None)
    rows = [{"name": name, **table.model_dump(mode="json", exclude={"extra"})} for name, table in tables.items()]
    if json:
        print_json(rows)
        return
    for row in rows:
        price = (
            f", {row['price_input']:g}/{row['price_output'] or 0:g} per million tokens" if row["price_input"] else ""
        )
        print(f"{row['name']}  {row['model']} at {row['base_url'] or 'OpenAI'}{price}")
    if not rows:
        print("no model is configured: add [models.NAME] with model and base_url to .evogit/config.toml")


@app.command("check")
def check(names: Names = None, json: Json = False, directory: Directory = None, run: RunName = None) -> int:
    """Call each configured model once: latency, tokens per second, what it supports, or why it does not answer.

    Example: evogit models check fast
    """
    from evogit.models.checking import check as ask

    check_run(run)
    tables = _tables(directory, names)

    async def ask_all() -> list[Any]:
        return list(await asyncio.gather(*(ask(name, table, os.environ) for name, table in tables.items())))

    findings = asyncio.run(ask_all())
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            if finding.ok:
                speed = f"{finding.tokens_per_second:.1f} tokens/s" if finding.tokens_per_second else "speed unknown"
                usage = "usage reported" if finding.usage_reported else "usage estimated"
                supports = ", ".join(finding.supports)
                print(f"{finding.name}: ok, {finding.latency:.2f} s, {speed}, {supports}, {usage}")
            else:
                print(f"{finding.name}: {finding.problem}")
        if not findings:
            print("no model is configured: add [models.NAME] with model and base_url to .evogit/config.toml")
    return 0 if all(finding.ok for finding in findings) else 1


def _tables(directory: Any, names: list[str] | None) -> dict[str, Any]:
    from evogit.definitions import did_you_mean
    from evogit.errors import EvoGitError, UsageError
    from evogit.store.repository import find

    at = folder(directory)
    try:
        root = find(at).root
    except EvoGitError:
        root = None
    tables = configuration(root).models
    for name in names or ():
        if name not in tables:
            raise UsageError(f"there is no model {name!r}{did_you_mean(name, tables)}. Type: evogit models list")
    return {name: table for name, table in sorted(tables.items()) if not names or name in names}
