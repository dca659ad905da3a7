"""TOML in and out: the standard library reads it without positions and cannot write it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evogit.errors import DefinitionError

Key = tuple[str | int, ...]
"""The way to a value: names of tables and keys, and positions in arrays."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse(text: str, file: object) -> dict[str, Any]:
    """The document as nested dictionaries. Raises `DefinitionError` naming the line of a syntax error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        reason = message[: found.start()] if found else message
        raise DefinitionError(f"{file}:{line}", "", f"not valid TOML: {reason}") from error


def line_of(text: str, key: Key) -> int | None:
    """The line (from 1) that sets `key`, or else the nearest table around it; None when neither is to be seen."""
    best, best_length = None, 0
    for line, path in _positions(text):
        length = len(path) if path == key[: len(path)] else 0
        if length > best_length:
            best, best_length = line, length
    return best


def _positions(text: str) -> Iterator[tuple[int, Key]]:
    """Each header and assignment with its line. Lines inside multi-line strings are passed over."""
    table: Key = ()
    counts: dict[Key, int] = {}
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if inside is not None:
            inside = None if line.count(inside) % 2 else inside
            continue
        if header := _HEADER.match(line):
            table = _with_positions(_parts(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield number, table
        elif assignment := _ASSIGNMENT.match(line):
            yield number, (*table, *_parts(assignment[1]))
        inside = next((quote for quote in ('"""', "'''") if line.count(quote) % 2), None)


def _with_positions(parts: Key, counts: Mapping[Key, int]) -> Key:
    """`parts` with the current position put after each array of tables on the way."""
    key: Key = ()
    for at, part in enumerate(parts):
        key = (*key, part)
        if key in counts and at < len(parts) - 1:
            key = (*key, counts[key])
    return key


def _parts(dotted: str) -> Key:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def render(document: Mapping[str, Any]) -> str:
    """`document` as TOML: plain values first, then tables and arrays of tables. None values are left out."""
    return "\n".join(_lines(document, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], prefix: tuple[str, ...]) -> Iterator[str]:
    nested = {key: value for key, value in table.items() if _is_table(value) or _is_tables(value)}
    for key, value in table.items():
        if key not in nested and value is not None:
            yield f"{_name(key)} = {literal(value)}"
    for key, value in nested.items():
        path = (*prefix, key)
        dotted = ".".join(map(_name, path))
        for head, row in [(f"[{dotted}]", value)] if _is_table(value) else [(f"[[{dotted}]]", row) for row in value]:
            yield from ("", head)
            yield from _lines(row, path)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def literal(value: object) -> str:
    """One value on one line, as TOML writes it."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool | int | float):
        return repr(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_name(k)} = {literal(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(literal, value)) + "]"
    raise TypeError(f"TOML cannot hold {type(value).__name__}")


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for surrogate pairs (so: no ASCII escapes) and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
