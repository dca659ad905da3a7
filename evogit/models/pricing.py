"""What requests cost: tokens counted from text, and money from tokens."""

from __future__ import annotations

import math

from evogit.tables import ModelTable

CHARACTERS_A_TOKEN = 3.5
"""English prose has about 4 in the byte-pair vocabularies of today's models, code 3 to 3.5; too many is safer here."""


def estimate_tokens(text: str) -> int:
    """How many tokens `text` may be, without the model's tokenizer. UTF-8 bytes count, as byte-pair encodings do."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return math.ceil(size / CHARACTERS_A_TOKEN)


def cost(table: ModelTable, given: int, got: int) -> float:
    """Of `given` input and `got` output tokens, in the currency of the model's prices per million; 0 without prices."""
    return (given * (table.price_input or 0.0) + got * (table.price_output or 0.0)) / 1e6
