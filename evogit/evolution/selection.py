"""Who has children with whom, and which child lives: policies as small pure functions, chosen by name.

`paper`: EvoGit (arXiv 2506.02049): an agent mutates its own individual, every third step it crosses it with a random
partner that is neither ancestor nor descendant; a child is accepted if better, a crossover if better than both.
`tournament`: steady-state evolution; parents by tournament in the agent's island, now and then in the whole population;
a child takes the agent's place if it beats who stands there and no other living individual behaves the same.
`greedy` and `best-of-n` are the baselines: hill climbing from the best, and independent samples of the start.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evogit.values import Direction, Evaluation, Oid, Reason, better

PEOPLE = "human"
"""The host of individuals without an agent: what people adopted, promoted, pinned or restored."""

PREFERENCE = 0.5  # how often a promoted version becomes the receiver, where there is one


@dataclass(frozen=True, slots=True)
class Individual:
    """A living version: who owns it and how fit it is in the current epoch. `size` in syntax nodes.

    `promoted`: a person endorsed it.
    """

    host: str
    agent: str
    commit: Oid
    tree: Oid
    score: float | None
    niche: str = ""
    size: int = 0
    promoted: bool = False

    @property
    def name(self) -> tuple[str, str]:
        return (self.host, self.agent)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a policy selects.

    Every `crossover_every`-th turn is a crossover (0: none). Islands have `island_size` agents; with probability
    `migration` a tournament draws from the whole population instead. `niches`: one living individual per behaviour.
    Individuals of other hosts are `immigrants` (each host's best, all, or none), among which parents are looked for too
    with probability `immigration`.
    """

    direction: Direction
    tournament_size: int = 3
    crossover_every: int = 3
    island_size: int = 12
    migration: float = 0.05
    niches: bool = True
    immigrants: Literal["best", "all", "none"] = "best"
    immigration: float = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """The parents of the next child; without a mate it is a mutation."""

    receiver: Individual
    mate: Individual | None = None


Related = Callable[[Oid, Oid], bool]
"""Whether one commit is an ancestor of the other, or the same."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a policy may look at: the living in a stable order, who is asking, its turn, the start."""

    living: Sequence[Individual]
    me: Individual
    turn: int
    base: Callable[[], Individual]
    related: Related
    settings: Settings


def fitter(direction: Direction, a: Individual, b: Individual) -> bool:
    """Whether `a` beats `b`: by score, at equal score by size. An unscored individual loses."""
    if a.score is None or b.score is None:
        return b.score is None and a.score is not None
    return a.size < b.size if a.score == b.score else better(direction, a.score, b.score)


def best_of(direction: Direction, individuals: Sequence[Individual]) -> Individual:
    """The fittest; the first among equals. `individuals` must not be empty."""
    found = individuals[0]
    for other in individuals[1:]:
        if fitter(direction, other, found):
            found = other
    return found


def niche(evaluation: Evaluation) -> str:
    """How a version behaves: its score and metrics to nine digits. Equal behaviour, equal niche."""
    parts = [f"{evaluation.score:.9g}"] + [f"{k}={v:.9g}" for k, v in sorted(evaluation.metrics.items())]
    return " ".join(parts)


def _plan_paper(scene: Scene, rng: random.Random) -> Plan:
    if _crosses(scene):
        strangers = [i for i in scene.living if not scene.related(scene.me.commit, i.commit)]
        if strangers:
            return Plan(scene.me, rng.choice(strangers))
    return Plan(scene.me)


def _plan_tournament(scene: Scene, rng: random.Random) -> Plan:
    receiver = _tournament(scene, rng)
    if _crosses(scene):
        mate = _tournament(scene, rng)
        if mate.tree != receiver.tree:
            return Plan(receiver, mate)
    return Plan(receiver)


def _crosses(scene: Scene) -> bool:
    every = scene.settings.crossover_every
    return every > 0 and scene.turn % every == every - 1


