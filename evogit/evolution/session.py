"""Open a run: found it or take it up again, with its task, its journal, its population and this process's place."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from evogit.catalog import Agent, Editable, Task, check_hot, editable, seal_digest, task_files, task_from_files
from evogit.errors import StoreError, UsageError
from evogit.evolution.allocation import Rule
from evogit.evolution.budget import Budget, Standstill
from evogit.evolution.entries import flaw
from evogit.evolution.findings import Trust
from evogit.evolution.population import Population, fold
from evogit.evolution.selection import Settings
from evogit.store import journal as journals
from evogit.store import refs, salvage
from evogit.store.journal import Entry, Journal
from evogit.store.objects import EXECUTABLE, FILE, Objects
from evogit.store.repository import Repository, RunLock
from evogit.values import Oid

DETERMINISTIC_HOST = "local"
DETERMINISTIC_START = 1_748_736_000_000  # 2025-06-01, milliseconds: the logical clock's zero


@dataclass(frozen=True)
class Plan:
    """What one `evogit run` was asked to do. `agents` are (definition, count)."""

    run: str
    agents: tuple[tuple[Agent, int], ...]
    task: Task | None = None
    policy: str = "tournament"
    selection: Settings | None = None
    rule: Rule = "ucb"
    jobs: int = 2
    sandbox: Literal["auto", "bubblewrap", "landlock", "limits"] = "auto"
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    deterministic: bool = False
    alongside: bool = False
    base: str = "HEAD"
    configuration: Mapping[str, Any] = field(default_factory=dict)
    standstill: Standstill = field(default_factory=Standstill)
    trust: Trust = field(default_factory=Trust)
    """Whose scores are believed; this host's own always are."""
    sync_every: float = 60.0
    """Seconds between two exchanges with a remote, where there is one."""


@dataclass
class Session:
    """An opened run. Close it with the context manager that made it."""

    repository: Repository
    objects: Objects
    plan: Plan
    task: Task
    digest: str
    overlay: Mapping[str, bytes]
    editable: Callable[[str], bool]
    journal: Journal
    population: Population
    tips: dict[str, Oid]
    host: str
    number: int
    resumed: bool
    base: Oid
    base_tree: Oid

    def new_entries(self) -> list[Entry]:
        """What other writers have added since the last call."""
        return read_journals(self.objects, self.plan.run, self.tips, skip=self.journal.writer)


def stream_journals(objects: Objects, run: str, tips: dict[str, Oid], skip: str = "") -> Iterator[Entry]:
    """Entries not seen yet of every writer but `skip`, in their order; `tips` is brought up to date at once.

    Each is read when its turn comes, for a hundred thousand take 600 MB. What is malformed, or written under another's
    name, is passed over: `evogit fsck` names it.
    """
    found: list[journals.Place] = []
    for ref, tip in objects.refs(refs.journals(run)).items():
        writer = ref.removeprefix(refs.journals(run))
        if writer == skip or tips.get(writer) == tip:
            continue
        places = journals.places(objects, tip, tips.get(writer))
        found += (place._replace(writer=writer) for place in places if place.writer == writer)  # one text for all
        tips[writer] = tip
    found.sort(reverse=True)
    return _entries(objects, found)


def _entries(objects: Objects, left: list[journals.Place]) -> Iterator[Entry]:
    """The last one first; those that were read are taken from the list."""
    while left:
        place = left.pop()
        entry = journals.at_place(objects, place)
        if entry is not None and entry.writer == place.writer and flaw(entry) is None:
            yield entry


def read_journals(objects: Objects, run: str, tips: dict[str, Oid], skip: str = "") -> list[Entry]:
    """Everything that `stream_journals` reads, at once."""
    return list(stream_journals(objects, run, tips, skip))


def read_population(
    objects: Objects, run: str, listen: Callable[[Entry], None] | None = None, trust: Trust | None = None
) -> Population:
    """The state of a run as its journals say.

    Raises:
        UsageError: no such run.
    """
    population = fold(stream_journals(objects, run, {}), listen, trust)
    if not population.hosts:
        known = sorted(filter(None, {refs.run_of_journal(name) for name in objects.refs("refs/evogit/")}))
        others = f"There are: {', '.join(known)}" if known else "Begin one: evogit run"
        raise UsageError(f"no run {run!r} in this repository. {others}")
    return population


