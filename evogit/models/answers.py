"""What a server's documents say: the answer, its usage, which parameter an error is about. Pure, and trusts nothing."""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from evogit.models.chat import Ask, Usage
from evogit.models.pricing import estimate_tokens

DEEPEST = 4  # levels of an error document that are looked at
MOST_TOKENS = 10_000_000
TEMPLATE = 4096  # tokens a server's chat template may add
SHORTEST_SECRET = 8  # shorter keys are dummies ("none", "EMPTY"), and words of ordinary text


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises `ValueError` where there is none."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


def is_object(text: str) -> bool:
    try:
        parse(text.encode("utf-8", "replace"))
    except ValueError:
        return False
    return True


def one_line(text: str, limit: int = 300) -> str:
    """`text` fit for a message: one line, without control characters."""
    text = text[: limit * 8]  # a server may send megabytes
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= limit else f"{words[: limit - 1]}…"


def redact(text: str, key: str) -> str:
    return text.replace(key, "***") if len(key) >= SHORTEST_SECRET else text


def first_choice(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The message and the finish reason; empty where the server sent none."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return {}, ""
    message = choice.get("message")
    return message if isinstance(message, dict) else {}, str(choice.get("finish_reason") or "stop")


def content(message: Mapping[str, Any]) -> str:
    """The message's text, whether it came as one or in parts, and as something that can be encoded."""
    found = message.get("content")
    if isinstance(found, list):
        found = "".join(str(part.get("text") or "") for part in found if isinstance(part, dict))
    return encodable(found) if isinstance(found, str) else ""


def encodable(text: str) -> str:
    """`text` without lone surrogates, which JSON can escape and file names bring along, but no file can hold."""
    return text.encode("utf-8", "replace").decode()


def usage(document: Mapping[str, Any], ask: Ask, text: str, limit: int | None) -> tuple[Usage, bool]:
    """The server's figures where they can be true, else an estimate; and whether they were the server's.

    Reasoning that is not shown is billed too, so the server may count it, or as much as it was allowed (`limit`).
    """
    found = document.get("usage")
    found = found if isinstance(found, dict) else {}
    details = found.get("completion_tokens_details")
    hidden = details.get("reasoning_tokens") if isinstance(details, dict) else 0
    shown = first_choice(document)[0].get("reasoning_content")
    size = len(text) + (len(shown) if isinstance(shown, str) else 0)
    most = max(4 * size + 64 + (hidden if _count(hidden) else 0), limit or 0)
    asked = sum(len(message.content.encode("utf-8", "replace")) for message in ask.messages)
    asked += len(json.dumps(ask.schema)) if ask.schema is not None else 0
    given, got = found.get("prompt_tokens"), found.get("completion_tokens")
    # No tokenizer makes more tokens than bytes, but a chat template adds some.
    if _count(given) and _count(got) and 0 < given <= 2 * asked + TEMPLATE and bool(text) <= got <= most:
        return Usage(given, got), True
    return Usage(sum(estimate_tokens(m.content) for m in ask.messages), estimate_tokens(text), estimated=True), False


def _count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def complaint(body: object, depth: int = DEEPEST) -> str:
    """What an error document says, in the shapes servers use: OpenAI's, FastAPI's, Ollama's, plain text."""
    if isinstance(body, str):
        return body
    if not depth:
        return "…"
    if isinstance(body, dict):
        for name in ("message", "error", "detail", "msg"):
            if body.get(name):
                return complaint(body[name], depth - 1)
        return ", ".join(f"{name}: {complaint(body[name], depth - 1)}" for name in list(body)[:5])
    if isinstance(body, list):
        return "; ".join(complaint(item, depth - 1) for item in body[:3])
    return "" if body is None else str(body)


def refused_parameter(body: object, sent: Iterable[str]) -> str | None:
    """Which of the parameters `sent` an error is about: by its `param` or `loc`, else by a name in its message.

    A prompt that is too long is no parameter's fault, though such messages often speak of max_tokens.
    """
    sent = list(sent)
    said = complaint(body)[:20_000]
    if re.search(r"context.{0,20}(length|window|size)|maximum context|(prompt|input) is too long", said, re.IGNORECASE):
        return None
    places = _places(body)
    named = [name for name in sent if name in places]
    named = named or [name for name in sent if re.search(rf"(?<![\w.]){re.escape(name)}\b", said)]
    return min(named, key=lambda name: said.find(name) if name in said else len(said)) if named else None


def _places(body: object, depth: int = DEEPEST) -> set[str]:
    """The parameters that a structured error points at."""
    if isinstance(body, list) and depth:
        return {place for item in body[:50] for place in _places(item, depth - 1)}
    if not isinstance(body, dict) or not depth:
        return set()
    found = {str(part) for part in body["loc"]} if isinstance(body.get("loc"), list) else set()
    found |= {body["param"]} if isinstance(body.get("param"), str) else set()
    return found.union(*(_places(body.get(name), depth - 1) for name in ("error", "detail")))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """How many seconds the server asks to be left alone; `now` in seconds since the epoch, for a date."""
    for header, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(header, "")) / unit
        except ValueError:
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        return max(0.0, email.utils.parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