def _tournament(scene: Scene, rng: random.Random) -> Individual:
    size, living = scene.settings.island_size, scene.living
    if len(living) > size and rng.random() >= scene.settings.migration:
        at = next((n for n, i in enumerate(living) if i.name == scene.me.name), 0)
        first = min(at // size * size, len(living) - size)
        living = living[first : first + size]
    rivals = [living[rng.randrange(len(living))] for _ in range(scene.settings.tournament_size)]
    return best_of(scene.settings.direction, rivals)


def _plan_greedy(scene: Scene, rng: random.Random) -> Plan:  # noqa: ARG001  # every policy has this form
    return Plan(best_of(scene.settings.direction, [scene.me, *scene.living]))


def _plan_best_of_n(scene: Scene, rng: random.Random) -> Plan:  # noqa: ARG001  # every policy has this form
    return Plan(scene.base())


def _accept_better(scene: Scene, plan: Plan, child: Individual) -> Reason | None:
    """Better than the agent's own individual and, for a crossover, than both parents."""
    rivals = [scene.me, plan.receiver] if plan.mate is None else [scene.me, plan.receiver, plan.mate]
    direction = scene.settings.direction
    return None if all(fitter(direction, child, rival) for rival in rivals) else Reason.WORSE


def _accept_place(scene: Scene, plan: Plan, child: Individual) -> Reason | None:  # noqa: ARG001  # as above
    """Better than who stands in the agent's place, and in a niche of its own."""
    if not fitter(scene.settings.direction, child, scene.me):
        return Reason.WORSE
    if scene.settings.niches and any(i.niche == child.niche and i.name != scene.me.name for i in scene.living):
        return Reason.CROWDED
    return None


def parents(policy: Policy, scene: Scene, rng: random.Random) -> Plan:
    """The parents of the next child: every other time a version that a person promoted is the receiver."""
    scene = replace(scene, living=_in_reach(scene, rng))
    plan = policy.plan(scene, rng)
    promoted = [i for i in scene.living if i.promoted] if policy.heeds else []
    if not promoted or rng.random() >= PREFERENCE:
        return plan
    receiver = rng.choice(promoted)
    mate = plan.mate if plan.mate is not None and plan.mate.tree != receiver.tree else None
    return Plan(receiver, mate)


def _in_reach(scene: Scene, rng: random.Random) -> Sequence[Individual]:
    """Who may be a parent: this host's individuals and what people keep; now and then an immigrant."""
    settings, foreign = scene.settings, [i for i in scene.living if i.host not in (scene.me.host, PEOPLE)]
    if not foreign:
        return scene.living
    native = [i for i in scene.living if i.host in (scene.me.host, PEOPLE)] or [scene.me]
    if settings.immigrants == "none" or rng.random() >= settings.immigration:
        return native
    return [scene.me, *_immigrants(foreign, settings)]


def _immigrants(foreign: Sequence[Individual], settings: Settings) -> Sequence[Individual]:
    """Those of other hosts' individuals that are let in."""
    if settings.immigrants == "all":
        return foreign
    hosts: dict[str, list[Individual]] = {}
    for individual in foreign if settings.immigrants == "best" else ():
        hosts.setdefault(individual.host, []).append(individual)
    return [best_of(settings.direction, individuals) for _, individuals in sorted(hosts.items())]


def renewed(living: Iterable[Individual], host: str, settings: Settings) -> list[Individual]:
    """Whom `host` scores anew when an epoch begins, its own first: others are scored where they live."""
    everybody = list(living)
    foreign = [i for i in everybody if i.host not in (host, PEOPLE)]
    return [i for i in everybody if i.host in (host, PEOPLE)] + list(_immigrants(foreign, settings))


@dataclass(frozen=True, slots=True)
class Policy:
    """`heeds`: whether promoted versions are preferred as parents."""

    plan: Callable[[Scene, random.Random], Plan]
    accept: Callable[[Scene, Plan, Individual], Reason | None]
    heeds: bool = True


POLICIES: Mapping[str, Policy] = {
    "paper": Policy(_plan_paper, _accept_better),
    "tournament": Policy(_plan_tournament, _accept_place),
    "greedy": Policy(_plan_greedy, _accept_better),
    "best-of-n": Policy(_plan_best_of_n, _accept_place, heeds=False),
}
