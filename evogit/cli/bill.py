"""What a run's operators, models and agents earned and cost: sections of `stats`, and lines of `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evogit.evolution.allocation import Allocation
    from evogit.evolution.population import Population


def describe(population: Population) -> dict[str, Any]:
    """The tables as JSON; all derived from the journal."""
    names = {"agent": 0, "model": 1, "role": 2}
    outcomes: dict[str, dict[str, dict[str, int]]] = {}
    for (definition, model, outcome), count in sorted(population.ledger.outcomes.items()):
        outcomes.setdefault(definition, {}).setdefault(model, {})[outcome] = count
    return {
        "allocation": {"operators": _arms(population.operators), "models": _arms(population.models)},
        "outcomes": outcomes,
        "spent": {
            title: {name: asdict(spent) for name, spent in population.ledger.by(place).items()}
            for title, place in names.items()
        },
    }


def outcome_lines(outcomes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    """Replies by outcome, a line for each agent definition and model."""
    lines = []
    for definition, models in outcomes.items():
        for model, counts in models.items():
            shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
            lines.append(f"replies to {definition} from {model}: {shown}")
    return lines


def _arms(tables: Mapping[str, Allocation]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        definition: {name: {**asdict(arm), "value": arm.value} for name, arm in sorted(allocation.arms.items())}
        for definition, allocation in sorted(tables.items())
    }


def allocation_lines(found: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> Iterator[str]:
    """What allocation goes by: each arm's value is its discounted reward per unit spent."""
    for title, tables in found.items():
        for definition, arms in tables.items():
            yield f"{title} of {definition}:"
            for name, arm in arms.items():
                tokens = f"{arm['tokens']:>9.0f} tokens" if arm["tokens"] else ""
                money = f"{arm['money']:>10.4f}" if arm["money"] else ""
                yield (
                    f"  {name:<16}{arm['tried']:>6.0f} tried{arm['accepted']:>6.0f} accepted"
                    f"  value {arm['value']:.4f}{tokens}{money}"
                )


def spent_lines(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """The bill by agent, model and role."""
    for title, rows in found.items():
        for name, row in rows.items():
            failed = f", {row['failed']:.0f} failed" if row["failed"] else ""
            speed = f", {row['output'] / row['seconds']:.1f} tokens/s" if row["seconds"] else ""
            yield (
                f"{title} {name:<16}{row['calls']:>6.0f} calls{failed}, {row['input']:.0f} tokens in, "
                f"{row['output']:.0f} out{speed}, cost {row['cost']:.4f}"
            )
