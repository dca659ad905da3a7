"""`stats`: what a run's operators, models and agents earned and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evogit.cli.place import Directory, Json, RunName, here, print_json

if TYPE_CHECKING:
    from evogit.evolution.allocation import Allocation
    from evogit.evolution.population import Population


def stats(json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """Show what operators and models earned per unit spent, replies by outcome, and the bill by agent, model and role.

    Example: evogit stats --json
    """
    place = here(directory, run)
    found = describe(place.population())
    if json:
        print_json({"run": place.run, **found})
        return
    print(f"run {place.run}")
    for title, tables in (("operators", found["operators"]), ("models", found["models"])):
        for definition, arms in tables.items():
            print(f"{title} of {definition}:")
            for name, arm in arms.items():
                money = f"{arm['money']:>10.4f}" if arm["money"] else ""
                tokens = f"{arm['tokens']:>9} tokens" if arm["tokens"] else ""
                print(
                    f"  {name:<16}{arm['tried']:>6} tried{arm['accepted']:>6} accepted"
                    f"  value {arm['value']:.4f}{tokens}{money}"
                )
    for line in outcome_lines(found["outcomes"]):
        print(line)
    for title in ("agent", "model", "role"):
        rows = found["spent"][title]
        if rows:
            print(f"spent by {title}:")
        for name, row in rows.items():
            failed = f", {row['failed']} failed" if row["failed"] else ""
            speed = f", {row['output'] / row['seconds']:.1f} tokens/s" if row["seconds"] else ""
            print(
                f"  {name:<16}{row['calls']:>6} calls{failed}, {row['input']} tokens in, {row['output']} out"
                f"{speed}, cost {row['cost']:.4f}"
            )
    if not found["spent"]["model"]:
        print("no model was asked")


def describe(population: Population) -> dict[str, Any]:
    """The tables as JSON; all derived from the journal."""
    names = {"agent": 0, "model": 1, "role": 2}
    outcomes: dict[str, dict[str, dict[str, int]]] = {}
    for (definition, model, outcome), count in sorted(population.ledger.outcomes.items()):
        outcomes.setdefault(definition, {}).setdefault(model, {})[outcome] = count
    return {
        "operators": _arms(population.operators),
        "models": _arms(population.models),
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
