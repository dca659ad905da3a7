"""`tasks`: list the tasks with what they need, show one, scaffold one, and try one before it is relied upon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from evogit.cli.catalog import checkout, origin
from evogit.cli.measure import asked_model
from evogit.cli.place import Directory, Json, RunName, check_run, configuration, folder, number, print_json

if TYPE_CHECKING:
    from evogit.catalog import Task
    from evogit.evaluation.sandbox import Sandbox
    from evogit.evaluation.trying import Finding
    from evogit.models.chat import Chat
    from evogit.needs import Found


class _Listing(TyperGroup):
    """`evogit tasks` and `evogit tasks NAME` are short for `evogit tasks list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        shared: list[str] = []
        while args[:1] and args[0] in ("-C", "--run") and len(args) > 1:
            shared, args = [*shared, *args[:2]], args[2:]
        if args[:1] and args[0] in (*self.commands, "--help", "-h"):
            return super().parse_args(ctx, [*args[:1], *shared, *args[1:]])
        return super().parse_args(ctx, ["list", *shared, *args])


app = typer.Typer(
    cls=_Listing,
    help="The tasks there are: list them, show one (evogit tasks NAME), make one, try one.",
    rich_markup_mode=None,
)

Name = Annotated[str | None, typer.Argument(help="Show this one.", show_default=False)]


@app.command("list")
def list_tasks(name: Name = None, json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """List the tasks with what each needs and whether it is here, or show one.

    Example: evogit tasks; evogit tasks online-bin-packing
    """
    from evogit import catalog

    check_run(run)
    root = checkout(directory)
    found = [catalog.load_task(name, root)] if name else catalog.list_tasks(root)
    models = configuration(root).models
    needs = {task.name: _needs(task, models) for task in found}
    rows = [_row(task, needs[task.name]) for task in found]
    if json:
        print_json(rows[0] if name else rows)
        return
    for task in found:
        print(f"{task.name}  ({origin(task.source)}) {task.description}")
        if task.measured is not None:
            print(f"    {_measured(task)}")
        for need in needs[task.name]:
            print(f"    needs {need.name}: {_STATE[need.present]}{need.text}")
        if name:
            _details(task)


_STATE = {True: "", False: "MISSING, ", None: ""}


def _needs(task: Task, models: Any) -> list[Found]:
    from evogit.needs import look

    return [look(need, task.evaluation.model, models) for need in task.needs]


def _row(task: Task, needs: list[Found]) -> dict[str, Any]:
    return {
        "name": task.name,
        "description": task.description,
        "origin": origin(task.source),
        "direction": task.direction,
        "evolve": list(task.evolve),
        "protect": list(task.protect),
        "needs": [{"name": need.name, "present": need.present, "text": need.text} for need in needs],
        "fetch": task.fetch and task.fetch.model_dump(mode="json"),
        "measured": task.measured and task.measured.model_dump(mode="json", exclude_none=True),
        "evaluation": task.evaluation.model_dump(mode="json", exclude_none=True),
        "limits": task.limits.model_dump(mode="json", exclude_none=True),
        "digest": task.digest,
        "source": str(task.source) if task.source else None,
        "goal": task.goal,
    }


def _measured(task: Task) -> str:
    assert task.measured is not None
    told = task.measured
    arrow = "lower is better" if task.direction == "minimize" else "higher is better"
    best = "" if told.best is None else f", best {number(told.best)}" + (f" ({told.by})" if told.by else "")
    took = "" if told.seconds is None else f"; {told.seconds:.3g} s an evaluation"
    return f"measured: seed {number(told.seed)}{best}; {arrow}{took}"


def _details(task: Task) -> None:
    print(f"\n{task.goal.strip()}\n\n{task.direction} the score; agents may change: {', '.join(task.evolve)}")
    for stage in task.evaluation.stages:
        how = stage.function or " ".join(stage.command or ())
        least = "" if stage.threshold is None else f", must reach {stage.threshold:g}"
        print(f"  stage {stage.name}: {how} within {stage.deadline:g} s{least}")
    if task.evaluation.holdout is not None:
        print("  sealed: a holdout that only evogit verify opens")
    readme = task.source / "README.md" if task.source else None
    if readme is not None and readme.is_file():
        print(f"read: {readme}")
    if task.seed or task.fetch:
        print(f"next: evogit new DIR --task {task.name}")


@app.command("new")
def new_task(
    name: Annotated[str, typer.Argument(help="The task's name: letters, digits, '-' and '_'.")],
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Write a small task that works as it is, to edit: goal, seed, judge, candidates to try it with, a README.

    In a repository it goes to .evogit/tasks/NAME, elsewhere to ./NAME.

    Example: evogit tasks new my-task && evogit tasks check my-task
    """
    from evogit.example import write_example

    check_run(run)
    root = checkout(directory)
    place = root / ".evogit" / "tasks" / name if root else folder(directory) / name
    written = write_example(place, name)
    here = place.relative_to(root) if root else Path(name)
    for path in written:
        print(f"wrote {here / path}")
    print(f"next: evogit tasks check {name if root else here}")


@app.command("check")
def check_task(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A task, or a task's folder.")],
    short: Annotated[bool, typer.Option("--short", help="Fewer repeats, one sandbox, nothing that waits.")] = False,
    sandbox: Annotated[str, typer.Option(help="auto, bubblewrap, landlock or limits.")] = "auto",
    model: Annotated[
        str | None, typer.Option(help="The configured model its candidates ask (default: the task's, or the only one).")
    ] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Try a task before anybody relies on it. Exit code 1 if something is wrong with it.

    The seed evaluates; the score repeats, or its noise is measured and declared; protected files are protected;
    trivially bad and hostile candidates score badly (generated ones, and the task's own in trials/); the sandbox
    suffices; how long an evaluation takes.

    Example: evogit tasks check online-bin-packing
    """
    check_run(run)
    task = _named(name, directory)
    chat = asked_model(task, model, checkout(directory))
    findings = _try(task, sandbox, chat, short=short, say=None if json else _say)
    bad = [finding for finding in findings if finding.state == "failed"]
    if json:
        print_json({"task": task.name, "ok": not bad, "findings": [finding.document() for finding in findings]})
    else:
        print(f"{task.name}: {len(bad)} of {len(findings)} checks failed" if bad else f"{task.name}: all is well")
    return 1 if bad else 0


def _try(
    task: Task, sandbox: str, chat: Chat | None, *, short: bool, say: Callable[[Finding], None] | None
) -> list[Finding]:
    import asyncio
    import tempfile

    from evogit.cli.measure import packages
    from evogit.config import default_cache
    from evogit.errors import UsageError
    from evogit.evaluation.trying import Attempt, protected, trials_of
    from evogit.fetching import starting_files
    from evogit.needs import require

    require(task.name, task.needs)
    seed = starting_files(task, default_cache())
    if not seed:
        raise UsageError(f"task {task.name!r} has no seed to try: {task.source}/seed")
    boxes = _sandboxes(sandbox, task, short=short)
    with tempfile.TemporaryDirectory(prefix="evogit-check-") as scratch:
        found = asyncio.run(packages(task, protected(task, seed)))
        forward = chat.complete if chat else None
        attempt = Attempt(task, seed, Path(scratch), short, say, forward=forward, packages=found)
        return asyncio.run(attempt.run(boxes, trials_of(task, seed, short=short)))


def _sandboxes(asked: str, task: Task, *, short: bool) -> list[Sandbox]:
    """The one asked for, or all that contain free code; the best only in the short form."""
    from evogit.errors import SandboxError, UsageError
    from evogit.evaluation.sandbox import TIERS, choose, probe

    tier = next((tier for tier in TIERS if tier == asked), None)
    if tier is not None:
        return [probe(tier)]
    if asked != "auto":
        raise UsageError(f"--sandbox {asked}: auto, {', '.join(TIERS)}")
    if short:
        return [choose()]
    found = []
    for tier in TIERS[:1] if "bubblewrap" in task.needs else TIERS[:2]:
        try:
            found.append(probe(tier))
        except SandboxError:
            continue
    return found or [choose()]


def _say(finding: Finding) -> None:
    print(f"{finding.state:<8}{finding.name}: {finding.text}", flush=True)


def _named(name: str, directory: Path | None) -> Task:
    from evogit.catalog import load_task, load_task_folder

    place = folder(directory) / name
    if (place / "task.toml").is_file():
        return load_task_folder(place)
    return load_task(name, checkout(directory))
