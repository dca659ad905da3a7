"""Replies made of fenced blocks: whole files, or the new text of one section."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evogit.values import Reason
from evogit.variation.matching import like_section, untabbed
from evogit.variation.reply_edits import command
from evogit.variation.reply_paths import heading, info_path, mentioned
from evogit.variation.reply_text import (
    SHORT,
    Block,
    Limits,
    ReplyError,
    clean,
    fenced,
    nothing,
    parted,
    refuse_elision,
    ungutter,
)
from evogit.variation.reply_work import Editable, Files, Work

WHOLE_FILES = "path/of/the/file\n```\nthe whole file\n```"
SECTION = "```\nthe new text of the section, all of it\n```"

AROUND = 200  # lines before and after a section that a model may have returned with it

_MARK = re.compile(r"^\s{0,12}(?:<{5,9}|>{5,9}) ?section (begins|ends)\s*$", re.I)
_CODE = re.compile(r"^(?:[ \t]{2,60}\S|[@\w].{0,300}[:;{(=]|[}\])])", re.MULTILINE)


def read_whole_files(
    reply: str, files: Files, editable: Editable, limits: Limits = Limits()
) -> dict[str, bytes | None]:
    """Fenced blocks, each a whole file, its path on the line before, in the info string or in the first comment."""
    text = clean(reply, limits)
    work = Work(files, editable, limits)
    blocks: list[Block] = []
    for part in parted(text):
        if isinstance(part, str):
            command(work, part)
        elif part.text.strip() or heading(part.before, files) is not None:
            blocks.append(part)
    if not blocks and not work.touched:
        raise nothing(text, WHOLE_FILES)
    _refuse_unclosed(blocks)
    _refuse_other_forms(blocks)
    placed = [(_path_of(block, files), block) for block in blocks]
    named = [(path, block) for path, block in placed if path is not None]
    unnamed = [block for path, block in placed if path is None and not _aside(block)]
    if unnamed and any(path.endswith((".md", ".markdown")) for path, _ in named):
        raise ReplyError("put a file that has ``` lines in it between lines of four: ````", Reason.UNPARSABLE)
    if unnamed and not named and not work.touched:
        only = work.only()
        if only is None or len(unnamed) > 1:
            raise ReplyError(f"write the file's path on the line above each block:\n{WHOLE_FILES}", Reason.UNPARSABLE)
        named = [(only, unnamed[0])]
    seen: dict[str, str] = {}
    for path, block in named:
        if seen.setdefault(path, block.text) != block.text:
            raise ReplyError(f"{path} is there twice; send each file once, all of it", Reason.UNPARSABLE)
        work.write(path, _without_title(block.text, path, work.text(path)))
    return work.changes()


def _refuse_unclosed(blocks: Sequence[Block]) -> None:
    if blocks and not blocks[-1].closed:
        raise ReplyError("the last block is not closed by a line ```; was the reply cut off?", Reason.UNPARSABLE)


def _path_of(block: Block, files: Files) -> str | None:
    return (
        info_path(block.info, files)
        or heading(block.before, files)
        or _title(block.text.partition("\n")[0], files)
        or (None if _aside(block) else mentioned(block.before, files))
    )


def _aside(block: Block) -> bool:
    """Whether a block shows how to run something, or what it printed."""
    return block.info.lower() in ("bash", "sh", "shell", "console", "shell-session", "terminal", "output", "powershell")


def _refuse_other_forms(blocks: Sequence[Block]) -> None:
    """A diff, or SEARCH/REPLACE blocks, must not become a file's text."""
    for block in blocks:
        diff = block.info.lower() in ("diff", "patch") or re.match(r"--- \S.{0,300}\n\+\+\+ \S", block.text)
        if diff or re.search(r"^<{5,9} ?SEARCH\b", block.text, re.MULTILINE):
            what = "a diff" if diff else "SEARCH/REPLACE blocks"
            raise ReplyError(f"write the new text out, all of it, not {what}", Reason.UNPARSABLE)


def _title(line: str, files: Files) -> str | None:
    """The path in a comment on a block's first line."""
    return heading(line, files) if re.match(r"\s{0,4}(?:#|//|--|/\*|<!--|;|%)\s*\S", line[:SHORT]) else None


def _without_title(text: str, path: str, old: str) -> str:
    """Without a first comment that only says the path, unless the file had it."""
    first, _, rest = text.partition("\n")
    if _title(first, {path: b""}) in (path, "./" + path) and old.partition("\n")[0].strip() != first.strip():
        return rest.removeprefix("\n")
    return text


