"""`stats`: what the shape of the phylogeny and its steps say, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli import bill
from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json

if TYPE_CHECKING:
    from evogit.evolution.lineage import Record
    from evogit.phylogeny.steps import By


@dataclass(frozen=True)
class Asked:
    """The thresholds the user gave."""

    window: int
    tries: int


@dataclass(frozen=True)
class Section:
    """One part of the report: its key in JSON, its heading, what it says, and how people read it.

    A section that says None has nothing to say about this run and is left out.
    """

    key: str
    title: str
    describe: Callable[[Record, Asked], Any]
    lines: Callable[[Any], Iterable[str]]


def stats(
    window: Annotated[int, typer.Option(min=1, help="Candidates without a new best that make a plateau.")] = 500,
    tries: Annotated[int, typer.Option(min=1, help="Children in vain that make a lineage exhausted.")] = 60,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Measure the phylogeny: diversity, coalescence, what steps, operators, agents and models earn, plateaus.

    Example: evogit stats --json

    What each measure means and where it comes from is in docs/measures.md. Without a run it measures plain history.
    """
    place = here(directory, run)
    found = record_of(place, run)
    asked = Asked(window, tries)
    described = [(section, section.describe(found, asked)) for section in SECTIONS]
    if json:
        print_json({section.key: value for section, value in described if value is not None})
        return
    first = True
    for section, value in described:
        if value is not None:
            print(f"{'' if first else chr(10)}{section.title}")
            first = False
            for line in section.lines(value):
                print(f"  {line}")


def record_of(place: Place, run: str | None) -> Record:
    """The run's record; plain history when the repository has no run and none was named."""
    from evogit.evolution.lineage import Record, read_history, read_run
    from evogit.evolution.population import Population

    if run is not None or place.run in place.repository.runs():
        return read_run(place.objects(), place.run)
    return Record(read_history(place.objects()), (), Population())


# The living


def _living(record: Record, _: Asked) -> dict[str, Any]:
    from evogit.phylogeny.measures import shape

    history = record.history
    found = asdict(shape(history))
    shares = sorted(found.pop("distinctiveness").items(), key=lambda item: (-item[1], item[0]))
    found["coalescence"]["commits"] = [history.oid(i) for i in found["coalescence"]["commits"]]
    return {
        "commits": len(history),
        **found,
        "distinctiveness": [
            {"commit": history.oid(i), "agent": history.facts(i).agent, "share": share} for i, share in shares
        ],
    }


def _living_lines(found: dict[str, Any]) -> Iterator[str]:
    meeting, size = found["coalescence"], found["effective_size"]
    yield f"{found['living']} versions of {found['commits']} commits; the longest lineage has {found['depth']} steps"
    yield f"phylogenetic diversity {found['diversity']} steps, mean pairwise distance {found['mean_distance']:.1f}"
    if meeting["generations"] is None:
        yield "they have no common ancestor"
    else:
        names = ", ".join(oid[:10] for oid in meeting["commits"])
        ago = duration(meeting["milliseconds"] / 1000)
        yield f"they meet at {names}, {meeting['generations']} generations and {ago} ago"
    if size is not None:
        yield f"effective population size {size:.1f}"
    shares = found["distinctiveness"]
    if len(shares) > 1:
        for share in (*shares[:3], *(shares[-1:] if len(shares) > 3 else ())):
            yield f"{share['commit'][:10]}  {share['share']:8.1f} of its own  {share['agent']}"


def _takeover(record: Record, _: Asked) -> list[dict[str, Any]] | None:
    """How the best, and the ancestor of all, spread."""
    from evogit.phylogeny.measures import coalescence, takeover

    history = record.history
    if history.base is None:
        return None
    meeting = coalescence(history, sorted(history.living)).commits
    chosen = dict.fromkeys([*meeting[-1:], *([history.best] if history.best is not None else [])])
    found = []
    for i in chosen:
        spread = takeover(history, i)
        curve = [{"milliseconds": when, "share": share} for when, share in spread.curve]
        found.append({"commit": history.oid(i), "half": spread.half, "whole": spread.whole, "curve": curve})
    return found or None


def _takeover_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    for spread in found:
        words = []
        for part in ("half", "whole"):
            if spread[part] is not None:
                words.append(f"{part} of the population after {duration(spread[part] / 1000)}")
        now = spread["curve"][-1]["share"] if spread["curve"] else 0.0
        yield f"{spread['commit'][:10]}  {100 * now:3.0f} % of the agents now; {', '.join(words) or 'never half'}"


# Steps


def _landscape(record: Record, _: Asked) -> dict[str, Any] | None:
    from evogit.phylogeny.steps import landscape

    found = asdict(landscape(record.history))
    return found if sum(found[kind] for kind in KINDS) else None


