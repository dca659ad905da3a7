"""Which lines of which file a model is shown as the section to rewrite: a stretch of lines, or one definition."""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evogit.catalog import ContextRules
from evogit.errors import VariationError
from evogit.models.pricing import estimate_tokens

TEXT_SHARE = 0.6  # of a prompt's budget that the editable text may take


@dataclass(frozen=True, slots=True)
class Section:
    """Lines [start, end) of `path`, counted from 0."""

    path: str
    start: int
    end: int


def choose(files: Mapping[str, bytes], rules: ContextRules, rng: random.Random) -> Section:
    """A random section of a random editable text file, within the text's share of the prompt.

    Raises `VariationError` when there is none with any text, or their lines are too long to be shown.
    """
    room = int(rules.budget * TEXT_SHARE)
    names = sorted(files)
    rng.shuffle(names)
    for path in names:
        data = files[path]
        if b"\0" in data or not data.strip() or len(data) > 4 << 20:
            continue
        text = data.decode("utf-8", "replace").replace("\r\n", "\n")
        lines = text.split("\n")
        count = len(lines) - text.endswith("\n")
        if path.endswith(".py") and rng.random() < rules.definitions:
            found = [(a, b) for a, b in _definitions(text, 2 * rules.lines[1]) if fitting(lines, a, b, room) == b]
            if found:
                return Section(path, *rng.choice(found))
        length = min(count, rng.randint(*rules.lines))
        start = rng.randint(0, count - length)
        end = fitting(lines, start, start + length, room)
        if end > start:
            return Section(path, start, end)
    raise VariationError("no editable file has text that fits into a prompt")


def fitting(lines: Sequence[str], start: int, end: int, tokens: int) -> int:
    """How far from `start` lines fit within `tokens`, at most to `end`."""
    for n in range(start, min(end, len(lines))):
        tokens -= estimate_tokens(lines[n]) + 1
        if tokens < 0:
            return n
    return min(end, len(lines))


def _definitions(text: str, most: int) -> list[tuple[int, int]]:
    """Line ranges of functions and classes, decorators included, of at most `most` lines."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            end = node.end_lineno or node.lineno
            if end - start <= most:
                found.append((start, end))
    return sorted(found)