def read_section(
    reply: str, files: Files, editable: Editable, limits: Limits = Limits(), *, path: str, start: int, end: int
) -> dict[str, bytes | None]:
    """A fenced block that replaces the lines [start, end) of `path`; a second, with a path, may add one new file."""
    text = clean(reply, limits)
    work = Work(files, editable, limits)
    path = work.check(path)
    blocks = [block for block in fenced(text) if block.text.strip()]
    if not blocks:
        if not text.strip() or nothing(text, "").reason == Reason.REFUSED or not _CODE.search(text):
            raise nothing(text, SECTION)
        blocks = [Block("", "", text.strip("\n") + "\n")]
    _refuse_unclosed(blocks)
    _refuse_other_forms(blocks)
    old = work.text(path).split("\n")
    inside = old[start:end]
    section: list[str] | None = None
    added: dict[str, str] = {}
    for block in blocks:
        said = _said_in_section(block, path, files)
        if said not in (None, path):
            added[said or ""] = block.text
        elif section is None or _bare_lines(section) == _bare_lines(inside):
            # A model that shows the old text first means the next block.
            section = block.text.removesuffix("\n").split("\n")
    for other in added:
        if work.exists(work.check(other)):
            raise ReplyError(f"only the section of {path} may change, not {other}", Reason.FORBIDDEN)
    if section is None:
        raise ReplyError(f"the block with the section's new text is missing:\n{SECTION}", Reason.UNPARSABLE)
    if len(added) > 1:
        raise ReplyError("at most one new file may be added", Reason.UNPARSABLE)
    section = _without_title("\n".join(section), path, "\n".join(inside)).split("\n")
    work.put(path, "\n".join([*old[:start], *_new_section(section, old, start, end), *old[end:]]))
    for other, body in added.items():
        work.write(other, _without_title(body, other, ""))
    return work.changes()


def _said_in_section(block: Block, path: str, files: Files) -> str | None:
    """The file a block is for: only a clear heading makes it another than `path`."""
    return (
        info_path(block.info, files)
        or heading(block.before, files)
        or _title(block.text.partition("\n")[0], {path: b""})
    )


def _bare_lines(lines: Sequence[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _new_section(new: list[str], old: Sequence[str], start: int, end: int) -> Iterator[str]:
    """The lines that replace [start, end): without what belongs around them, indented and spaced like the old ones."""
    inside = old[start:end]
    new = _between_marks(ungutter(new, frozenset(inside)))
    new = untabbed(_without_context(new, old, start, end), old)
    _refuse_outside(new, old, start, end)
    new = like_section(refuse_elision(new, inside), inside)
    ended = old[start : min(end, len(old) - 1)]  # the last line has no end whose style could be kept
    crlf = "\r" if ended and all(line.endswith("\r") for line in ended) else ""
    lead = next((n for n, line in enumerate(inside) if line.strip()), 0)
    tail = next((n for n, line in enumerate(reversed(inside)) if line.strip()), 0)
    full = [n for n, line in enumerate(new) if line.strip()]
    yield from inside[:lead]
    yield from (line + crlf for line in (new[full[0] : full[-1] + 1] if full else []))
    yield from inside[len(inside) - tail :]


def _between_marks(lines: list[str]) -> list[str]:
    """Without the marks that the prompt puts around a section, and what a model copied from outside of them."""
    marks = {mark[1].lower(): n for n, line in enumerate(lines) if len(line) <= SHORT and (mark := _MARK.match(line))}
    begin, finish = marks.get("begins", -1), marks.get("ends", len(lines))
    return lines[begin + 1 : finish] if begin < finish else lines


def _without_context(new: list[str], old: Sequence[str], start: int, end: int) -> list[str]:
    """A model that was shown lines around the section may return them with it: they would be there twice."""
    inside = _bare_lines(old[start:end])
    before, after = _bare_lines(old[max(0, start - AROUND) : start]), _bare_lines(old[end : end + AROUND])
    firsts = [n for n, line in enumerate(new) if n and inside and line.strip() == inside[0]][:1]
    for size in [*firsts, start, *range(min(start, AROUND), 2, -1)]:
        same = size in firsts and (told := _bare_lines(new[:size])) and before[-len(told) :] == told
        if same or (_told(new[:size]) and size < len(new) and new[:size] == list(old[start - size : start])):
            new = new[size:]
            break
    rest = len(old) - end
    lasts = [n for n, line in enumerate(reversed(new)) if n and inside and line.strip() == inside[-1]][:1]
    for size in [*lasts, rest, rest - 1, *range(min(rest, AROUND), 2, -1)]:
        same = size in lasts and (told := _bare_lines(new[-size:])) and after[: len(told)] == told
        if same or (0 < size < len(new) and _told(new[-size:]) and new[-size:] == list(old[end : end + size])):
            return new[:-size]
    return new


def _refuse_outside(new: Sequence[str], old: Sequence[str], start: int, end: int) -> None:
    """What a module defines elsewhere must not be defined again in the section."""
    inside, outside = frozenset(old[start:end]), frozenset([*old[:start], *old[end:]])
    for line in new:
        if line in outside and line not in inside and re.match(r"(?:def|class|async def) \w{1,200}", line):
            raise ReplyError(
                f"send the section only: {line.strip()[:200]!r} stands outside of it, and would be there twice",
                Reason.UNPARSABLE,
            )


def _told(lines: Sequence[str]) -> bool:
    return sum(len(line.strip()) > 3 for line in lines) > 1
