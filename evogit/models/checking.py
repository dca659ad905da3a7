"""Trying a configured model once: does it answer, how fast, and what does its server support?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from evogit.errors import ModelError
from evogit.models import answers
from evogit.models.chat import Ask, Message
from evogit.models.openai import CHECK, FORMS, OpenAIChat, connect
from evogit.models.wire import OPENAI
from evogit.tables import ModelTable

QUESTION = Ask((Message("user", "Count from 1 to 40, separated by spaces. Write only the numbers."),), max_tokens=200)
WORDS = ("amber", "basalt", "cobalt")
CHOICE = Ask(
    (Message("user", "Greet me."),),  # nothing that makes a model write JSON, unless its server keeps it to the schema
    max_tokens=100,
    schema={
        "type": "object",
        "properties": {"word": {"type": "string", "enum": list(WORDS)}},
        "required": ["word"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of one model found. `latency` in seconds, of the whole first answer; `problem` is empty when ok."""

    name: str
    model: str
    base_url: str
    ok: bool
    latency: float = 0.0
    tokens_per_second: float = 0.0
    supports: tuple[str, ...] = ()
    usage_reported: bool = False
    problem: str = ""


async def check(name: str, table: ModelTable, environ: Mapping[str, str], *, retries: int = 1) -> Finding:
    """Ask the model of `[models.NAME]` one short question, and one for each way to ask for structure. Never raises."""
    base_url = table.base_url or environ.get("OPENAI_BASE_URL") or OPENAI
    try:
        chat = connect(name, table, environ, retries=retries)
    except ModelError as error:
        return Finding(name, table.model, answers.one_line(base_url), False, problem=_plain(error))
    try:
        begun = time.monotonic()
        reply = await chat.complete(QUESTION)
        latency = time.monotonic() - begun
        reported = chat.usage_reported
        supports = await _supported(chat)
        return Finding(
            name, table.model, chat.base_url, True, latency, reply.usage.output / latency, supports, reported
        )
    except ModelError as error:
        return Finding(name, table.model, chat.base_url, False, problem=_plain(error))
    finally:
        await chat.close()


async def _supported(chat: OpenAIChat) -> tuple[str, ...]:
    """The forms of structured answer that the server takes and keeps to; text always."""
    found = []
    for form in FORMS[:-1]:
        try:
            reply = await chat.complete_as(CHOICE, form)
        except ModelError:
            continue
        # In ``json_schema`` the schema stands nowhere but in the format, so only a server that enforces it gets a word.
        kept = answers.is_object(reply.text)
        if kept and (form != "json_schema" or any(f'"{word}"' in reply.text for word in WORDS)):
            found.append(form)
    return (*found, FORMS[-1])


def _plain(error: ModelError) -> str:
    """The error's line without the advice to do what is being done."""
    return str(error).removesuffix(CHECK).strip()
