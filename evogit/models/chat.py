"""What a chat model is asked, what it answers, and the protocol every model implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from evogit.errors import ModelError

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `schema`: a JSON schema for the answer, enforced where the server can, else asked for.

    None for `temperature` or `max_tokens` means as the model is configured.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request. `estimated`: counted from the text, as the server gave no or impossible figures."""

    input: int = 0
    output: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer. `finish` is "stop", "length" (cut off at the token limit) or what the server called it."""

    text: str
    usage: Usage
    seconds: float
    finish: str = "stop"


class Chat(Protocol):
    """A chat model under the name it has in the configuration."""

    @property
    def name(self) -> str: ...

    async def complete(self, ask: Ask) -> Reply:
        """The answer.

        Raises:
            ModelError: there is none: refused, cut off, misconfigured or out of reach; retries included.
        """
        ...

    async def close(self) -> None: ...


__all__ = ["Ask", "Chat", "Message", "ModelError", "Reply", "Role", "Usage"]
