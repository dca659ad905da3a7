"""The command line as a whole: which commands there are and what may stand before them."""

from __future__ import annotations

from typing import Annotated

import typer

from evogit import __version__
from evogit.cli import (
    adopt,
    best,
    catalog,
    checks,
    configure,
    credit,
    decide,
    demo,
    export,
    found,
    graph,
    guide,
    join,
    land,
    leave,
    log,
    minimize,
    models,
    replay,
    report,
    review,
    run,
    schedule,
    show,
    stats,
    status,
    sync,
    tasks,
    verify,
)

app = typer.Typer(
    name="evogit",
    help="A population of coding agents evolves a code base inside a Git repository.",
    epilog="Begin: evogit demo; or in a repository of yours: evogit init, then evogit run.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        print(f"evogit {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What may stand before a command; -C and --run are moved behind it."""


app.command("new")(found.new)
app.command("init")(found.init)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("sync")(sync.sync)
app.command("join")(join.join)
app.command("bundle")(join.bundle)
app.command("log")(log.log)
app.command("show")(show.show)
app.command("diff")(show.diff)
app.command("graph")(graph.graph)
app.command("export")(export.export)
app.command("stats")(stats.stats)
app.command("credit")(credit.credit)
app.command("bisect")(credit.bisect)
app.command("best")(best.best)
app.command("verify")(verify.verify)
app.command("minimize")(minimize.minimize)
app.command("report")(report.report)
app.command("land")(land.land)
app.command("review")(review.review)
app.command("promote")(decide.promote)
app.command("prune")(decide.prune)
app.command("restore")(decide.restore)
app.command("pin")(decide.pin)
app.command("adopt")(adopt.adopt)
app.command("guide")(guide.guide)
app.command("goal")(guide.goal)
app.command("replay")(replay.replay)
app.add_typer(tasks.app, name="tasks")
app.command("agents")(catalog.agents)
app.add_typer(models.app, name="models")
app.command("config")(configure.config)
app.add_typer(schedule.app, name="schedule")
app.command("fsck")(checks.fsck)
app.command("clean")(checks.clean)
app.command("archive")(leave.archive)
app.command("drop")(leave.drop)
app.command("doctor")(checks.doctor)
app.command("demo")(demo.demo)
