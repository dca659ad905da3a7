"""`log`: the candidates, newest first."""

from __future__ import annotations

import operator as compare
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.place import Directory, Json, RunName, fitted, here, number, print_json

if TYPE_CHECKING:
    from evogit.store.journal import Entry


def log(
    agent: Annotated[str | None, typer.Option(help="Only this agent's (or this definition's).")] = None,
    operator: Annotated[str | None, typer.Option(help="Only by this operator.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only with this outcome: accepted, worse, failed, timeout …")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="Only where this holds, as 'score<0.7' (repeatable).", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 30,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """List the candidates, newest first: commit, score, outcome, agent, operator, summary.

    Example: evogit log --status accepted --where 'score<0.7' -n 10

    A condition compares a field of log --json, or a metric by its name, with <, <=, >, >=, = or !=; ~ asks for a part
    of a text. A candidate without the field does not match.
    """
    from evogit.errors import UsageError
    from evogit.evolution.session import read_journals

    wanted = [condition(text) for text in where or ()]
    place = here(directory, run)
    entries = read_journals(place.objects(), place.run, {})
    if not entries:
        raise UsageError(f"no run {place.run!r} in this repository. Type: evogit run")
    rows: list[Row] = []
    for entry in reversed(entries):
        if entry.kind != "evaluated" or "decision" not in entry.data:
            continue
        row = row_of(entry)
        if agent not in (None, row["agent"], entry.data.get("definition")) or operator not in (None, row["operator"]):
            continue
        if status in (None, row["decision"]) and all(holds(row) for holds in wanted):
            rows.append(row)
        if len(rows) == limit:
            break
    for row in rows:
        if json:
            print_json(row)
        else:
            print(fitted(_line(row)))


Row = Mapping[str, Any]


def row_of(entry: Entry) -> Row:
    """One candidate as ``log --json`` has it."""
    data = entry.data
    return {
        "commit": entry.candidate,
        "score": data.get("score"),
        "decision": data["decision"],
        "status": data["status"],
        "agent": data["agent"],
        "host": data["host"],
        "operator": data["operator"],
        "model": data.get("model", ""),
        "epoch": data.get("epoch", 0),
        "step": data.get("step"),
        "seconds": data.get("seconds"),
        "parents": data["parents"],
        "summary": data["summary"],
        "metrics": data.get("metrics", {}),
        "milliseconds": entry.clock.milliseconds,
    }


def _line(row: Row) -> str:
    head = f"{row['commit'][:10]}  {number(row['score']):>12}  {row['decision']:<10}"
    return f"{head} {row['agent']:<14} {row['operator']:<12} {row['summary']}"


Holds = Callable[[Row], bool]

_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": compare.le, ">=": compare.ge, "!=": compare.ne, "==": compare.eq, "<": compare.lt, ">": compare.gt,
    "=": compare.eq, "~": lambda found, part: part.lower() in found.lower(),
}  # fmt: skip
_TEXTS = {"commit", "decision", "status", "agent", "host", "operator", "model", "summary"}
_NUMBERS = {"score", "epoch", "step", "seconds", "milliseconds"}


def condition(text: str) -> Holds:
    """Whether a row of the log meets `text`, as ``score<0.7`` or ``summary~loop``. Raises `UsageError`."""
    from evogit.errors import UsageError

    found = re.fullmatch(r"\s*([^<>=!~]+?)\s*(<=|>=|!=|==|<|>|=|~)\s*(.*?)\s*", text, re.DOTALL)
    if found is None:
        raise UsageError(f"--where {text!r}: say FIELD, one of {' '.join(_SIGNS)}, and a value, as 'score<0.7'")
    field, sign, value = found.groups()
    if field in _TEXTS:
        return lambda row: _SIGNS[sign](row[field], value)
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"--where {text!r}: {field} is compared with a number, not {value!r}") from None
    if sign == "~":
        raise UsageError(f"--where {text!r}: ~ asks for a part of a text; the texts are {', '.join(sorted(_TEXTS))}")

    def holds(row: Row) -> bool:
        value = row[field] if field in _NUMBERS else row["metrics"].get(field.removeprefix("metrics."))
        return value is not None and _SIGNS[sign](float(value), number)

    return holds
