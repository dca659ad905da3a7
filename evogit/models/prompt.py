"""Prompts: a Jinja2 body filled with parts that fit a token budget, the least important giving way first.

Jinja2's own sandbox is used, as an agent file may come with a repository; what stands in the parts is never rendered.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from evogit.errors import DefinitionError
from evogit.models.pricing import estimate_tokens

CUT = "\n[… cut to fit …]\n"
LEAST = 40  # tokens below which a part is left out rather than cut


@dataclass(frozen=True, slots=True)
class Piece:
    """A named text for a prompt. A `firm` one is always whole; others are cut or left out to fit.

    `tail`: when it is cut, its end is kept too (error output says most at its end). `share`: of the budget, at most.
    """

    name: str
    text: str
    firm: bool = False
    tail: bool = False
    share: float = 1.0


def fit(pieces: Sequence[Piece], budget: int) -> dict[str, str]:
    """Texts by name, within `budget` tokens: firm pieces first, the rest in their order of priority."""
    fitted = {piece.name: piece.text for piece in pieces if piece.firm}
    left = budget - sum(estimate_tokens(text) for text in fitted.values())
    for piece in pieces:
        if piece.firm:
            continue
        text = shorten(piece.text, min(left, int(budget * piece.share)), tail=piece.tail) if piece.text else ""
        fitted[piece.name] = text
        left -= estimate_tokens(text)
    return fitted


def shorten(text: str, tokens: int, *, tail: bool = False) -> str:
    """`text` within `tokens`, cut at a line end; empty where too little would be left."""
    whole = estimate_tokens(text)
    if whole <= tokens:
        return text
    if tokens < LEAST:
        return ""
    room = int(len(text) * tokens / whole) - len(CUT)
    if tail:
        head = room // 4
        return text[:head].rpartition("\n")[0] + CUT + text[len(text) - (room - head) :].partition("\n")[2]
    return (text[:room].rpartition("\n")[0] or text[:room]) + CUT


_ENVIRONMENT = SandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, keep_trailing_newline=False
)


@functools.lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    """Compiling a template costs more than everything else a prompt needs, and agents write thousands of prompts."""
    return _ENVIRONMENT.from_string(template)


def render(template: str, values: Mapping[str, object], source: object) -> str:
    """The prompt. `source` names the agent file in messages. Raises `DefinitionError` for a mistake in the template."""
    try:
        text = _compiled(template).render(values)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{source}, line {line} of the prompt" if line else source
        raise DefinitionError(
            where, "", f"the prompt cannot be filled: {error}; there are: {', '.join(sorted(values))}"
        ) from error
    return text.strip() + "\n"
