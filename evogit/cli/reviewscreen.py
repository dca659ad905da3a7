"""One screen of `review` as lines of text, from a dossier. Pure: width and the present come from outside."""

from __future__ import annotations

from evogit.cli.place import number
from evogit.review.dossier import Against, Change, Dossier, Step

KEYS = "p promote  x prune  i pin  g guide  e edit and adopt  d diff  s skip  u undo  q quit"
VIEW = "v view  "
PICTURES = 3
GLYPHS = {"best": "★", "promoted": "◆", "living": "●", "start": "■", "accepted": "○"}
FILES = 4
METRICS = 4
FEEDBACK = 3
LABEL = 10


def screen(dossier: Dossier, at: int, of: int, *, width: int, now: float, said: str = "") -> list[str]:
    """The screen of item `at` (from 1) of `of`; `now` in seconds since 1970; `said` is what was done last."""
    who = f"{dossier.agent} on {dossier.host}" if dossier.host else dossier.agent
    how = "/".join(filter(None, (dossier.operator, dossier.model)))
    paid = [f"cost {dossier.cost:.4f}"] if dossier.cost else [f"{dossier.tokens} tokens"] if dossier.tokens else []
    born = ", ".join(filter(None, (who, how, age(now - dossier.milliseconds / 1000), *paid)))
    lines = [
        f"[{at}/{of}] {dossier.why}: {dossier.because}",
        f"{dossier.commit[:10]}  {dossier.summary}",
        f"by {born}",
        "",
    ]
    for other in dossier.against:
        lines += _held(dossier, other)
    told = [line for line in dossier.feedback.splitlines() if line.strip()][:FEEDBACK]
    lines += _block("feedback", told)
    lines += _block("lineage", [_step(step) for step in dossier.lineage])
    if dossier.older:
        lines.insert(len(lines) - 1, f"{'':<{LABEL}}… {dossier.older} more")
    if dossier.artifacts:
        names = sorted(dossier.artifacts)
        more = f", … {len(names) - PICTURES} more" if len(names) > PICTURES else ""
        lines += _block("pictures" if len(names) > 1 else "picture", [f"{', '.join(names[:PICTURES])}{more}: press v"])
    lines += ["", (VIEW if dossier.artifacts else "") + KEYS, said]
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def _held(dossier: Dossier, other: Against) -> list[str]:
    """The version against another one: score, metrics, what changed."""
    lines = [f"against {other.what} ({other.commit[:10]})"]
    scores = f"{number(other.score)} → {number(dossier.score)}{change(other.score, dossier.score, dossier.direction)}"
    lines += _block("  score", [scores])
    rows = [
        f"{name} {number(other.metrics.get(name))} → {number(value)}"
        for name, value in dossier.metrics.items()
        if other.metrics.get(name) != value
    ]
    more = [f"… {len(rows) - METRICS} more metrics"] if len(rows) > METRICS else []
    lines += _block("  metrics", rows[:METRICS] + more)
    files = [_file(change) for change in other.changes]
    more = [f"… {len(files) - FILES} more files"] if len(files) > FILES else []
    return lines + _block("  changed", (files[:FILES] + more) or ["nothing"])


def change(before: float | None, after: float | None, direction: str) -> str:
    """By how much a score changed, and whether that is good."""
    if before is None or after is None or before == after:
        return ""
    good = (after > before) == (direction == "maximize")
    share = f", {100 * (after - before) / abs(before):+.1f} %" if before else ""
    return f" ({'better' if good else 'worse'}{share})"


def age(seconds: float) -> str:
    """How long ago, in one unit."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _file(changed: Change) -> str:
    return f"{changed.path} +{changed.added} −{changed.removed}"


def _step(step: Step) -> str:
    by = " ".join(filter(None, (step.agent, step.operator)))
    return f"{GLYPHS.get(step.kind, '·')} {step.commit[:10]} {number(step.score):>9}  {by}: {step.summary}"


def _block(label: str, lines: list[str]) -> list[str]:
    """Lines under a label that stands before the first."""
    return [f"{label if at == 0 else '':<{LABEL}}{line}" for at, line in enumerate(lines)]
