"""`run`: evolve, from here on, until the budget is spent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Place, RunName, here, trust
from evogit.cli.sync import first_exchange

if TYPE_CHECKING:
    from evogit.catalog import Agent, Task
    from evogit.evaluation.broker import Forward
    from evogit.evaluation.sandbox import Sandbox
    from evogit.evolution.engine import Engine
    from evogit.evolution.events import Finished, Listener
    from evogit.evolution.session import Plan, Session
    from evogit.models.chat import Ask, Reply
    from evogit.store.remote import Remote
    from evogit.tables import ModelTable
    from evogit.variation.making import Workshop


def run(
    task: Annotated[
        str | None, typer.Option(help="What to evolve (default: as configured, or as the run began).")
    ] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Stop after so many candidates of this call.")] = None,
    seconds: Annotated[
        str | None, typer.Option("--seconds", "--time", metavar="TIME", help="Stop after this time: 90, 15m, 4h.")
    ] = None,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many without a new best.")] = None,
    tries: Annotated[
        int | None, typer.Option(min=1, help="A version is exhausted after so many children in vain.")
    ] = None,
    on_plateau: Annotated[
        str | None,
        typer.Option("--on-plateau", help="After --patience or --tries in vain: stop, or restart from the start."),
    ] = None,
    target: Annotated[float | None, typer.Option(help="Stop when a score as good as this is reached.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Stop before models use more tokens.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option("--max-cost", min=0, help="Stop before models cost more.")] = None,
    max_tokens_per_day: Annotated[
        int | None, typer.Option("--max-tokens-per-day", min=1, help="The same over all calls of a day (UTC).")
    ] = None,
    max_cost_per_day: Annotated[
        float | None, typer.Option("--max-cost-per-day", min=0, help="The same over all calls of a day (UTC).")
    ] = None,
    agents: Annotated[
        str | None, typer.Option(help='The population, as "tinker:48, dial:4" or "coder:4:MODEL".')
    ] = None,
    policy: Annotated[str | None, typer.Option(help="paper, tournament, greedy or best-of-n.")] = None,
    jobs: Annotated[int | None, typer.Option(min=0, help="Evaluations at a time (0: one a processor).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random numbers.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Agents in turn, a logical clock: same seed, same commit ids.")
    ] = False,
    alongside: Annotated[
        bool, typer.Option("--alongside", help="Take part beside a process that runs already.")
    ] = False,
    base: Annotated[str, typer.Option(metavar="REV", help="Where a new run begins.")] = "HEAD",
    sandbox: Annotated[str | None, typer.Option(help="auto, bubblewrap, landlock or limits.")] = None,
    no_sandbox: Annotated[bool, typer.Option("--no-sandbox", help="Allow free code under limits only.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask nobody, write nothing: say what the prompts would cost.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object an event a line.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
    remote: Annotated[
        str | None, typer.Option(help="Exchange with this Git remote all along (default: as configured, else none).")
    ] = None,
    sync_every: Annotated[
        str | None, typer.Option("--sync-every", metavar="TIME", help="Time between two exchanges: 30s, 5m.")
    ] = None,
    directory: Directory = None,
    run_name: RunName = None,
) -> int:
    """Evolve. Budgets count this call only: a run that is there already goes on from where it was.

    Examples:

      evogit run --seconds 10m

      evogit run --task online-bin-packing --agents tinker:48 --candidates 5000

    The first Ctrl-C lets running evaluations finish, the second ends at once; neither loses anything.
    """
    flags = {
        "run.task": task,
        "run.seed": seed,
        "run.deterministic": deterministic or None,
        "budget.candidates": candidates,
        "budget.seconds": seconds,
        "budget.patience": patience,
        "budget.target": target,
        "budget.tokens": max_tokens,
        "budget.cost": max_cost,
        "budget.tokens_per_day": max_tokens_per_day,
        "budget.cost_per_day": max_cost_per_day,
        "population.agents": agents,
        "evolution.policy": policy,
        "evolution.on_plateau": on_plateau,
        "evolution.tries": tries,
        "evaluation.jobs": jobs,
        "evaluation.sandbox": sandbox or ("limits" if no_sandbox else None),
        "sync.remote": remote,
        "sync.every": sync_every,
    }
    place = here(directory, run_name, flags)
    if dry_run:
        from evogit.cli.dryrun import estimate

        return estimate(place, base=base, json=json)
    return evolve(place, base=base, alongside=alongside, waived=no_sandbox, style=_style(json, plain, quiet))


def _style(json: bool, plain: bool, quiet: bool) -> str:
    if json:
        return "json"
    if quiet:
        return "quiet"
    return "plain" if plain or not sys.stdout.isatty() else "live"


def evolve(
    place: Place, *, base: str = "HEAD", alongside: bool = False, waived: bool = False, style: str = "plain"
) -> int:
    """Do one run as configured; the exit code."""
    from evogit.cli.engine import choose_sandbox
    from evogit.evolution.session import opened
    from evogit.needs import require

    remote = first_exchange(place)
    plan = make_plan(place, base=base, alongside=alongside)
    if plan.task is not None:
        require(plan.task.name, plan.task.needs)
    chosen = choose_sandbox(place)
    if chosen is not None:
        _check_sandbox(chosen, plan, waived=waived)
    from evogit.cli.display import display

    with display(style, plan.budget) as listen:
        while True:
            with opened(place.repository, plan) as session:
                require(session.task.name, session.task.needs)  # also of a task that only the run's record still knows
                finished = asyncio.run(_evolve(place, session, chosen, listen, remote))
            if finished.reason != "copied" or remote is None:
                break
            # Another copy of this repository is at work under this host's name: go on under another. That cannot be
            # had while a process beside this one writes too: then go on without exchanges, and nothing is lost.
            host = place.repository.host()
            first_exchange(place)
            if place.repository.host() == host:
                remote = None
            plan = replace(plan, budget=plan.budget.less(finished.candidates, finished.seconds))
        listen(finished)
    if finished.reason == "models":
        print("error: no model answers any more. Type: evogit models check", file=sys.stderr)
        return 1
    return 130 if finished.reason == "interrupted" else 0


def make_plan(place: Place, *, base: str, alongside: bool) -> Plan:
    """The configuration as the engine's plan."""
    import os

    from evogit.catalog import load_agent
    from evogit.errors import UsageError
    from evogit.evolution.budget import Budget, Standstill
    from evogit.evolution.selection import Settings
    from evogit.evolution.session import Plan

    config, root = place.config, place.repository.root
    found = find_task(place)
    agents: list[tuple[Agent, int]] = []
    for row in config.population.agents:
        if row.count:
            agents.append((with_models(load_agent(row.name, root), row.model, config.models), row.count))
    evolution = config.evolution
    direction = found.direction if found else place.population().direction
    deterministic, cluster = config.run.deterministic, config.engine.kind != "local"
    seed = config.run.seed
    if seed is None:
        seed = 0 if deterministic else int.from_bytes(os.urandom(4), "big")
    budget = config.budget
    restarts = evolution.on_plateau == "restart"
    if restarts and budget.patience is None and evolution.tries is None:
        raise UsageError(
            "--on-plateau restart: say after what: --patience N candidates, or --tries N children, in vain"
        )
    goal = budget.target if budget.target is not None else found.target if found else None
    return Plan(
        place.run,
        tuple(agents),
        found,
        evolution.policy,
        Settings(
            direction,
            evolution.tournament_size,
            evolution.crossover_every,
            evolution.island_size,
            evolution.migration,
            evolution.niches,
            config.sync.immigrants,
            config.sync.immigration,
        ),
        evolution.allocation,
        1 if deterministic else config.evaluation.jobs or (0 if cluster else os.cpu_count() or 1),
        config.evaluation.sandbox,
        Budget(
            budget.candidates,
            budget.seconds,
            None if restarts else budget.patience,
            goal,
            budget.tokens,
            budget.cost,
            budget.tokens_per_day,
            budget.cost_per_day,
        ),
        seed,
        deterministic,
        alongside,
        base,
        config.dump(),
        Standstill(evolution.on_plateau, budget.patience, evolution.tries),
        trust(config.sync, os.urandom(8)),
        config.sync.every,
    )


