"""What a model is told: the parts of a prompt, made from the parents and what is known of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from evogit.catalog import Agent
from evogit.models.pricing import estimate_tokens
from evogit.models.prompt import Piece, fit, render
from evogit.values import Evaluation
from evogit.variation.replies import LONGEST, SEARCH_REPLACE
from evogit.variation.request import Background, Request
from evogit.variation.sections import TEXT_SHARE, Section

HOW_TO_REPLY = {
    "section": "Reply with the new text of the section between a line ``` and a line ```, all of it, and nothing else. "
    "If you need one new file, add a second such block with the file's path on the line above it.",
    "search-replace": "Reply with one or more blocks of this form, each with the path of its file above it:\n\n"
    f"{SEARCH_REPLACE}\n\nAn empty SEARCH creates the file. `DELETE path` and `RENAME old -> new`, each on a line of "
    "its own, delete and rename.",
    "whole-files": "Reply with each file that changes, all of it: its path on a line, then its text between a line "
    "``` and a line ```.",
    "line-edit": 'Reply with one JSON object: {"path": the file, "search": the one line to replace, as it stands in '
    'the numbered text, "replace": what stands there instead, one line or more}.',
    "verdict": 'Reply with one JSON object: {"reason": one sentence, "verdict": "first", "second" or "same"}.',
    "hunks": "For each numbered conflict reply with `CONFLICT n` on a line, then the lines that shall stand in its "
    "place between a line ``` and a line ```.",
}


def compose(agent: Agent, request: Request, text: str, reply_format: str, **more: object) -> str:
    """The prompt of one request. Raises `DefinitionError` for a mistake in the agent's template."""
    background, rules = request.background(), agent.context
    section = more.get("section")
    firm = [
        Piece("goal", background.goal, firm=True),
        Piece("stage", background.stage, firm=True),
        Piece("text", text, firm=True),
        Piece("reply_format", HOW_TO_REPLY.get(reply_format, reply_format), firm=True),
    ]
    makers = {
        "guidance": lambda: Piece("guidance", _list(background.guidance)),
        "notes": lambda: Piece("notes", _list(background.notes), share=0.15),
        "feedback": lambda: Piece("feedback", feedback(background.evaluation), tail=True, share=0.3),
        "metrics": lambda: Piece("metrics", metrics(background, request.receiver.score), share=0.1),
        "files": lambda: Piece("files", "\n".join(background.paths), share=0.15),
        "failures": lambda: Piece("failures", _failures(background, request, section, rules.failures), share=0.15),
        "relatives": lambda: Piece("relatives", _relatives(background, rules.relatives), share=0.3),
    }
    loose = [makers[part]() for part in rules.parts]
    values: dict[str, object] = dict.fromkeys(makers, "")
    values |= dict.fromkeys(("path", "section", "failure"), "") | more
    values |= fit([*firm, *loose], rules.budget)
    values |= {"task": background.task, "direction": background.direction, "score": request.receiver.score}
    return render(agent.prompt, values, agent.source or agent.name)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def feedback(evaluation: Evaluation | None) -> str:
    """What the evaluator, and the program under it, said."""
    if evaluation is None:
        return ""
    parts = [evaluation.feedback.strip()]
    for name, data in (("standard output", evaluation.stdout), ("standard error", evaluation.stderr)):
        text = data.decode("utf-8", "replace").strip()
        if text and text not in evaluation.feedback:
            parts.append(f"{name}:\n{text}")
    return "\n".join(filter(None, parts))


def metrics(background: Background, score: float | None) -> str:
    """The score and what it is made of."""
    lines = [] if score is None else [f"score {score:.6g} ({background.direction} it)"]
    if background.best is not None:
        lines.append(f"the best so far has {background.best:.6g}")
    if background.evaluation is not None:
        lines += [f"{name} {value:.6g}" for name, value in background.evaluation.metrics.items()]
    return "\n".join(lines)


def _failures(background: Background, request: Request, section: object, most: int) -> str:
    wanted = [section] if isinstance(section, Section) else [Section(p, 0, 1 << 30) for p in request.receiver.files]
    lines: list[str] = []
    for place in wanted[:50]:
        for past in background.failures(place.path, place.start, place.end):
            score = "" if past.score is None else f", score {past.score:.6g}"
            line = f"{past.summary} → {past.outcome}{score}"
            if line not in lines:
                lines.append(line)
            if len(lines) >= most:
                return _list(lines[:most])
    return _list(lines[:most])


def _relatives(background: Background, most: int) -> str:
    parts = []
    for relative in background.relatives(most) if most else ():
        score = "" if relative.score is None else f" (score {relative.score:.6g})"
        parts.append(f"{relative.summary}{score}, against the present version:\n{relative.diff}")
    return "\n\n".join(parts)


def show_files(
    files: Mapping[str, bytes], budget: int, mentioned: str, rng: random.Random, *, whole: bool = False
) -> str:
    """The editable files within their share of `budget` tokens, those that the feedback mentions first.

    Of one that is too long a stretch of lines is shown, unless `whole` is asked for; empty where nothing fits.
    """
    names = [path for path, data in files.items() if b"\0" not in data]
    order = sorted(names, key=lambda path: (path not in mentioned, rng.random()))
    shown: dict[str, str] = {}
    room = left = int(budget * TEXT_SHARE)
    for path in order:
        text = files[path].decode("utf-8", "replace").replace("\r\n", "\n").rstrip()
        frame = estimate_tokens(path) + 4
        if estimate_tokens(text) + frame > left:
            text = "" if whole or left < room / 4 else excerpt(text, left - frame, rng)
            if not text:
                continue
        shown[path] = f"{path}\n```\n{text}\n```"
        left -= estimate_tokens(text) + frame
    return "\n\n".join(shown[path] for path in names if path in shown)


def excerpt(text: str, tokens: int, rng: random.Random) -> str:
    """A random stretch of lines within `tokens`, and which are left out; empty where not even one line fits."""
    lines = text.split("\n")
    start = end = rng.randrange(len(lines))
    left = tokens - 2 * estimate_tokens(f"[… lines 1 to {len(lines)} are not shown …]\n")
    while end < len(lines) and (size := estimate_tokens(lines[end]) + 1) <= left:
        end, left = end + 1, left - size
    while start > 0 and (size := estimate_tokens(lines[start - 1]) + 1) <= left:
        start, left = start - 1, left - size
    if start == end:
        return ""
    before = [f"[… lines 1 to {start} are not shown …]"] if start else []
    after = [f"[… lines {end + 1} to {len(lines)} are not shown …]"] if end < len(lines) else []
    return "\n".join([*before, *lines[start:end], *after])


def show_section(data: bytes, section: Section, around: int = 20) -> str:
    """The section between marks, with some lines around it."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    before, after = lines[max(0, section.start - around) : section.start], lines[section.end : section.end + around]
    inside = lines[section.start : section.end]
    marked = ["<<<<<<< section begins", *inside, ">>>>>>> section ends"]
    return "\n".join([*map(_short, before), *marked, *map(_short, after)])


def show_numbered(data: bytes, start: int, end: int) -> str:
    """Lines with their numbers, as a line edit names them; no edit can name one that is cut."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    return "\n".join(f"{n + 1}: {_short(lines[n])}" for n in range(start, min(end, len(lines))))


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:80]}…"
