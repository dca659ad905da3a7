"""The critic: which of two versions serves the goal better, where no number says so.

Models prefer what they are shown first (Zheng et al. 2023, "Judging LLM-as-a-Judge"), so each pair is asked about in
both orders; two answers that do not agree mean that there is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from evogit.catalog import Agent
from evogit.models.desk import Desk
from evogit.models.prompt import Piece, fit, render
from evogit.values import Call, Reason
from evogit.variation.dialogue import converse
from evogit.variation.prompts import HOW_TO_REPLY
from evogit.variation.replies import VERDICT_SCHEMA, Limits, Preference, clean, nothing, read_verdict
from evogit.variation.request import Fruitless


@dataclass(frozen=True, slots=True)
class Contender:
    """A version before the judge: what its evaluation said, and its difference to the other."""

    score: float | None
    feedback: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger beats the holder. `agreed` is false when the two orders did not."""

    outcome: Literal["better", "worse", "same"]
    reason: str
    agreed: bool
    calls: tuple[Call, ...]
    evidence: Mapping[str, bytes]


class Judge:
    """Compares two versions. It serves the other agents and has no branch of its own."""

    def __init__(self, agent: Agent, desk: Desk) -> None:
        self._agent, self._desk = agent, desk

    async def compare(
        self, goal: str, challenger: Contender, holder: Contender, diffs: tuple[str, str], model: str
    ) -> Verdict:
        """The verdict. `diffs`: from holder to challenger, and the reverse.

        Raises:
            Fruitless: the model gave no verdict in one of the two orders.
        """
        forth, back = diffs
        calls: tuple[Call, ...] = ()
        evidence: dict[str, bytes] = {}
        answers: list[tuple[Preference, str]] = []
        for order, (first, second, diff) in enumerate([(holder, challenger, forth), (challenger, holder, back)], 1):
            prompt = self._prompt(goal, first, second, diff)
            try:
                with self._desk.owing(calls):
                    said = await converse(self._desk, self._agent, model, prompt, read_verdict, "judge", VERDICT_SCHEMA)
            except Fruitless as error:  # what the first order cost and said stays on record
                evidence |= {f"order-{order}-{name}": data for name, data in error.evidence.items()}
                raise Fruitless(str(error), Reason(error.reason), (*calls, *error.calls), evidence) from error
            calls += said.calls
            evidence |= {f"order-{order}-{name}": data for name, data in said.evidence.items()}
            answers.append(said.value)
        (one, why), (two, why_too) = answers
        if (one, two) == ("second", "first"):
            return Verdict("better", why, True, calls, evidence)
        if (one, two) == ("first", "second"):
            return Verdict("worse", why, True, calls, evidence)
        agreed = one == two == "same"
        reason = why if agreed else f"the two orders disagree: {why} / {why_too}"
        return Verdict("same", reason[:500], agreed, calls, evidence)

    def _prompt(self, goal: str, first: Contender, second: Contender, diff: str) -> str:
        pieces = [
            Piece("goal", goal, firm=True),
            Piece("reply_format", HOW_TO_REPLY["verdict"], firm=True),
            Piece("diff", diff, share=0.6),
            Piece("feedback_first", _said(first), tail=True, share=0.2),
            Piece("feedback_second", _said(second), tail=True, share=0.2),
        ]
        values: dict[str, object] = {**fit(pieces, self._agent.context.budget)}
        return render(self._agent.prompt, values, self._agent.source or self._agent.name)


def _said(contender: Contender) -> str:
    score = "" if contender.score is None else f"score {contender.score:.6g}\n"
    return (score + contender.feedback).strip()


class Distil:
    """The scribe: turns what was tried into a few notes for later prompts."""

    def __init__(self, agent: Agent, desk: Desk) -> None:
        self._agent, self._desk = agent, desk

    async def notes(
        self, goal: str, tried: str, before: str, model: str
    ) -> tuple[str, tuple[Call, ...], Mapping[str, bytes]]:
        """The notes, what they cost, and the conversation. Raises `Fruitless`."""
        pieces = [Piece("goal", goal, firm=True), Piece("tried", tried, share=0.8), Piece("notes", before, share=0.2)]
        values: dict[str, object] = {**fit(pieces, self._agent.context.budget)}
        prompt = render(self._agent.prompt, values, self._agent.source or self._agent.name)
        said = await converse(self._desk, self._agent, model, prompt, _read_notes, "distil")
        return said.value, said.calls, said.evidence


def _read_notes(reply: str) -> str:
    text = clean(reply, Limits())
    lines = [" ".join(line.split()).lstrip("-*• ") for line in text.splitlines()]
    kept = [line[:300] for line in lines if line and not line.startswith(("```", "#"))][:12]
    if not kept:
        raise nothing(text, "a few notes, one a line")
    return "\n".join(kept)