def recorded_task(objects: Objects, population: Population) -> Task:
    """The task as the run was founded with."""
    return task_of(objects, str(population.founded["task"]), population.founded_evidence)


def task_of(objects: Objects, name: str, evidence: Oid) -> Task:
    """The task that a ``founded`` entry keeps."""
    return task_from_files(name, _recorded_files(objects, evidence))


def _recorded_files(objects: Objects, evidence: Oid) -> dict[str, tuple[bytes, bool]]:
    listing = objects.listing(evidence)
    return {path: (objects.blob(oid), mode == EXECUTABLE) for path, (mode, oid) in listing.items()}


def protected_files(objects: Objects, tree: Oid, task: Task) -> dict[str, bytes]:
    """Files of the starting version that `protect` names: path → bytes. Laid over every candidate."""
    if not task.protect:
        return {}
    return _files(objects, tree, Editable(task.protect, (), ()))


def _files(objects: Objects, tree: Oid, chosen: Callable[[str], bool]) -> dict[str, bytes]:
    found = objects.listing(tree).items()
    return {path: objects.blob(oid) for path, (mode, oid) in found if mode in (FILE, EXECUTABLE) and chosen(path)}


def evaluator_digest(task: Task, overlay: Mapping[str, bytes]) -> str:
    """What keys every score: the task's own digest and the protected files it is scored with. 16 hex digits."""
    if not overlay:
        return task.digest
    digest = hashlib.sha256(task.digest.encode())
    for path in sorted(overlay):
        digest.update(path.encode("utf-8", "surrogateescape") + b"\0" + hashlib.sha256(overlay[path]).digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def opened(repository: Repository, plan: Plan) -> Iterator[Session]:
    """Found the run, or take it up where its journals left it.

    Raises:
        RunBusy: another process on this host holds it and `alongside` was not said.
        UsageError: nothing to begin from (no task, or no commit).
    """
    refs.check_name("run name", plan.run)
    lock = RunLock(repository, plan.run)
    number = lock.acquire(alongside=plan.alongside)
    try:
        for path in salvage.stale_locks(repository, plan.run):
            path.unlink(missing_ok=True)  # a crash of the machine must not keep cron from beginning for ever
        yield _open(repository, plan, str(number), number)
    finally:
        lock.release()


@contextlib.contextmanager
def sitting(repository: Repository, run: str) -> Iterator[Session]:
    """A session of somebody who reviews: of a run that is there already, with a journal of its own and no agents.

    It never stands in the way of running processes, nor they in its way. Nothing is durable before the journal's
    `publish`.

    Raises:
        UsageError: no such run.
    """
    refs.check_name("run name", run)
    objects = repository.objects()
    if not objects.refs(refs.journals(run)):
        read_population(objects, run)  # says which runs there are
    lock = RunLock(repository, run, "reviewers")
    number = lock.acquire(alongside=True)
    try:
        yield _open(repository, Plan(run, ()), f"r{number}", number)
    finally:
        lock.release()


def _open(repository: Repository, plan: Plan, writer: str, number: int) -> Session:
    if broken := salvage.broken_refs(repository, plan.run):
        raise StoreError(f"{broken[0]} names no object: its file is damaged. Type: evogit fsck --repair")
    objects = repository.objects()
    tips: dict[str, Oid] = {}
    host = DETERMINISTIC_HOST if plan.deterministic else repository.host()
    trust = replace(plan.trust, hosts=(host, *plan.trust.hosts))
    population = fold(stream_journals(objects, plan.run, tips), trust=trust)
    population.rule = plan.rule
    for allocation in (*population.operators.values(), *population.models.values()):
        allocation.rule = plan.rule
    task = plan.task
    if task is None:
        if not population.hosts:
            raise UsageError(
                f"run {plan.run!r} has no task yet. Type: evogit run --task NAME (evogit tasks lists them)"
            )
        task = recorded_task(objects, population)
    base = population.base or objects.resolve(plan.base)
    if base is None:
        raise UsageError(f"{plan.base}: no such commit to begin from. Commit something first: git commit")
    base_tree = objects.commit(base).tree
    overlay = protected_files(objects, base_tree, task)
    journal = Journal(objects, plan.run, f"{host}-{writer}", _now(plan, population))
    journal.resume()
    journal.observe(population.clock)
    session = Session(
        repository,
        objects,
        plan,
        task,
        evaluator_digest(task, overlay),
        overlay,
        editable(task),
        journal,
        population,
        tips,
        host,
        number,
        bool(population.hosts),
        base,
        base_tree,
    )
    if population.digest != session.digest or population.founded.get("seal", "") != seal_digest(task):
        _found(session)
    elif plan.task is not None and task_files(task) != _recorded_files(objects, population.founded_evidence):
        _found(session)  # scores stay, but a vocabulary or what may change is not what it was: replays need to know
    return session


def _now(plan: Plan, population: Population) -> Callable[[], int]:
    if not plan.deterministic:
        return lambda: time.time_ns() // 1_000_000
    return lambda: max(population.clock.milliseconds, DETERMINISTIC_START) + 1000


def _found(session: Session) -> None:
    """Write the task and the configuration as this run starts, or as the evaluator has changed since."""
    task, plan = session.task, session.plan
    if task.vocabulary.hot:
        check_hot(task, _files(session.objects, session.base_tree, session.editable))
    tree = session.objects.put_tree(
        {path: (data, EXECUTABLE if executable else FILE) for path, (data, executable) in task_files(task).items()}
    )
    agents: Counter[str] = Counter()
    for agent, count in plan.agents:
        agents[agent.name] += count
    data = {
        "run": plan.run,
        "task": task.name,
        "direction": task.direction,
        "digest": session.digest,
        "host": session.host,
        "policy": plan.policy,
        "seed": plan.seed,
        "deterministic": plan.deterministic,
        "agents": dict(agents),
        "judge": task.evaluation.judge,
        "configuration": dict(plan.configuration),
    }
    if seal := seal_digest(task):
        data["seal"] = seal
    founded = session.population
    other = "task file" if founded.founded.get("seal", "") == seal else "holdout"
    other = other if founded.digest == session.digest else "evaluator"
    verb = f"again, with another {other}" if session.resumed else ""
    subject = f"founded {plan.run}: {task.name} {verb}".strip()
    session.population.apply(session.journal.append("founded", subject, data, candidate=session.base, evidence=tree))


def living_refs(objects: Objects, run: str) -> dict[tuple[str, str], Oid]:
    """Every individual's commit by (host, agent)."""
    found = {}
    for ref, oid in objects.refs(refs.individuals(run)).items():
        name = refs.agent_of(ref, run)
        if name is not None:
            found[name] = oid
    return found


def agent_names(plan: Plan, number: int) -> dict[str, Agent]:
    """This process's agents: name → definition. Processes alongside have names of their own."""
    suffix = f".{number}" if number else ""
    names: dict[str, Agent] = {}
    totals: Counter[str] = Counter()
    for agent, count in plan.agents:
        totals[agent.name] += count
    numbers: Counter[str] = Counter()
    for agent, count in plan.agents:
        width = len(str(totals[agent.name]))
        for _ in range(0 if agent.serves else count):
            numbers[agent.name] += 1
            names[f"{agent.name}-{numbers[agent.name]:0{width}d}{suffix}"] = agent
    if not names:
        raise UsageError("the population has no agents with a branch. Set [population] agents in .evogit/config.toml")
    return names


def stale_keeps(packs: Path) -> Iterable[Path]:
    """Keep and partial pack files of EvoGit processes that died between writing a pack and moving refs."""
    for path in packs.glob("pack-*.keep"):
        words = _text(path).split()
        if len(words) == 2 and words[0] == "evogit" and words[1].isdigit() and not Path(f"/proc/{words[1]}").exists():
            yield path
    for path in packs.glob("tmp_pack-*"):
        process = path.name.rpartition(".")[2]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            yield path


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
