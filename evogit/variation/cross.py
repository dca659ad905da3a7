"""Crossover with a model: what a three-way merge can join is joined without it, it decides the conflicting hunks."""

from __future__ import annotations

import re
from collections.abc import Callable

from evogit.catalog import Agent
from evogit.errors import VariationError
from evogit.models.desk import Desk
from evogit.models.pricing import estimate_tokens
from evogit.values import Changes, Proposal, Reason
from evogit.variation.dialogue import converse
from evogit.variation.merge import Hunk, merge3, resolve
from evogit.variation.model import born, checked
from evogit.variation.prompts import compose
from evogit.variation.replies import Limits, ReplyError, clean, fenced, nothing
from evogit.variation.request import Request
from evogit.variation.sections import TEXT_SHARE

CONTEXT = 6  # lines shown around a conflict
MOST = 20  # conflicts beyond which a merge is not worth a model's time
FORM = "CONFLICT 1\n```\nthe lines that shall stand there\n```"

Merged = dict[str, tuple[Hunk, ...] | bytes | None]


class Cross:
    """The breeder: merges two parents and asks a model about the conflicts only."""

    waits = True
    operators = ("cross",)

    def __init__(self, agent: Agent, desk: Desk) -> None:
        self._agent, self._desk = agent, desk

    def needs_mate(self, operator: str) -> bool:  # noqa: ARG002  # it does nothing else
        return True

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """Nothing to learn: conflicts differ."""

    async def propose(self, request: Request) -> Proposal:
        if request.mate is None:
            raise VariationError("cross needs a mate")
        parents = (request.receiver.commit, request.mate.commit)
        merged = meet(request)
        summary = f"cross {parents[1][:8]} into {parents[0][:8]}"
        count = undecided(merged)
        if count > MOST:
            raise VariationError(f"{count} conflicts are too many for one reply")
        if not count:
            changes = settled(merged, [])
            if not changes:
                raise VariationError("cross: the mate has nothing that the receiver lacks")
            return Proposal(parents, changes, f"{summary} (clean)", "cross")
        shown = _show(merged)
        if estimate_tokens(shown) > self._agent.context.budget * TEXT_SHARE:
            raise VariationError("the conflicts are too long for a prompt")
        prompt, read = compose(self._agent, request, shown, "hunks"), reader(request, merged)
        said = await converse(self._desk, self._agent, request.model, prompt, read, "cross")
        proposal = born(request, said, parents, "cross")
        return Proposal(
            parents,
            proposal.changes,
            f"{summary} ({count} conflict{'s' if count > 1 else ''} decided by a model)",
            "cross",
            request.model,
            evidence=proposal.evidence,
            calls=proposal.calls,
            touched=proposal.touched,
        )


def reader(request: Request, merged: Merged) -> Callable[[str], Changes]:
    """How a reply about the conflicts of `merged` is read."""

    def read(reply: str) -> Changes:
        changes = settled(merged, read_hunks(reply, undecided(merged)))
        same = all(request.receiver.files.get(path) == data for path, data in changes.items())
        if same:
            raise ReplyError("the result equals the first parent; take something of the second", Reason.NO_OP)
        return changes

    return checked(request.receiver.files, read)


def undecided(merged: Merged) -> int:
    """How many hunks a model has to decide."""
    return sum(hunk.conflict for found in merged.values() if isinstance(found, tuple) for hunk in found)


def meet(request: Request) -> Merged:
    """Path → its hunks, or bytes (None: deleted) where there is nothing to decide."""
    assert request.mate is not None
    merged: Merged = {}
    for path in sorted(request.theirs):
        ours, theirs = request.receiver.files.get(path), request.mate.files.get(path)
        if ours == theirs:
            continue
        if path not in request.ours:
            merged[path] = theirs
        elif ours is None or theirs is None:
            kept = request.rng.choice([ours, theirs])
            if kept != ours:
                merged[path] = kept
        else:
            base = request.base.files.get(path) if request.base else None
            merged[path] = merge3(base or b"", ours, theirs)
            if any(hunk.conflict and b"\0" in hunk.ours for hunk in merged[path] or ()):  # type: ignore[union-attr]
                merged[path] = request.rng.choice([ours, theirs])
    return merged


def settled(merged: Merged, decided: list[bytes]) -> dict[str, bytes | None]:
    """The changes, the conflicts replaced by what was decided, in order."""
    answers = iter(decided)
    changes: dict[str, bytes | None] = {}
    for path, found in merged.items():
        changes[path] = resolve(found, lambda hunk: next(answers, hunk.ours)) if isinstance(found, tuple) else found
    return changes


def _show(merged: Merged) -> str:
    parts = []
    number = 0
    for path, found in merged.items():
        if not isinstance(found, tuple):
            continue
        for at, hunk in enumerate(found):
            if not hunk.conflict:
                continue
            number += 1
            before = found[at - 1].ours.splitlines()[-CONTEXT:] if at else []
            after = found[at + 1].ours.splitlines()[:CONTEXT] if at + 1 < len(found) else []
            lines = [
                f"CONFLICT {number} in {path}",
                *_text(before),
                "<<<<<<< first parent",
                *_text(hunk.ours.splitlines()),
            ]
            lines += ["||||||| their common ancestor", *_text(hunk.base.splitlines()), "======="]
            lines += [*_text(hunk.theirs.splitlines()), ">>>>>>> second parent", *_text(after)]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _text(lines: list[bytes]) -> list[str]:
    return [line.decode("utf-8", "replace") for line in lines]


def read_hunks(reply: str, count: int, limits: Limits = Limits()) -> list[bytes]:
    """What the reply puts in the place of each conflict, in order. Raises `ReplyError` if one is missing."""
    text = clean(reply, limits)
    found: dict[int, str] = {}
    for piece in re.split(r"(?m)^(?=\W{0,6}CONFLICT\s+\d)", text):
        head = re.match(r"\W{0,6}CONFLICT\s+(\d{1,3})", piece)
        blocks = fenced(piece)
        if head and blocks and not blocks[0].closed:
            raise ReplyError("the reply was cut off inside a block; be brief", Reason.UNPARSABLE)
        if head and blocks:
            found.setdefault(int(head[1]), blocks[0].text)
    if not found and count == 1 and (blocks := fenced(text)):
        found[1] = blocks[0].text
    if not found:
        raise nothing(text, FORM)
    missing = [str(n) for n in range(1, count + 1) if n not in found]
    if missing:
        raise ReplyError(f"CONFLICT {', '.join(missing)} is not answered; the form is\n{FORM}", Reason.UNPARSABLE)
    if any(re.search(r"^(?:<{7}|>{7}|={7}$|\|{7})", body, re.M) for body in found.values()):
        raise ReplyError("conflict marks were left in; write only the lines that shall stand there", Reason.UNPARSABLE)
    return [found[n].encode("utf-8", "replace") for n in range(1, count + 1)]
