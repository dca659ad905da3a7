"""`schedule`: evolve at night, by cron or by a timer of systemd."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.place import Directory, Json, Place, RunName, here, print_json

if TYPE_CHECKING:
    from evogit.scheduling.plan import Plan
    from evogit.scheduling.starting import Told

app = typer.Typer(
    help="Start commands at fixed times: evogit schedule add '0 2 * * *' -- run --seconds 4h --max-cost 5",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Crontab = Annotated[
    Path | None,
    typer.Option(
        "--crontab", metavar="FILE", help="This file instead of the user's crontab, for another cron.", dir_okay=False
    ),
]
Name = Annotated[str, typer.Argument(help="Its name, as schedule list shows it.")]


@app.command("add")
def add(
    when: Annotated[str, typer.Argument(help='A cron expression, as "0 2 * * *", or @daily.')],
    command: Annotated[list[str], typer.Argument(help="After --: the command, as run --seconds 4h.")],
    name: Annotated[str | None, typer.Option(help="What to call it (default: the command's).")] = None,
    env_file: Annotated[
        Path | None, typer.Option("--env-file", metavar="FILE", help="NAME=VALUE lines: the keys, for your eyes only.")
    ] = None,
    notify: Annotated[
        str | None, typer.Option(metavar="CMD", help="Run by sh at the end, the summary as JSON on its stdin.")
    ] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print a service and a timer; cron is left alone.")
    ] = False,
    crontab: Crontab = None,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Start a command of evogit at fixed times.

    Example: evogit schedule add "0 2 * * *" --env-file ~/keys.env -- run --seconds 4h --max-cost 5

    The start gets today's PATH and EVOGIT_ variables. A start that finds the last one still at work does nothing.
    """
    from evogit.scheduling import expression, tab
    from evogit.scheduling import plan as plans
    from evogit.scheduling import systemd as units

    place = here(directory, run)
    private, id_ = place.repository.private, plans.place_of(place.repository.common_dir)
    checked = expression.check(when)
    _check_command([*command, *(["--run", run] if run else [])])
    plan = _plan(place, checked, [*command, *(["--run", run] if run else [])], name, env_file, notify)
    if systemd:
        plans.save(private, plan)
        print(units.units(plan, id_), end="")
        return
    table = tab.Tab(crontab.resolve() if crontab else None)
    with table.changing():
        text = table.read()
        table.write(tab.with_line(text, id_, plan.name, checked, plans.command_of(plan)))
        plans.save(private, plan)
    print(f"{plan.name}: evogit {' '.join(plan.arguments)} at {checked}. Type: evogit schedule logs {plan.name}")
    if crontab is None and tab.daemon_runs() is False:
        print("note: no cron is running on this machine. Type, as root: service cron start", file=sys.stderr)


def _plan(
    place: Place, when: str, command: list[str], name: str | None, env_file: Path | None, notify: str | None
) -> Plan:
    from evogit.errors import UsageError
    from evogit.scheduling import plan as plans
    from evogit.store import refs

    private = place.repository.private
    known = plans.names(private)
    if name is not None:
        refs.check_name("name", name)
        if name in known:
            raise UsageError(f"{name!r} is scheduled already. Another --name; or type: evogit schedule remove {name}")
    else:
        numbered = [command[0], *(f"{command[0]}-{number}" for number in range(2, len(known) + 3))]
        name = next(each for each in numbered if each not in known)
    if env_file is not None:
        plans.read_env_file(env_file)
    secret = [table.api_key_env for table in place.config.models.values() if table.api_key_env]
    return plans.Plan(
        name,
        when,
        tuple(command),
        str(place.repository.root or place.directory),
        plans.interpreter(),
        plans.carried(os.environ, secret),
        str(env_file.absolute()) if env_file else None,
        notify,
    )


def _check_command(words: list[str]) -> None:
    """A mistake in the command is told now, not at two in the morning."""
    from typer.core import TyperGroup
    from typer.exceptions import TyperException
    from typer.main import get_command

    from evogit.cli.app import app as whole
    from evogit.errors import UsageError

    if words[0] in ("schedule", "review", "demo"):
        raise UsageError(f"{words[0]} cannot be scheduled: it needs somebody to be there")
    at: Any = get_command(whole)
    rest, seen = list(words), "evogit"
    try:
        while isinstance(at, TyperGroup):
            found = at.get_command(typer.Context(at), rest[0]) if rest else None
            if found is None:
                raise UsageError(f"there is no command {' '.join([seen, *rest[:1]])!r}. Type: {seen} --help")
            seen, at, rest = f"{seen} {rest[0]}", found, rest[1:]
        at.make_context(seen, rest)
    except TyperException as error:
        raise UsageError(f"{seen} would not start: {error.format_message()}") from None
    except typer.Exit:
        raise UsageError(f"{' '.join(words)!r} only shows help") from None


