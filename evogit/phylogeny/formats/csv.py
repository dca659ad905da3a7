"""A table of the candidates for spreadsheets, one row each; no cell is taken for a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from evogit.phylogeny.formats.text import line
from evogit.phylogeny.picture import Node, Picture

FIELDS: tuple[str, ...] = (
    "commit",
    "parents",
    "kind",
    "names",
    "agent",
    "host",
    "definition",
    "operator",
    "model",
    "score",
)
FIELDS += (
    "change",
    "status",
    "decision",
    "time",
    "seconds",
    "cost",
    "tokens",
    "step",
    "epoch",
    "generation",
    "summary",
)


def render(picture: Picture) -> str:
    metrics = sorted({name for node in picture.nodes for name in node.metrics})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FIELDS, *(_safe(f"metric {name}") for name in metrics)])
    for node in picture.nodes:
        row = [cell(value) for value in _values(node)]
        writer.writerow(row + [cell(node.metrics.get(name)) for name in metrics])
    return out.getvalue()


def _values(node: Node) -> list[object]:
    time = instant(node.milliseconds)
    return [
        node.oid, " ".join(node.parents), node.kind, " ".join(node.names), node.agent, node.host, node.definition,
        node.operator, node.model, node.score, node.change, node.status, node.decision, time, node.seconds, node.cost,
        node.tokens, node.step, node.epoch, node.generation, node.summary,
    ]  # fmt: skip


def instant(milliseconds: int) -> str:
    """A moment as ISO 8601 in UTC, or nothing."""
    if milliseconds <= 0:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""  # a commit may claim any date, also one no calendar has


def cell(value: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else _safe(str(value))


def _safe(text: str) -> str:
    """Text that a spreadsheet would run (``=HYPERLINK(…)``) gets the apostrophe that says it is text (OWASP)."""
    text = line(text)
    return f"'{text}" if text[:1] in tuple("=+-@") else text