def with_models(agent: Agent, said: str | None, configured: Mapping[str, ModelTable]) -> Agent:
    """The agent with the models it asks: as the population says, as its file says, or the only one there is."""
    from evogit.errors import UsageError

    if said is not None:
        agent = replace(agent, models={said: 1.0})
    elif agent.asks_a_model and not agent.models:
        if len(configured) != 1:
            what = f"one of {', '.join(sorted(configured))}" if configured else "a model"
            raise UsageError(
                f"agent {agent.name!r} needs {what}: say {agent.name}:1:NAME, or write its file's model; "
                "a model is a table [models.NAME] with model and base_url in .evogit/config.toml"
            )
        agent = replace(agent, models={next(iter(configured)): 1.0})
    for name in agent.models:
        if name not in configured:
            known = f"there are: {', '.join(sorted(configured))}" if configured else "there is none yet"
            raise UsageError(f"agent {agent.name!r} asks model {name!r}, but no [models.{name}] is configured; {known}")
    return agent


def make_workshop(place: Place, plan: Plan, session: Session) -> Workshop:
    """The models and tools that the population needs. Raises `ModelError` for a key that is not set."""
    import os
    import time

    from evogit.catalog import builtin
    from evogit.errors import UsageError
    from evogit.models.desk import Desk
    from evogit.models.openai import connect
    from evogit.variation.making import Workshop, secrets_of

    tables = place.config.models
    names = sorted({name for agent, count in plan.agents if count and agent.asks_a_model for name in agent.models})
    broker = session.task.evaluation.model
    if broker and broker not in names:
        if broker not in tables:
            raise UsageError(
                f"task {session.task.name!r} lets its programs ask model {broker!r}; configure [models.{broker}]"
            )
        names.append(broker)
    environ = dict(os.environ)
    chats = {name: connect(name, tables[name], environ) for name in names}
    # From here on nothing that this process starts, Git included, inherits a key.
    for name in secrets_of([agent for agent, _ in plan.agents], tables):
        os.environ.pop(name, None)
    repository = place.repository
    hidden = (*filter(None, (repository.root, repository.git_dir)), builtin("tasks"))
    return Workshop(Desk(chats, tables, time.monotonic), session.editable, environ, hidden)


