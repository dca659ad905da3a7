"""Grow expressions from the names in scope and the task's vocabulary."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Sequence

from evogit.values import Vocabulary

ARITHMETIC = ("_ + _", "_ - _", "_ * _", "-_")
NUMBERS = (0.0, 0.5, 1.0, 2.0, 3.0, 10.0)
_HOLE = re.compile(r"(?<![\w.])_(?!\w)")


class Grower:
    """Makes expression texts. `scope` are the names that can be read where the text will stand."""

    def __init__(self, vocabulary: Vocabulary, scope: Sequence[str], rng: random.Random) -> None:
        self._names = [*scope, *vocabulary.names]
        self._vocabulary = vocabulary
        self._rng = rng

    def grow(self, depth: int) -> str:
        """An expression of at most `depth` levels of templates."""
        if depth <= 0 or self._rng.random() < 0.3:
            return self.leaf()
        return self.fill(self.template(), depth - 1)

    def leaf(self) -> str:
        chance = self._rng.random()
        if self._vocabulary.expressions and chance < 0.15:
            return atomic(self._rng.choice(self._vocabulary.expressions))
        if self._names and chance < 0.8:
            return self._rng.choice(self._names)
        return self.number()

    def number(self) -> str:
        pool = self._vocabulary.numbers or NUMBERS
        if self._rng.random() < 0.6:
            return spell(self._rng.choice(pool))
        return spell(round(self._rng.choice((1, 10)) * self._rng.random(), 2))

    def template(self) -> str:
        """A template with holes: arithmetic half of the time, else the task's calls."""
        if not self._vocabulary.calls or self._rng.random() < 0.5:
            return self._rng.choice(ARITHMETIC)
        return self._rng.choice(self._vocabulary.calls)

    def fill(self, template: str, depth: int, given: str | None = None) -> str:
        """`template` with grown expressions in its holes, `given` in one of them."""
        holes = len(_HOLE.findall(template))
        chosen = self._rng.randrange(holes) if given is not None and holes else -1
        parts = [given if n == chosen and given is not None else self.grow(depth) for n in range(holes)]
        rest = iter(parts)
        call = re.fullmatch(r"[\w.]+\([_, ]*\)", template)  # holes between commas need no parentheses
        filled = _HOLE.sub(lambda _: naked(next(rest)) if call else atomic(next(rest)), template)
        inside = call or re.fullmatch(r"[\w.]+\(.*\)", template)
        return filled if inside else f"({filled})"


def spell(value: float) -> str:
    """A number as source: whole numbers without a point, negative ones in parentheses."""
    text = str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return f"({text})" if value < 0 else text


def atomic(text: str) -> str:
    """`text` so that it can stand as an operand."""
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        return text
    loose = isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare | ast.IfExp | ast.Lambda | ast.Tuple)
    return f"({text})" if loose and not _enclosed(text) else text


def naked(text: str) -> str:
    """`text` without parentheses around the whole of it."""
    while _enclosed(text):
        text = text[1:-1]
    return text


def _enclosed(text: str) -> bool:
    """Whether one pair of parentheses holds everything."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and at < len(text) - 1:
            return False
    return "," not in text or not isinstance(ast.parse(text, mode="eval").body, ast.Tuple)
