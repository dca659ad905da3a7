"""From an agent's definition to its variation, or to the service it gives the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evogit.catalog import Agent
from evogit.errors import DefinitionError
from evogit.models.desk import Desk
from evogit.tables import ModelTable
from evogit.variation.command import Command, program_of
from evogit.variation.cross import Cross
from evogit.variation.lines import Lines
from evogit.variation.model import Mutate
from evogit.variation.numbers import Numbers
from evogit.variation.program import HELD_SECRET
from evogit.variation.request import Variation
from evogit.variation.syntax import Syntax

OFFLINE: dict[str, type[Syntax | Lines | Numbers]] = {"syntax": Syntax, "lines": Lines, "numbers": Numbers}


@dataclass(frozen=True)
class Workshop:
    """What variations are made with. `hidden`: folders that a coding program must not see."""

    desk: Desk
    editable: Callable[[str], bool]
    environ: Mapping[str, str]
    hidden: tuple[Path, ...] = ()


def arms_of(agent: Agent) -> tuple[str, ...]:
    """What allocation chooses among for `agent`. Raises `DefinitionError` for an arm its operator does not have."""
    known: tuple[str, ...]
    if agent.operator in OFFLINE:
        known = OFFLINE[agent.operator].OPERATORS
    elif agent.operator == "mutate":
        known = (str(agent.format), *(("merge", "transplant") if agent.crossover == "chance" else ()))
    else:
        known = (agent.operator,)
    named = (*known, *Syntax.FURTHER) if agent.operator == "syntax" else known
    unknown = [name for name in agent.arms if name not in named]
    if unknown:
        raise DefinitionError(agent.source or agent.name, "arms", f"{unknown[0]!r} is none of {', '.join(named)}")
    return agent.arms or known


def make(agent: Agent, workshop: Workshop | None = None) -> Variation:
    """The variation of `agent`. Raises `DefinitionError` for one that only serves the others, or a wrong arm."""
    arms = arms_of(agent)
    if agent.operator in OFFLINE:
        return OFFLINE[agent.operator](arms)
    assert workshop is not None, "agents that ask a model or a program need a workshop"
    if agent.operator == "command":
        return Command(agent, workshop.environ, workshop.editable, workshop.hidden, workshop.desk)
    if agent.operator == "cross":
        return Cross(agent, workshop.desk)
    if agent.operator == "mutate":
        variation = Mutate(agent, workshop.desk, workshop.editable)
        variation.operators = arms
        return variation
    raise DefinitionError(
        agent.source or agent.name, "operator", f"{agent.operator} serves other agents; it makes no child"
    )


def secrets_of(agents: Iterable[Agent], tables: Mapping[str, ModelTable]) -> set[str]:
    """Names of the environment variables that hold a model's key, or a secret that a coding program is given."""
    found = {"OPENAI_API_KEY"} | {table.api_key_env for table in tables.values() if table.api_key_env}
    for agent in agents:
        if agent.operator == "command":
            found |= {name for name in program_of(agent).environment if HELD_SECRET.search(name)}
    return found
