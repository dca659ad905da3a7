"""Replies made of SEARCH/REPLACE blocks, as aider, Cline and others taught models to write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evogit.values import Reason
from evogit.variation.reply_paths import heading, info_path, mentioned
from evogit.variation.reply_text import SHORT, Limits, ReplyError, clean, nothing
from evogit.variation.reply_work import Editable, Files, Work

SEARCH_REPLACE = """\
path/of/the/file
<<<<<<< SEARCH
lines as they are now, exactly, enough of them to be found only once
=======
lines as they should be
>>>>>>> REPLACE"""
NEAR = 3  # lines above a block that may name its file in a sentence
FAR = 200  # lines above a block that may name it in a heading
DIVIDERS = 8  # ways to read a block that has such lines in its text

_HEAD = re.compile(
    r"^\s{0,12}(?:<{5,9} ?(?:SEARCH|ORIGINAL|HEAD)\b|-{5,9} ?SEARCH\b|<{7}(?= |$))[:>]?[ \t]*(\S.{0,300})?$", re.I
)
_MIDDLE = re.compile(r"^\s{0,12}={5,9}\s*$")
_TAIL = re.compile(
    r"^\s{0,12}(?:>{5,9} ?(?:REPLACE|UPDATED|END)\b.{0,100}|\+{5,9} ?REPLACE\b.{0,100}|>{7} .{0,100}|>{5,9}\s*)$", re.I
)
_FENCE_LINE = re.compile(r"^\s{0,12}(?:`{3,}|~{3,})\s?(.{0,300})$")
_COMMAND = re.compile(r"^\s{0,12}(?:[-*] )?[*_`]{0,3}(DELETE|REMOVE|RENAME|MOVE)(?: FILE)?:?[*_`]{0,3}:?[ \t]+(\S.*)$")
_ARROW = re.compile(r"`?\s?(?:->|→|=>)\s?`?| to ")


def read_search_replace(
    reply: str, files: Files, editable: Editable, limits: Limits = Limits()
) -> dict[str, bytes | None]:
    """SEARCH/REPLACE blocks over several files.

    An empty SEARCH creates a file; ``DELETE path`` and ``RENAME old -> new``, each on its line, do what they say.
    """
    text = clean(reply, limits)
    work = Work(files, editable, limits)
    lines, path, since, at = text.split("\n"), None, 0, 0
    while at < len(lines):
        line = lines[at]
        head = _HEAD.match(line) if len(line) <= SHORT else None
        if head:
            said = heading(head[1], files) if head[1] else None
            path = said or _named_above(lines[since:at], files) or path or work.only()
            if path is None:
                raise ReplyError("a SEARCH/REPLACE block has no path: write it on the line above it", Reason.UNPARSABLE)
            sides, at = _sides(lines, at + 1, path)
            work.edit(path, sides)
            since = at
            continue
        if command(work, line):
            since = at + 1
        at += 1
    if not work.touched:
        raise nothing(text, SEARCH_REPLACE)
    return work.changes()


def _named_above(lines: Sequence[str], files: Files) -> str | None:
    """The path of a block, out of the text above it: the nearest heading, or the sentence just before it."""
    looked = 0
    for line in reversed(lines):
        if not line.strip():
            continue
        if len(line) <= SHORT and (fence := _FENCE_LINE.match(line)):
            if said := info_path(fence[1], files):
                return said
            continue
        looked += 1
        if looked > FAR:
            return None
        if said := heading(line, files) or (mentioned(line, files) if looked <= NEAR else None):
            return said
    return None


def _sides(lines: Sequence[str], at: int, path: str) -> tuple[list[tuple[list[str], list[str]]], int]:
    """The ways to part a block into what is sought and what replaces it, and the line after its end."""
    body: list[str] = []
    middles: list[int] = []
    for n in range(at, len(lines)):
        line = lines[n]
        if len(line) <= SHORT:
            if middles and _TAIL.match(line):
                return [(body[:m], body[m + 1 :]) for m in middles[:DIVIDERS]], n + 1
            if _HEAD.match(line) and line.lstrip().startswith("<"):
                break
            if _MIDDLE.match(line):
                middles.append(len(body))
        body.append(line)
    missing = ">>>>>>> REPLACE" if middles else "======="
    raise ReplyError(
        f"{path}: a SEARCH/REPLACE block is not finished: its line {missing} is missing", Reason.UNPARSABLE
    )


def command(work: Work, line: str) -> bool:
    """Follow ``DELETE path`` or ``RENAME old -> new``, if the line is one; sentences that begin so are none."""
    found = _COMMAND.match(line) if len(line) <= SHORT else None
    if not found:
        return False
    parts = [_bare(part) for part in _ARROW.split(found[2])]
    if found[1] in ("DELETE", "REMOVE") and len(parts) == 1 and _single(parts[0]):
        work.delete(parts[0])
        return True
    if found[1] in ("RENAME", "MOVE") and len(parts) == 2 and all(_single(part) for part in parts):
        work.rename(*parts)
        return True
    return False


def _bare(text: str) -> str:
    return text.strip().strip("*`\"'").strip()


def _single(text: str) -> bool:
    return bool(text) and not re.search(r"\s(?![^/]{0,60}\.\w{1,8}$)", text) and not text.endswith((",", ";"))
