"""Replies that are one JSON object: the tuner's edit of a line and the critic's verdict, with their schemas."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from evogit.errors import VariationError
from evogit.values import Reason
from evogit.variation.matching import NOT_UTF8, Missing, indent, like_section, nearest, plain, replace_once, untabbed
from evogit.variation.reply_text import Limits, ReplyError, clean, encodable, nothing, refuse_elision
from evogit.variation.reply_work import Editable, Files, Work, decoded

LONGEST = 500  # characters of a line that a schema still enumerates
TRIED = 20  # braces at which an object may begin
LINE_EDIT = '{"path": "…", "search": "12: the line as it is", "replace": "the line as it should be"}'

_NUMBERED = re.compile(r"\s{0,8}(?:line )?(\d{1,7})\s?[:|]\s?(.*)", re.DOTALL)
_ENDS = ":,;{ "  # what a model may forget at the end of a line that it quotes
_OTHER_NAMES = {"search": ("find", "old", "line", "original"), "replace": ("replacement", "new", "replace_with")}


def line_edit_schema(path: str, data: bytes, start: int = 0, end: int | None = None, most: int = 400) -> dict[str, Any]:
    """A JSON schema whose `search` enumerates the lines [start, end) as ``"12: text"``: no small model can miss them.

    Blank and very long lines are left out, and all after the first `most`. Raises `VariationError` when none is left.
    """
    lines = decoded(data).split("\n")
    window = range(max(0, start), len(lines) if end is None else min(end, len(lines)))
    shown = [n for n in window if lines[n].strip() and len(lines[n]) <= LONGEST][:most]
    if not shown:
        raise VariationError(f"{path} has no line to edit")
    choices = [f"{n + 1}: {lines[n].translate(NOT_UTF8).strip()}" for n in shown]
    properties = {
        "path": {"type": "string", "enum": [path]},
        "search": {"type": "string", "enum": choices},
        "replace": {"type": "string"},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_line_edit(
    reply: str, files: Files, editable: Editable, limits: Limits = Limits(), *, path: str
) -> dict[str, bytes | None]:
    """One JSON object: `search` names a line (its number and text, or its text), `replace` is what takes its place."""
    text = clean(reply, limits)
    work = Work(files, editable, limits)
    found = find_json(text, ("search", "replace"))
    search, new = _side(found, "search"), _side(found, "replace")
    if found is None or search is None or new is None:
        raise nothing(text, LINE_EDIT)
    if found.get("path") not in (None, "", path, "./" + path):
        if isinstance(found["path"], str):
            work.check(encodable(found["path"]))
        raise ReplyError(f"only {path} may change this time", Reason.FORBIDDEN)
    path = work.check(path)
    work.put(path, _edited(path, work.text(path), search, new))
    return work.changes()


def _side(found: Mapping[str, Any] | None, name: str) -> str | None:
    for key in (name, *_OTHER_NAMES[name]):
        value = (found or {}).get(key)
        if isinstance(value, str):
            return encodable(value.replace("\r\n", "\n").replace("\r", "\n"))
        if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
            return encodable("\n".join(value))
    return None


def _edited(path: str, text: str, search: str, replace: str) -> str:
    lines = text.split("\n")
    new = replace.strip("\n").split("\n") if replace.strip() else []
    if "\n" in search.strip():
        try:
            return replace_once(text, search.strip("\n").split("\n"), refuse_elision(new, lines))
        except Missing as error:
            raise ReplyError(f"{path}: {error}", Reason.NOT_FOUND) from None
    at = _line_named(search, lines)
    old = lines[at]
    number = re.compile(rf"[ \t]{{0,8}}{at + 1}[ \t]?[:|][ \t]?(.*)")
    if new and not number.match(old):
        new = [match[1] if n < 1 and (match := number.match(line)) else line for n, line in enumerate(new)]
    end = "\r" if old.endswith("\r") else ""
    lines[at : at + 1] = [line + end for line in _indented(untabbed(refuse_elision(new, lines), lines), old)]
    return "\n".join(lines)


def _indented(new: list[str], old: str) -> list[str]:
    if len(new) == 1 and new[0].strip() == old.strip():
        return [old.removesuffix("\r")] if indent(new[0]) in ("", indent(old)) else new
    return like_section(new, [old])


def _line_named(search: str, lines: Sequence[str]) -> int:
    numbered = _NUMBERED.fullmatch(search)
    number = int(numbered[1]) if numbered else 0
    wanted = plain(search)
    places = [n for n, line in enumerate(lines) if wanted and plain(line) == wanted]
    if not places and numbered:
        wanted = plain(numbered[2])
        if 0 < number <= len(lines) and wanted and plain(lines[number - 1]) == wanted:
            return number - 1
        places = [n for n, line in enumerate(lines) if wanted and plain(line) == wanted]
    if not places and (open_ended := wanted.rstrip(_ENDS)):
        places = [n for n, line in enumerate(lines) if plain(line).rstrip(_ENDS) == open_ended]
    if len(places) == 1:
        return places[0]
    text = (numbered[2] if numbered else search).strip()[:200]
    if places:
        where = ", ".join(str(n + 1) for n in places[:8])
        raise ReplyError(f'"search": {text!r} is on the lines {where}: write its number before it', Reason.NOT_FOUND)
    if 0 < number <= len(lines):
        there = lines[number - 1].strip()[:200].translate(NOT_UTF8)
        raise ReplyError(f'"search": line {number} is not {text!r} but {there!r}', Reason.NOT_FOUND)
    told = nearest(lines, [text], quoted=f'"search": {text!r}')
    raise ReplyError(told, Reason.NOT_FOUND)


def find_json(text: str, wanted: Sequence[str]) -> dict[str, Any] | None:
    """The first JSON object in `text` that has the key `wanted[0]`, or any other if none has.

    Slips of small models are forgiven: fences, text around, commas at the end, Python's quotes, stray backslashes, and
    a closing brace that is missing.
    """
    begin, spare = -1, None
    for _ in range(TRIED):
        begin = text.find("{", begin + 1)
        if begin < 0:
            break
        found = _object(text[begin:])
        if found is not None and any(key in found for key in wanted):
            return found
        spare = spare or found
    return spare


def _object(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder(strict=False)
    end = text.rfind("}") + 1
    whole = text[:end] if end else text
    mended = re.sub(r"""\\(?!["\\/bfnrtu])""", r"\\\\", re.sub(r",([ \t\n]{0,200}[}\]])", r"\1", whole))
    for candidate in (text, mended, text.rstrip().removesuffix("```").rstrip() + "}"):
        try:
            value, _ = decoder.raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return _literal(whole) if len(whole) < 20_000 else None


def _literal(text: str) -> dict[str, Any] | None:
    """A Python dictionary of strings, as some models write instead of JSON."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else None


VERDICT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "verdict": {"type": "string", "enum": ["first", "second", "same"]}},
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}

Preference = Literal["first", "second", "same"]
VERDICT = '{"reason": "one sentence", "verdict": "first", "second" or "same"}'

_VERDICTS: dict[str, Preference] = {
    **dict.fromkeys(("first", "the first", "1", "version 1", "first version", "1st"), "first"),
    **dict.fromkeys(("second", "the second", "2", "version 2", "second version", "2nd"), "second"),
    **dict.fromkeys(("same", "the same", "equal", "tie", "draw", "neither", "no difference"), "same"),
}
_SAID = re.compile(r"\bverdict\b[\s:=*_\"'`]{1,20}(?:is )?(?:the )?(first|second|same)\b", re.IGNORECASE)


def read_verdict(reply: str, limits: Limits = Limits()) -> tuple[Preference, str]:
    """A judge's verdict and its one sentence."""
    text = clean(reply, limits)
    found = find_json(text, ("verdict",))
    if found and "verdict" in found:
        said, reason = _words(found["verdict"]), encodable(_words(found.get("reason")))
    else:
        said, reason = _verdict_in_words(text)
    verdict = _VERDICTS.get(said.strip().strip("\"'`*.! ").lower())
    if verdict is None:
        raise nothing(text, VERDICT)
    return verdict, " ".join(reason[:4000].split())[:500]


def _words(value: object) -> str:
    """A string as it is, and the numbers 1 and 2; anything else is no answer."""
    return value if isinstance(value, str) else str(value) if value in (1, 2) else ""


def _verdict_in_words(text: str) -> tuple[str, str]:
    said = _SAID.findall(text)
    if said and len({word.lower() for word in said}) == 1:
        return said[-1], _SAID.sub("", text[:4000])
    full = [line.strip() for line in text.strip().split("\n") if line.strip()]
    for word, rest in ((full[-1], full[:-1]), (full[0], full[1:])) if full else ():
        if word.strip("\"'`*.! ").lower() in _VERDICTS:
            return word, " ".join(rest)
    return "", ""
