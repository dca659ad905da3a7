"""`guide` the agents in words, and `goal`: what they work towards, stage by stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.decide import DryRun, Reason, author
from evogit.cli.editor import edited
from evogit.cli.place import Directory, Json, Place, RunName, here, interactive, print_json
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.evolution.decisions import Guidance
    from evogit.evolution.population import Population


def guide(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What to tell the agents.")] = None,
    on: Annotated[
        str | None, typer.Option(metavar="REV", help="Only for this version and what descends from it.")
    ] = None,
    agent: Annotated[str, typer.Option(metavar="A", help="Only for this agent, or all of this definition.")] = "",
    listing: Annotated[bool, typer.Option("--list", help="List what was said.")] = False,
    withdraw: Annotated[
        str | None, typer.Option(metavar="ID", help="Take something back; --list shows the ids.")
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Tell the agents something; it goes into their prompts from now on.

    Example: evogit guide "Prefer fewer lines over cleverness" --agent coder
    """
    from evogit.errors import UsageError
    from evogit.evolution.session import sitting
    from evogit.review import deciding

    place = here(directory, run)
    if sum((listing, withdraw is not None, text is not None)) > 1:
        raise UsageError("one of TEXT, --list and --withdraw ID at a time")
    if text is None and withdraw is None:
        _list(place.population(), json=json)
        return
    with sitting(place.repository, place.run) as session:
        about = resolve(place, on) if on else ""
        if about and about not in session.population.phylogeny:
            raise UsageError(f"{on}: no candidate of run {place.run!r}. Type: evogit log")
        if withdraw is not None and dry_run:
            taken = deciding.guidance_called(session, withdraw)
            said, document = f"would withdraw: {taken.text}", _row(taken, holds=True)
        elif withdraw is not None:
            taken = deciding.withdraw(session, withdraw, author=author(place), reason=reason)
            said, document = f"withdrawn: {taken.text}", _row(taken, holds=False)
        elif dry_run:
            said = f"would say: {text}"
            document = {"id": None, "text": text, "on": about or None, "agent": agent or None}
        else:
            entry = deciding.guide(session, text or "", author=author(place), on=about, agent=agent, reason=reason)
            given = next(g for g in session.population.decisions.guidance if g.entry == entry.oid)
            said = f"said. Take it back: evogit guide --withdraw {entry.oid[:10]}"
            document = _row(given, holds=True)
        document["dry_run"] = dry_run
    if json:
        print_json(document)
    else:
        print(said)


def _list(population: Population, *, json: bool) -> None:
    decisions = population.decisions
    if json:
        print_json(
            [_row(g, holds=True) for g in decisions.guidance] + [_row(g, holds=False) for g in decisions.withdrawn]
        )
        return
    for guidance in decisions.guidance:
        limits = [f"on {guidance.on[:10]}"] if guidance.on else []
        limits += [f"to {guidance.agent}"] if guidance.agent else []
        told = f" ({', '.join(limits)})" if limits else ""
        print(f"{guidance.entry[:10]}  {guidance.text}{told}  — {guidance.author}")
    if not decisions.guidance:
        print('nothing was said yet, or all of it was withdrawn. Type: evogit guide "TEXT"')


def _row(guidance: Guidance, *, holds: bool) -> dict[str, Any]:
    return {
        "id": guidance.entry,
        "text": guidance.text,
        "author": guidance.author,
        "on": guidance.on or None,
        "agent": guidance.agent or None,
        "time": guidance.order[0].milliseconds / 1000,
        "holds": holds,
    }


def goal(
    action: Annotated[
        str | None, typer.Argument(metavar="[edit]", help="Open the next stage in $EDITOR.", show_default=False)
    ] = None,
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="With edit: read the text from FILE, or from standard input: -.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="All stages, with who opened and who saw them.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Show what the agents work towards, or open the next stage of it: they see it from their next prompt on.

    Examples:

      evogit goal --history

      evogit goal edit --file stage-2.md
    """
    from evogit.errors import UsageError

    place = here(directory, run)
    if action == "edit":
        _edit(place, file, reason=reason, dry_run=dry_run, json=json)
    elif action is not None:
        raise UsageError(f"evogit goal knows only edit, not {action!r}. Type: evogit goal edit --file FILE")
    elif file is not None:
        raise UsageError("--file goes with edit. Type: evogit goal edit --file FILE")
    else:
        _show(place, history=history, json=json)


def _show(place: Place, *, history: bool, json: bool) -> None:
    from evogit.evolution.session import recorded_task

    population = place.population()
    task = recorded_task(place.objects(), population)
    stages = _stages(place, population)
    if json:
        print_json({"goal": task.goal, "stages": stages})
        return
    print(task.goal.rstrip())
    for stage in stages if history else stages[-1:]:
        seen = f", seen by {stage['candidates']} candidates" if history else ""
        print(f"\n--- stage {stage['stage']}, by {stage['author']}{seen}\n{stage['text']}")
    if not stages:
        print("\n(no stage was opened since; evogit goal edit opens one)")


def _stages(place: Place, population: Population) -> list[dict[str, Any]]:
    """The stages as JSON, with how many candidates saw each."""
    from collections import Counter

    from evogit.evolution.session import read_journals

    seen: Counter[str] = Counter()
    if population.decisions.stages:
        for entry in read_journals(place.objects(), place.run, {}):
            if entry.kind == "evaluated" and "decision" in entry.data:
                seen[str(entry.data.get("goal", ""))] += 1
    return [
        {
            "stage": number,
            "text": stage.text,
            "author": stage.author,
            "time": stage.order[0].milliseconds / 1000,
            "entry": stage.entry,
            "candidates": seen[stage.entry[:10]],
        }
        for number, stage in enumerate(population.decisions.stages, 1)
    ]


def _edit(place: Place, file: str | None, *, reason: str, dry_run: bool, json: bool) -> None:
    from evogit.errors import UsageError
    from evogit.evolution.session import recorded_task, sitting
    from evogit.review.deciding import check_goal, set_goal

    with sitting(place.repository, place.run) as session:
        stage = session.population.decisions.stage
        if file == "-":
            text = sys.stdin.read()
        elif file is not None:
            try:
                text = (place.directory / Path(file)).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{file}: cannot be read: {error}") from error
        elif not interactive():
            raise UsageError("no terminal for an editor here. Type: evogit goal edit --file FILE")
        else:
            before = stage.text if stage else recorded_task(session.objects, session.population).goal
            saved = edited(place, {"goal.md": f"{before.strip()}\n".encode()})
            if not saved:
                raise UsageError("the editor saved nothing new; the goal is as it was")
            text = saved["goal.md"].decode("utf-8", "replace")
        check_goal(session, text)
        number = len(session.population.decisions.stages) + 1
        entry = None if dry_run else set_goal(session, text, author=author(place), reason=reason)
    if json:
        print_json({"stage": number, "entry": entry and entry.oid, "dry_run": dry_run})
    elif dry_run:
        print(f"would open stage {number}: {text.strip()}")
    else:
        print(f"stage {number} is open; agents see it from their next prompt on")
