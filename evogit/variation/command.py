"""A coding program as an agent: what it changed in a copy of the parent is the child, what it used is on the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from evogit.catalog import Agent
from evogit.definitions import Source, read_text
from evogit.errors import VariationError
from evogit.models.desk import Desk
from evogit.models.pricing import cost, estimate_tokens
from evogit.values import Call, Proposal, Reason
from evogit.variation import wellformed
from evogit.variation.model import describe
from evogit.variation.program import Outcome, Program, read_program, work
from evogit.variation.prompts import compose, show_files
from evogit.variation.request import Fruitless, Request, Retired

HOW = "Edit the files in the present folder. Do not commit, do not ask, do not explain."


class Command:
    """An agent that is a program. `environ` is the user's environment, of which only what is named is passed on."""

    waits = True
    operators = ("command",)

    def __init__(
        self,
        agent: Agent,
        environ: Mapping[str, str],
        editable: Callable[[str], bool],
        hidden: Sequence[Path],
        desk: Desk,
    ) -> None:
        self._agent, self._program = agent, program_of(agent)
        self._environ, self._editable = environ, editable
        self._hidden, self._desk = tuple(hidden), desk

    def needs_mate(self, operator: str) -> bool:  # noqa: ARG002  # it never crosses
        return False

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """A program learns by what later prompts tell it."""

    async def propose(self, request: Request) -> Proposal:
        """What the program made of the receiver.

        Raises:
            Retired: it can never work here.
            Fruitless: it was started, and there is nothing to be had from it.
        """
        background = request.background()
        text = show_files(request.receiver.files, self._agent.context.budget, "", request.rng)
        prompt = compose(self._agent, request, text, HOW)
        whole = background.whole()
        outcome, call = await self._start(prompt, whole, request.model)
        evidence = {"prompt.md": prompt.encode("utf-8", "replace"), "reply.md": outcome.output}
        if outcome.notes:
            evidence["ignored.txt"] = "\n".join(outcome.notes).encode("utf-8", "replace")
        changes = outcome.changes
        if not changes:
            self._nothing(outcome, call, evidence)
        problem = wellformed.problem(whole, changes)
        if problem:
            raise Fruitless(f"the result does not parse: {problem}", Reason.SYNTAX, (call,), evidence)
        files = request.receiver.files
        touched = {
            path: wellformed.touched(whole[path], data)[:20]
            for path, data in changes.items()
            if data is not None and path in whole and b"\0" not in data
        }
        return Proposal(
            (request.receiver.commit,),
            changes,
            describe(files, changes),
            "command",
            request.model,
            evidence=evidence,
            calls=(call,),
            touched=touched,
        )

    async def _start(self, prompt: str, whole: Mapping[str, bytes], model: str) -> tuple[Outcome, Call]:
        """Little is known beforehand: the prompt. What a program uses on its way is counted when it has ended."""
        tokens, table = estimate_tokens(prompt), self._desk.tables.get(model)
        money = cost(table, tokens, 0) if table else 0.0
        if not await self._desk.purse.hold(tokens, money):
            raise VariationError("the budget does not cover another start", Reason.UNANSWERED.value)
        call: Call | None = Call(model or self._agent.name, "propose", tokens, 0, money, failed="cancelled")
        try:
            outcome = await work(
                self._program,
                prompt,
                whole,
                self._editable,
                self._environ,
                model=table,
                hidden=self._hidden,
            )
            call = self._call(model, tokens, outcome)
            return outcome, call
        except Retired as error:
            call = None
            raise Retired(f"{self._agent.name}: {error}", error.reason) from error
        except VariationError:
            call = None
            raise
        finally:
            # Cancelled: it may have asked its model already, so the estimate stays on the books.
            if call is not None and call.failed == "cancelled":
                self._desk.lost.append(call)
            spent, paid = (call.input + call.output, call.cost) if call else (0, 0.0)
            self._desk.purse.settle(spent, paid, tokens, money)

    def _call(self, model: str, tokens: int, outcome: Outcome) -> Call:
        """What the program says it used; else an estimate from the prompt, which is too little, never nothing."""
        given, got = int(outcome.used.get("input", tokens)), int(outcome.used.get("output", 0))
        table = self._desk.tables.get(model)
        # Programs say $0.00 of a model whose price they do not know; the configuration may know it.
        paid = outcome.used.get("cost") or (cost(table, given, got) if table else 0.0)
        seconds = round(outcome.seconds, 3) if self._desk.timed else 0.0
        failed = "deadline" if outcome.late else f"exit status {outcome.code}" if outcome.code else ""
        return Call(model or self._agent.name, "propose", given, got, paid, seconds, failed)

    def _nothing(self, outcome: Outcome, call: Call, evidence: Mapping[str, bytes]) -> NoReturn:
        last = outcome.output.decode("utf-8", "replace").strip().splitlines()[-3:]
        said = f": {' / '.join(last)[:500]}" if last else ""
        if outcome.failed:
            raise Fruitless(outcome.failed, outcome.reason, (call,), evidence)
        if outcome.late:
            raise Fruitless(f"no change within {self._program.deadline:g} s{said}", Reason.TIMEOUT, (call,), evidence)
        if outcome.code:
            raise Fruitless(f"exit status {outcome.code}{said}", Reason.UNANSWERED, (call,), evidence)
        raise Fruitless(f"it changed nothing{said}", Reason.NO_OP, (call,), evidence)


def program_of(agent: Agent) -> Program:
    """The program that an agent file describes. Raises `DefinitionError` with the file and line of a mistake."""
    text = read_text(agent.source) if agent.source and agent.source.is_file() else ""
    return read_program(agent.options, Source(str(agent.source or agent.name), text, "yaml"))