KINDS = ("beneficial", "neutral", "deleterious", "failed")


def _landscape_lines(found: dict[str, Any]) -> Iterator[str]:
    total = sum(found[kind] for kind in KINDS)
    yield ", ".join(f"{kind} {100 * found[kind] / total:.1f} %" for kind in KINDS) + f" of {total} children"
    if found["correlation"] is not None:
        yield f"scores of parents and children correlate by {found['correlation']:.2f} (1 smooth, 0 rugged)"


def _merges(record: Record, _: Asked) -> dict[str, Any] | None:
    from evogit.phylogeny.steps import merge_benefit

    found = asdict(merge_benefit(record.history))
    return found if found["merges"] else None


def _merge_lines(found: dict[str, Any]) -> Iterator[str]:
    parts = ("better_than_both", "equal_to_better", "between", "worse_than_both", "failed")
    yield f"{found['merges']} crossovers: " + ", ".join(f"{part.replace('_', ' ')} {found[part]}" for part in parts)
    yield f"mean gain over the better parent {number(found['mean_gain'])}"


def _earnings(by: By) -> Callable[[Record, Asked], list[dict[str, Any]] | None]:
    def describe(record: Record, _: Asked) -> list[dict[str, Any]] | None:
        from evogit.phylogeny.steps import earnings

        rows = earnings(record.history, record.attempts, by)
        return [{**asdict(row), "rate": row.rate, "interval": list(row.interval)} for row in rows] or None

    return describe


def _earning_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    cost = any(row["cost"] or row["tokens"] for row in found)
    head = ["", "tried", "accepted", "rate", "95 %", "better", "bests", "advance", "seconds"]
    rows = [[*head, *(["tokens", "cost"] if cost else [])]]
    for row in found:
        low, high = row["interval"]
        cells = [row["name"], str(row["tried"]), str(row["accepted"]), f"{100 * row['rate']:.1f} %"]
        cells += [f"{100 * low:.1f}–{100 * high:.1f}", str(row["beneficial"]), str(row["bests"])]
        cells += [number(row["improvement"]), f"{row['seconds']:.1f}"]
        rows.append([*cells, *([str(row["tokens"]), number(row["cost"])] if cost else [])])
    return table(rows)


def _standstill(record: Record, asked: Asked) -> dict[str, Any] | None:
    from evogit.phylogeny.steps import exhausted, plateau

    history = record.history
    if history.base is None:
        return None
    found = asdict(plateau(history, asked.window))
    found["last"] = None if found["last"] is None else history.oid(found["last"])
    spent = [{"commit": history.oid(e.commit), "tried": e.tried} for e in exhausted(history, asked.tries)]
    return {"plateau": found, "exhausted": spent, "tries": asked.tries, "restarts": record.population.restarts}


def _standstill_lines(found: dict[str, Any]) -> Iterator[str]:
    flat = found["plateau"]
    last = f"the last, {flat['last'][:10]}, was {flat['since']} candidates ago" if flat["last"] else "there was none"
    verdict = "a plateau" if flat["reached"] else "no plateau"
    yield f"new bests: {last}: {verdict} (of {flat['window']} candidates)"
    spent = found["exhausted"]
    yield f"exhausted lineages: {len(spent)} (of {found['tries']} children or more without success)"
    for lineage in spent[:5]:
        yield f"{lineage['commit'][:10]}  {lineage['tried']} children in vain"
    if found["restarts"]:
        yield f"restarts so far: {found['restarts']}"


def _billed(key: str) -> Callable[[Record, Asked], Any]:
    """A part of the bill; nothing when there is nothing on it."""

    def describe(record: Record, _: Asked) -> Any:
        found = bill.describe(record.population)[key]
        return found if any(found.values()) else None

    return describe


SECTIONS: list[Section] = [
    Section("living", "The living", _living, _living_lines),
    Section("takeover", "Takeover", _takeover, _takeover_lines),
    Section("landscape", "Steps", _landscape, _landscape_lines),
    Section("merges", "Crossovers", _merges, _merge_lines),
    Section("operators", "Operators", _earnings("operator"), _earning_lines),
    Section("agents", "Agents", _earnings("agent"), _earning_lines),
    Section("models", "Models", _earnings("model"), _earning_lines),
    Section("allocation", "Allocation", _billed("allocation"), bill.allocation_lines),
    Section("outcomes", "Replies", _billed("outcomes"), bill.outcome_lines),
    Section("spent", "Spent", _billed("spent"), bill.spent_lines),
    Section("standstill", "Standing still", _standstill, _standstill_lines),
]
"""The report, in order. Another part is one more line here."""


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = row
        yield first.ljust(widths[0]) + "".join(
            f"  {cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)
        )


def duration(seconds: float) -> str:
    """A time span for people."""
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
