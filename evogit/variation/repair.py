"""The fixer: a child that failed its evaluation, and what it failed with, shown to a model before it is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from evogit.catalog import Agent
from evogit.models.desk import Desk
from evogit.values import Evaluation, Proposal, Version
from evogit.variation.dialogue import converse
from evogit.variation.model import born, reader
from evogit.variation.prompts import compose, feedback, show_files
from evogit.variation.request import Background, Request


class Repair:
    """Mends a failed child. It serves the other agents and has no branch of its own."""

    def __init__(self, agent: Agent, desk: Desk, editable: Callable[[str], bool]) -> None:
        self._agent, self._desk, self._editable = agent, desk, editable

    async def mend(self, request: Request, child: Version, evaluation: Evaluation, model: str) -> Proposal:
        """A child of the failed `child`. Raises `Fruitless` when the model has no usable idea."""
        known = request.background()

        def background() -> Background:
            return replace(known, evaluation=evaluation, failures=lambda _path, _start, _end: ())

        failed = replace(request, receiver=child, operator="repair", background=background, model=model)
        said = feedback(evaluation)
        text = show_files(child.files, self._agent.context.budget, said, request.rng)
        failure = f"status: {evaluation.status}\n{said}".strip()
        prompt = compose(self._agent, failed, text, "search-replace", failure=failure[-6000:])
        read = reader("repair", child.files, self._editable, {})
        answer = await converse(self._desk, self._agent, model, prompt, read, "repair")
        return born(failed, answer, (child.commit,), "repair")
