"""`log`: the candidates, newest first."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evogit.cli.place import Directory, Json, RunName, here, number, print_json


def log(
    agent: Annotated[str | None, typer.Option(help="Only this agent's (or this definition's).")] = None,
    operator: Annotated[str | None, typer.Option(help="Only by this operator.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only with this outcome: accepted, worse, failed, timeout …")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 30,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """List the candidates, newest first: commit, score, outcome, agent, operator, summary.

    Example: evogit log --status accepted -n 10
    """
    from evogit.errors import UsageError
    from evogit.evolution.session import read_journals

    place = here(directory, run)
    entries = read_journals(place.objects(), place.run, {})
    if not entries:
        raise UsageError(f"no run {place.run!r} in this repository. Type: evogit run")
    rows: list[dict[str, Any]] = []
    for entry in reversed(entries):
        data = entry.data
        if entry.kind != "evaluated" or "decision" not in data:
            continue
        if agent not in (None, data["agent"], data.get("definition")):
            continue
        if operator not in (None, data["operator"]) or status not in (None, data["decision"]):
            continue
        rows.append(
            {
                "commit": entry.candidate,
                "score": data.get("score"),
                "decision": data["decision"],
                "status": data["status"],
                "agent": data["agent"],
                "host": data["host"],
                "operator": data["operator"],
                "epoch": data.get("epoch", 0),
                "parents": data["parents"],
                "summary": data["summary"],
                "milliseconds": entry.clock.milliseconds,
            }
        )
        if len(rows) == limit:
            break
    if json:
        for row in rows:
            print_json(row)
        return
    for row in rows:
        print(
            f"{row['commit'][:10]}  {number(row['score']):>12}  {row['decision']:<10} {row['agent']:<14} "
            f"{row['operator']:<12} {row['summary']}"
        )
