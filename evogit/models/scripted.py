"""A model that answers from a script: for tests, benchmarks and trying an agent without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from evogit.models.chat import Ask, ModelError, Reply, Usage
from evogit.models.pricing import estimate_tokens


class Scripted:
    """A `Chat` whose answers come from a callable, or from a list in turn. `delay` in seconds; `asks` is what came in.

    The callable may raise `ModelError`. A list that is used up is a fatal one.
    """

    def __init__(self, name: str, script: Callable[[Ask], str] | Iterable[str], delay: float = 0.0) -> None:
        self.name = name
        self.asks: list[Ask] = []
        self._script = script if callable(script) else _in_turn(name, script)
        self._delay = delay

    async def complete(self, ask: Ask) -> Reply:
        self.asks.append(ask)
        text = self._script(ask)
        await asyncio.sleep(self._delay)
        given = sum(estimate_tokens(message.content) for message in ask.messages)
        return Reply(text, Usage(given, estimate_tokens(text), estimated=True), self._delay)

    async def close(self) -> None:
        """Nothing is held open."""


def _in_turn(name: str, texts: Iterable[str]) -> Callable[[Ask], str]:
    left = iter(texts)

    def answer(_ask: Ask) -> str:
        for text in left:
            return text
        raise ModelError(f"model {name}: its script is used up", fatal=True)

    return answer