@app.command("list")
def list_scheduled(
    json: Json = False, crontab: Crontab = None, directory: Directory = None, run: RunName = None
) -> None:
    """List what is scheduled for this repository, and how the last start of each ended."""
    from evogit.scheduling import plan as plans
    from evogit.scheduling import starting, tab

    place = here(directory, run)
    private, id_ = place.repository.private, plans.place_of(place.repository.common_dir)
    lines = {line.name: line for line in _lines(tab.Tab(crontab.resolve() if crontab else None), id_)}
    rows = []
    for name in sorted({*lines, *plans.names(private)}):
        line = lines.get(name)
        plan = plans.load(private, name) if name in plans.names(private) else None
        files = starting.log_files(private, name)
        by = "cron" if line else "systemd or nobody"
        if line and not line.enabled:
            by = "nobody: the line is commented out"
        elif line and plan is None:
            by = f"cron, but its definition is gone. Type: evogit schedule remove {name}, then add"
        rows.append(
            {
                "name": name,
                "when": line.expression if line else plan.expression if plan else None,
                "command": list(plan.arguments) if plan else None,
                "by": by,
                "last": starting.summary_of(files[-1]) if files else None,
                "log": str(files[-1]) if files else None,
            }
        )
    if json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['name']}: {row['when']}  evogit {' '.join(row['command'] or ['?'])} (by {row['by']})")
        print(f"  {_last(row)}")
    if not rows:
        print('nothing is scheduled. Type: evogit schedule add "0 2 * * *" -- run --seconds 4h')


def _lines(table: Any, id_: str) -> Any:
    """EvoGit's lines, none where there is no crontab program: then timers of systemd start things, or nobody."""
    import shutil

    from evogit.scheduling import tab

    if table.file is None and shutil.which("crontab") is None:
        print(f"note: {tab.MISSING}", file=sys.stderr)
        return []
    return tab.ours(table.read(), id_)


def _last(row: Mapping[str, Any]) -> str:
    if row["log"] is None:
        return "not started yet"
    if row["last"] is None:
        return f"no end yet: {row['log']}"
    last = row["last"]
    return f"last start {last['started']}, {last['seconds']:.0f} s, exit code {last['exit_code']}: {last['log']}"


@app.command("remove")
def remove(name: Name, crontab: Crontab = None, directory: Directory = None, run: RunName = None) -> None:
    """Start it no more. Its logs stay."""
    import shutil

    from evogit.errors import UsageError
    from evogit.scheduling import plan as plans
    from evogit.scheduling import tab

    place = here(directory, run)
    private, id_ = place.repository.private, plans.place_of(place.repository.common_dir)
    known, found = name in plans.names(private), False
    table = tab.Tab(crontab.resolve() if crontab else None)
    if crontab is not None or shutil.which("crontab") is not None:
        with table.changing():
            text = table.read()
            found = any(line.name == name for line in tab.ours(text, id_))
            if found:
                table.write(tab.without(text, id_, name))
    if not known and not found:
        plans.load(private, name)  # says what there is
        raise UsageError(f"nothing is scheduled as {name!r}")
    plans.forget(private, name)
    print(f"{name} is started no more")
    if not found:
        print(f"it had no line in the crontab; for systemd: systemctl --user disable --now evogit-{id_}-{name}.timer")


@app.command("logs")
def logs(
    name: Annotated[
        str | None, typer.Argument(help="Of what (default: the latest of all).", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--list", help="One line a start instead of the latest log.")] = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Show the latest start's log, or list all starts that are kept (the last 20 of each name)."""
    from evogit.errors import UsageError
    from evogit.scheduling import plan as plans
    from evogit.scheduling import starting

    private = here(directory, run).repository.private
    names = [name] if name else [path.name for path in sorted((private / "logs").glob("*")) if path.is_dir()]
    files = sorted((file for each in names for file in starting.log_files(private, each)), key=lambda file: file.name)
    skipped = [path for each in names if (path := starting.logs(private, each) / "skipped.log").exists()]
    if name and not files and not skipped:
        plans.load(private, name)
        raise UsageError(f"{name!r} has not been started yet")
    if json:
        print_json([{"log": str(file), "summary": starting.summary_of(file)} for file in files])
    elif every:
        for file in files:
            print(_last({"log": str(file), "last": starting.summary_of(file)}))
        for path in skipped:
            print(path.read_text(), end="")
    elif files:
        print(f"{files[-1]}:")
        print(files[-1].read_text(errors="replace"), end="")
    else:
        print("nothing has been started yet")


@app.command("start", hidden=True)
def start(name: Name, directory: Directory = None, run: RunName = None) -> int:
    """Start it now, as cron does; the log goes where schedule logs finds it."""
    from evogit.scheduling import plan as plans
    from evogit.scheduling import starting

    place = here(directory, run)
    private = place.repository.private
    plan = plans.load(private, name)
    concerned = here(directory, _run_of(plan.arguments) or plan.environment.get("EVOGIT_RUN_NAME"))
    return starting.start(private, plan, _told(concerned), dict(os.environ))


def _run_of(arguments: tuple[str, ...]) -> str | None:
    """The run that a command names, whose record its summary is about."""
    for word, after in zip(arguments, (*arguments[1:], ""), strict=True):
        if word == "--run" or word.startswith("--run="):
            return word.partition("=")[2] or after or None
    return None


def _told(place: Place) -> Told:
    from evogit.cli.status import describe_run
    from evogit.scheduling.starting import Told

    def standing() -> Mapping[str, Any]:
        if place.run not in place.repository.runs():
            return {}
        return describe_run(place, place.population())

    return Told(lambda: datetime.now(UTC), standing, summed)


def summed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a start made of the run, as the summary has it."""
    if not after:
        return {}

    def more(key: str) -> Any:
        return after[key] - before.get(key, 0)

    best, old = after["best"], before.get("best")
    return {
        "run": after["run"],
        "task": after["task"],
        "candidates": more("candidates"),
        "accepted": more("accepted"),
        "tokens": more("tokens"),
        "cost": round(more("cost"), 6),
        "best": {key: best[key] for key in ("commit", "score", "agent")} if best else None,
        "best_before": {key: old[key] for key in ("commit", "score", "agent")} if old else None,
        "improved": bool(best) and (old is None or best["commit"] != old["commit"]),
    }
