"""From an agent's definition to its variation."""

from __future__ import annotations

from evogit.catalog import Agent
from evogit.errors import DefinitionError
from evogit.variation.lines import Lines
from evogit.variation.numbers import Numbers
from evogit.variation.request import Variation
from evogit.variation.syntax import Syntax

KINDS: dict[str, type[Syntax | Lines | Numbers]] = {"syntax": Syntax, "lines": Lines, "numbers": Numbers}


def make(agent: Agent) -> Variation:
    """The variation of `agent`. Raises `DefinitionError` for an unknown kind or operator."""
    kind = KINDS.get(agent.kind)
    source = agent.source or agent.name
    if kind is None:
        raise DefinitionError(source, "kind", f"one of {', '.join(KINDS)} (kind {agent.kind!r} is not there yet)")
    unknown = [name for name in agent.operators if name not in kind.OPERATORS]
    if unknown:
        raise DefinitionError(source, "operators", f"{unknown[0]!r} is none of {', '.join(kind.OPERATORS)}")
    return kind(agent.operators or kind.OPERATORS)
