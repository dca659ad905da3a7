"""One conversation with a model: the prompt, its reply, and as many turns as it is given to mend an unusable one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from evogit.catalog import Agent
from evogit.models.chat import Ask, Message, ModelError
from evogit.models.desk import Desk, Unanswered
from evogit.values import Call, Reason
from evogit.variation.replies import ReplyError
from evogit.variation.request import Fruitless

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """What a reply meant, what the conversation cost, and its text for the record."""

    value: T
    calls: tuple[Call, ...]
    evidence: Mapping[str, bytes]


async def converse(
    desk: Desk,
    agent: Agent,
    model: str,
    prompt: str,
    read: Callable[[str], T],
    role: str,
    schema: Mapping[str, Any] | None = None,
) -> Said[T]:
    """Ask until `read` understands the reply.

    Raises:
        Fruitless: it never did, or there was no reply.
    """
    messages = [Message("user", prompt)]
    calls: list[Call] = []
    evidence = {"prompt.md": prompt.encode("utf-8", "replace")}
    for turn in range(agent.repairs + 1):
        ask = Ask(tuple(messages), agent.temperature, agent.max_tokens, schema)
        try:
            with desk.owing(calls):
                reply, call = await desk.ask(model, ask, "mend" if turn else role)
        except Unanswered as error:
            reason = Reason.REFUSED if error.refused else Reason.UNANSWERED
            raise Fruitless(str(error), reason, (*calls, error.call), evidence) from error
        except ModelError as error:
            raise Fruitless(str(error), Reason.UNANSWERED, tuple(calls), evidence) from error
        calls.append(call)
        evidence["reply.md"] = reply.text.encode("utf-8", "replace")
        try:
            return Said(read(reply.text), tuple(calls), evidence)
        except ReplyError as error:
            cut = " (it was cut off at its token limit: be brief)" if reply.finish == "length" else ""
            complaint = f"That cannot be used: {error}{cut}\nReply again, in the form asked for."
            if turn == agent.repairs:
                evidence["error.txt"] = f"{error}{cut}\n".encode("utf-8", "replace")
                raise Fruitless(f"{error}{cut}", Reason(error.reason), tuple(calls), evidence) from error
            evidence[f"reply-{turn + 1}.md"] = evidence.pop("reply.md")
            evidence[f"prompt-{turn + 2}.md"] = complaint.encode("utf-8", "replace")
            messages += [Message("assistant", reply.text), Message("user", complaint)]
    raise AssertionError("the last turn either returns or raises")
