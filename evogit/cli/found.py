"""`new` and `init`: make a repository to evolve in, or describe a task in an existing one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evogit.cli.place import Directory, RunName, check_run, configuration, folder, interactive

CONFIG = """# EvoGit's configuration for this repository. `evogit config` shows every key and its value.
[run]
name = "{run}"
task = "{task}"
"""
START = 1_748_736_000  # 2025-06-01: the first commit of `new` is the same for everyone, so equal seeds give equal ids


def new(
    where: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    task: Annotated[str, typer.Option(help="The task whose seed it starts from; evogit tasks lists them.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One of the task's [parameters] (repeatable)."),
    ] = None,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Start a fresh repository from a task's seed.

    Example: evogit new packing --task online-bin-packing --set domain=or

    With --set the task itself, so changed, goes into the repository too, under .evogit/tasks.
    """
    from evogit.catalog import load_task
    from evogit.config import default_cache
    from evogit.errors import UsageError
    from evogit.fetching import starting_files
    from evogit.needs import require
    from evogit.scaffold import with_parameters
    from evogit.store.objects import Identity
    from evogit.store.repository import create

    check_run(run)
    found = load_task(task, None)
    if not found.seed and found.fetch is None:
        raise UsageError(f"task {task!r} has no seed to start from. In a repository of yours type: evogit init")
    require(found.name, found.needs)
    target = folder(directory) / where
    if found.fetch is not None:
        print(f"fetching the source of {found.fetch.package} {found.fetch.version} …", flush=True)
    start = starting_files(found, default_cache())
    own = with_parameters(found, set_) if set_ else {}
    files = start | own | {".evogit/config.toml": (CONFIG.format(task=task, run=run or "main").encode(), False)}
    create(target, files, f"Start from the seed of {task}", Identity("EvoGit", "evogit@evogit.invalid", START))
    print(f"{target}: a repository with the seed of {task}")
    print(f"next: cd {where} && evogit run --seconds 60")


def init(
    goal: Annotated[str | None, typer.Option(help="What should become better, in words.")] = None,
    command: Annotated[str | None, typer.Option(help='What scores a version, as "python bench.py".')] = None,
    evolve: Annotated[
        list[str] | None, typer.Option(help="A path or glob that agents may change (repeatable).")
    ] = None,
    protect: Annotated[list[str] | None, typer.Option(help="One they may never change (repeatable).")] = None,
    direction: Annotated[str | None, typer.Option(help="maximize or minimize the score.")] = None,
    name: Annotated[str | None, typer.Option(help="The task's name (default: the folder's).")] = None,
    deadline: Annotated[float, typer.Option(help="Seconds one evaluation may take.")] = 60.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a task of that name.")] = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Describe a task in an existing repository: the goal, what scores a version, what may change.

    Example: evogit init --goal "Make parsing faster" --command "python bench.py" --evolve "src/**/*.py"

    The command runs in a folder with the candidate's files and writes its result as JSON, {"score": 1.5}, into the
    file that the environment variable EVOGIT_RESULT names.
    """
    import shutil

    from evogit.errors import UsageError
    from evogit.scaffold import files_named_in, split_command, write_task
    from evogit.store.refs import slug
    from evogit.store.repository import find

    check_run(run)
    repository = find(folder(directory))
    root = repository.root
    if root is None:
        raise UsageError("this is a bare repository. Type evogit init in a checkout of it")
    goal = _ask("Goal (what should become better?)", "--goal", goal)
    command = _ask('Command that scores a version (as "python bench.py")', "--command", command)
    evolve = evolve or _ask("What may agents change? (globs, separated by spaces)", "--evolve", None).split()
    direction = direction or (typer.prompt("maximize or minimize", default="maximize") if interactive() else "maximize")
    if direction not in ("maximize", "minimize"):
        raise UsageError(f"--direction {direction}: maximize or minimize")
    task = name or slug(root.name)
    place = root / ".evogit" / "tasks" / task
    if force and place.is_dir():
        shutil.rmtree(place)
    words = split_command(command)
    write_task(
        place,
        name=task,
        goal=goal,
        command=words,
        evolve=evolve,
        protect=protect or files_named_in(words, root),
        direction="minimize" if direction == "minimize" else "maximize",
        deadline=deadline,
    )
    print(f"wrote {place.relative_to(root)}/task.toml and goal.md: read them, they are yours")
    _name_the_task(root, task, run)
    print("next: evogit run --candidates 20")


def _ask(question: str, option: str, given: str | None) -> str:
    from evogit.errors import UsageError

    if given:
        return given
    if not interactive():
        raise UsageError(f"{option} is missing (and this is no terminal to ask on)")
    return str(typer.prompt(question))


def _name_the_task(root: Path, task: str, run: str | None) -> None:
    path = root / ".evogit" / "config.toml"
    if not path.exists():
        path.write_text(CONFIG.format(task=task, run=run or "main"))
        print(f"wrote {path.relative_to(root)}")
    elif configuration(root).run.task != task:
        print(f'{path.relative_to(root)} is there already: set task = "{task}" under [run], or say --task {task}')
