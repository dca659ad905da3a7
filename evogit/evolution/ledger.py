"""What models were asked for and what it cost: a fold over the journal, by agent, model and role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evogit.store import journal as journals
from evogit.store import refs
from evogit.store.journal import Entry
from evogit.store.objects import Objects
from evogit.values import Call

DAY = 86_400_000  # milliseconds


@dataclass(slots=True)
class Spent:
    """Of some calls: how many, how many of them failed, tokens, money, seconds."""

    calls: int = 0
    failed: int = 0
    input: int = 0
    output: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def add(self, call: Call) -> None:
        self.calls += 1
        self.failed += bool(call.failed)
        self.input += call.input
        self.output += call.output
        self.cost += call.cost
        self.seconds += call.seconds


@dataclass(slots=True)
class Ledger:
    """`spent` by (agent, model, role), `outcomes` by (definition, model, outcome).

    `days` since 1970 → tokens and money.
    """

    spent: dict[tuple[str, str, str], Spent] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    days: dict[int, tuple[int, float]] = field(default_factory=dict)

    def apply(self, entry: Entry) -> None:
        """Take in what an entry says was asked."""
        calls = read_calls(entry.data)
        if not calls:
            return
        agent = str(entry.data.get("agent", ""))
        tokens, money = total(calls)
        day = entry.clock.milliseconds // DAY
        held = self.days.get(day, (0, 0.0))
        self.days[day] = (held[0] + tokens, held[1] + money)
        for call in calls:
            self.spent.setdefault((agent, call.model, call.role), Spent()).add(call)
        # What a program under evaluation asks says nothing of the agent that wrote it.
        calls = tuple(call for call in calls if call.role != "candidate")
        if calls and entry.kind in ("evaluated", "attempted"):
            definition = str(entry.data.get("definition", agent))
            outcome = "ok" if entry.kind == "evaluated" else str(entry.data.get("outcome", ""))
            self.outcomes[(definition, calls[0].model, outcome)] += 1

    def today(self, milliseconds: int) -> tuple[int, float]:
        """Tokens and money of the day that `milliseconds` since 1970 is in (UTC)."""
        return self.days.get(milliseconds // DAY, (0, 0.0))

    def by(self, place: int) -> dict[str, Spent]:
        """Totals by agent (0), model (1) or role (2)."""
        found: dict[str, Spent] = {}
        for key, spent in sorted(self.spent.items()):
            held = found.setdefault(key[place], Spent())
            for name in Spent.__dataclass_fields__:
                setattr(held, name, getattr(held, name) + getattr(spent, name))
        return found


def spent_on(objects: Objects, runs: Iterable[str], day: int) -> tuple[int, float]:
    """Tokens and money that the journals of `runs` hold of that day since 1970 (UTC)."""
    tokens, money = 0, 0.0
    for run in runs:
        for tip in objects.refs(refs.journals(run)).values():
            for entry in journals.read(objects, tip, lenient=True):
                if entry.clock.milliseconds // DAY < day:
                    break  # a journal's clock never goes back
                more = total(read_calls(entry.data))
                tokens, money = tokens + more[0], money + more[1]
    return tokens, money


def total(calls: Iterable[Call]) -> tuple[int, float]:
    """Tokens and money of all `calls`."""
    tokens, money = 0, 0.0
    for call in calls:
        tokens += call.input + call.output
        money += call.cost
    return tokens, money


def read_calls(data: Mapping[str, Any]) -> tuple[Call, ...]:
    """The calls recorded in an entry."""
    known = Call.__dataclass_fields__
    return tuple(Call(**{k: v for k, v in call.items() if k in known}) for call in data.get("calls", ()))


def write_calls(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """The reverse of `read_calls`; what is zero or empty is left out."""
    return [
        {name: value for name in Call.__dataclass_fields__ if (value := getattr(call, name)) not in (0, 0.0, "")}
        for call in calls
    ]