def find_task(place: Place) -> Task | None:
    """The task to evolve: as said or configured, as the run began, or the only one of the repository's own."""
    from evogit.catalog import load_task
    from evogit.errors import EvoGitError, UsageError

    root = place.repository.root
    if place.config.run.task:
        return load_task(place.config.run.task, root)
    if place.run in place.repository.runs():
        name = str(place.population().founded["task"])
        try:
            return load_task(name, root)
        except EvoGitError:
            return None  # as recorded when the run was founded
    own = sorted(path.parent.name for path in (root / ".evogit/tasks").glob("*/task.toml")) if root else []
    if len(own) == 1:
        return load_task(own[0], root)
    many = f" ({', '.join(own)} are here)" if own else " (evogit init writes one, evogit tasks lists the built-in ones)"
    raise UsageError(f"no task to evolve: say --task NAME{many}")


def _check_sandbox(chosen: Sandbox, plan: Plan, *, waived: bool) -> None:
    from evogit.errors import SandboxError

    if chosen.contains_free_code:
        return
    free = [agent.name for agent, _ in plan.agents if agent.free_code]
    if free and not waived:
        raise SandboxError(
            f"agents that write free code ({', '.join(free)}) need a sandbox, and none works here. "
            "Type: evogit doctor; or accept the risk: evogit run --no-sandbox"
        )
    print(f"warning: sandbox {chosen.name!r}: {chosen.explain}. Type: evogit doctor", file=sys.stderr)


async def _evolve(
    place: Place, session: Session, chosen: Sandbox | None, listen: Listener, remote: Remote | None
) -> Finished:
    workshop = make_workshop(place, session.plan, session)
    try:
        return await _with_tools(place, session, chosen, listen, workshop, remote)
    finally:
        await workshop.desk.close()


def forward(workshop: Workshop, model: str | None) -> Forward | None:
    """How a program under evaluation reaches its model: over the desk, like everybody."""
    if model is None:
        return None

    async def forward(ask: Ask) -> Reply:
        reply, _ = await workshop.desk.ask(model, ask, "candidate")
        return reply

    return forward


async def _with_tools(
    place: Place,
    session: Session,
    chosen: Sandbox | None,
    listen: Listener,
    workshop: Workshop,
    remote: Remote | None,
) -> Finished:
    from evogit.cli.engine import evaluating, install
    from evogit.evolution.engine import Engine
    from evogit.evolution.events import Notice

    async with evaluating(
        place,
        session,
        session.task,
        chosen,
        jobs=session.plan.jobs,
        forward=forward(workshop, session.task.evaluation.model),
        packages=await install(place, session),
        tell=lambda text: listen(Notice(text)),
    ) as evaluator:
        engine = Engine(session, evaluator, listen, workshop, remote)
        with _signals(engine):
            try:
                finished = await engine.run()
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
    return finished


@contextlib.contextmanager
def _signals(engine: Engine) -> Iterator[None]:
    """First SIGINT or SIGTERM: end gracefully; second: at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    seen: list[None] = []

    def stop() -> None:
        seen.append(None)
        if len(seen) == 1:
            print("\nending: running evaluations finish; Ctrl-C again ends at once", file=sys.stderr)
            engine.stop()
        elif task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
