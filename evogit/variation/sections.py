"""Which lines of which file a model is shown as the section to rewrite: a stretch of lines, or one definition."""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from evogit.catalog import ContextRules
from evogit.errors import VariationError


@dataclass(frozen=True, slots=True)
class Section:
    """Lines [start, end) of `path`, counted from 0."""

    path: str
    start: int
    end: int


def choose(files: Mapping[str, bytes], rules: ContextRules, rng: random.Random) -> Section:
    """A random section of a random editable text file. Raises `VariationError` when there is none with any text."""
    names = sorted(files)
    rng.shuffle(names)
    for path in names:
        data = files[path]
        if b"\0" in data or not data.strip() or len(data) > 4 << 20:
            continue
        text = data.decode("utf-8", "replace").replace("\r\n", "\n")
        count = len(text.split("\n")) - text.endswith("\n")
        if path.endswith(".py") and rng.random() < rules.definitions:
            found = _definitions(text, most=2 * rules.lines[1])
            if found:
                return Section(path, *rng.choice(found))
        length = min(count, rng.randint(*rules.lines))
        start = rng.randint(0, count - length)
        return Section(path, start, start + length)
    raise VariationError("no editable file has any text")


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
