"""Mutation by a language model, in the reply format that its agent file names; the paper's and three more."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from evogit.catalog import Agent
from evogit.errors import VariationError
from evogit.models.desk import Desk
from evogit.values import Changes, Proposal
from evogit.variation import crossing, replies, wellformed
from evogit.variation.dialogue import Said, converse
from evogit.variation.prompts import compose, feedback, show_files, show_numbered, show_section
from evogit.variation.replies import LONGEST
from evogit.variation.request import Request
from evogit.variation.sections import TEXT_SHARE, Section, choose, fitting

Editable = Callable[[str], bool]
Place = Mapping[str, str | int]
"""Path and, of a section, its first line and the line after its last; empty where a reply may be about any file."""
WINDOW = 200  # lines of a file that a line edit chooses among


class Mutate:
    """An agent that asks a model for an edit. With ``crossover: chance`` it also crosses as the offline agents do."""

    waits = True

    def __init__(self, agent: Agent, desk: Desk, editable: Editable) -> None:
        assert agent.format is not None
        self._agent, self._desk, self._editable = agent, desk, editable
        self.operators: tuple[str, ...] = (agent.format,)
        if agent.crossover == "chance":
            self.operators += crossing.CROSSOVERS

    def needs_mate(self, operator: str) -> bool:
        return operator in crossing.CROSSOVERS

    async def propose(self, request: Request) -> Proposal:
        if request.operator in crossing.CROSSOVERS:
            return crossed(request)
        prompt, place, schema = self.question(request)
        read = reader(request.operator, request.receiver.files, self._editable, place)
        said = await converse(self._desk, self._agent, request.model, prompt, read, "propose", schema)
        return replace(born(request, said, (request.receiver.commit,), request.operator), recipe=place)

    def question(self, request: Request) -> tuple[str, Place, Mapping[str, object] | None]:
        """The prompt, the place in the text that its reply is about, and the schema it should follow, if any."""
        maker = {
            "section": self._section,
            "search-replace": self._search_replace,
            "whole-files": self._whole_files,
            "line-edit": self._line_edit,
        }[request.operator]
        return maker(request)

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """Models learn by what later prompts tell them."""

    def _section(self, request: Request) -> tuple[str, Place, None]:
        files = request.receiver.files
        section = choose(files, self._agent.context, request.rng)
        text = show_section(files[section.path], section)
        prompt = compose(self._agent, request, text, "section", path=section.path, section=section)
        return prompt, {"path": section.path, "start": section.start, "end": section.end}, None

    def _search_replace(self, request: Request) -> tuple[str, Place, None]:
        return compose(self._agent, request, self._shown(request), "search-replace"), {}, None

    def _whole_files(self, request: Request) -> tuple[str, Place, None]:
        return compose(self._agent, request, self._shown(request, whole=True), "whole-files"), {}, None

    def _line_edit(self, request: Request) -> tuple[str, Place, Mapping[str, object]]:
        files = request.receiver.files
        path, start, end = _window(files, self._agent.context.budget, request.rng)
        text = show_numbered(files[path], start, end)
        section = Section(path, start, end)
        prompt = compose(self._agent, request, text, "line-edit", path=path, section=section)
        schema = replies.line_edit_schema(path, files[path], start, end)
        return prompt, {"path": path}, schema

    def _shown(self, request: Request, *, whole: bool = False) -> str:
        said = feedback(request.background().evaluation)
        text = show_files(request.receiver.files, self._agent.context.budget, said, request.rng, whole=whole)
        if not text:
            raise VariationError("no editable file has text that fits into a prompt")
        return text


def crossed(request: Request) -> Proposal:
    """A crossover by chance, of agents that may also do that. Raises `VariationError`."""
    cross = crossing.merge if request.operator == "merge" else crossing.transplant
    return cross(request, _parses)


def reader(operator: str, files: Mapping[str, bytes], editable: Editable, place: Place) -> Callable[[str], Changes]:
    """How a reply to `operator`'s question about `files` is read; `place` as `Mutate.question` gave it."""
    path = str(place.get("path", ""))
    start, end = (int(place.get(name, 0)) for name in ("start", "end"))

    def read(reply: str) -> Changes:
        match operator:
            case "section":
                return replies.read_section(reply, files, editable, path=path, start=start, end=end)
            case "whole-files":
                return replies.read_whole_files(reply, files, editable)
            case "line-edit":
                return replies.read_line_edit(reply, files, editable, path=path)
            case _:
                return replies.read_search_replace(reply, files, editable)

    return checked(files, read)


def _window(files: Mapping[str, bytes], budget: int, rng: random.Random) -> tuple[str, int, int]:
    """Lines of a file to choose among, few enough that they fit twice: as text and in the schema."""
    names = [path for path, data in sorted(files.items()) if b"\0" not in data and data.strip()]
    if not names:
        raise VariationError("no editable file has any text")
    path = rng.choice(names)
    lines = [line[:LONGEST].decode("utf-8", "replace") for line in files[path].split(b"\n")]
    start = rng.randint(0, max(0, len(lines) - WINDOW))
    return path, start, fitting(lines, start, start + WINDOW, int(budget * TEXT_SHARE / 2))


def checked(files: Mapping[str, bytes], read: Callable[[str], Changes]) -> Callable[[str], Changes]:
    """`read`, and then whether what was read still parses."""

    def reader(reply: str) -> Changes:
        changes = read(reply)
        replies.check_syntax(files, changes)
        return changes

    return reader


def _parses(path: str, data: bytes) -> bool:
    return not wellformed.problem({}, {path: data})


def born(request: Request, said: Said[Changes], parents: tuple[str, ...], operator: str) -> Proposal:
    """The proposal that a conversation led to. The summary is ours: a model's words are no evidence of its deeds."""
    files, changes = request.receiver.files, said.value
    ranges = {
        path: wellformed.touched(files[path], data)
        for path, data in changes.items()
        if data is not None and path in files and b"\0" not in data
    }
    return Proposal(
        parents,
        changes,
        describe(files, changes),
        operator,
        request.model,
        evidence=said.evidence,
        calls=said.calls,
        touched={path: found[:20] for path, found in ranges.items()},
    )


def describe(files: Mapping[str, bytes], changes: Changes) -> str:
    """A summary of an edit in one line: where, how much, and the first line that is new."""
    parts = []
    first = ""
    for path, data in sorted(changes.items()):
        if data is None:
            parts.append(f"{path} deleted")
        elif path not in files:
            parts.append(f"{path} added")
        else:
            ranges = wellformed.touched(files[path], data)
            parts.append(f"{path}:{ranges[0][0] + 1}" if ranges else path)
            known = {line.strip() for line in files[path].splitlines()}
            fresh = (line.strip() for line in data.splitlines() if line.strip() not in known and line.strip())
            first = first or next(fresh, b"").decode("utf-8", "replace")
    more = f" and {len(parts) - 2} more" if len(parts) > 2 else ""
    return f"{', '.join(parts[:2])}{more} {first}".strip()
