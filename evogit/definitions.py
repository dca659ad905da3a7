"""The door for files people write: values checked once, mistakes told with file, line, key and expectation."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from evogit import toml
from evogit.errors import DefinitionError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\s*)+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_Model = TypeVar("_Model", bound=BaseModel)


class Table(BaseModel):
    """A table of a definition file: frozen, no unknown keys, and "5" is not 5."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def size(value: object) -> object:
    """Bytes from ``"512M"``, ``"1.5 GiB"`` or ``"64kb"`` (all in powers of 1024); other types pass unchanged."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if not found:
        raise ValueError('a size in bytes, as 1048576 or "512M"')
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


def duration(value: object) -> object:
    """Seconds from ``"90s"``, ``"1h30m"``, ``"250ms"`` or ``"12"``; other types pass unchanged."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError('a duration in seconds, as 90, or "90s", "15m", "4h", "1h30m"')
    return sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", text))


Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(duration), Field(gt=0)]
Strings = Annotated[tuple[str, ...], Field(strict=False)]
"""TOML has lists where we keep tuples; their items stay strictly strings."""


@dataclass(frozen=True)
class Source:
    """Where a document came from, so that a mistake in it can be pointed at. `syntax` is toml, yaml or none."""

    file: str
    text: str = ""
    syntax: str = "toml"

    def fail(self, key: toml.Key, expected: str, *, line: int | None = None) -> NoReturn:
        """Raise the `DefinitionError` for `key`, with its line where it can be found."""
        if line is None and self.text:
            line = toml.line_of(self.text, key) if self.syntax == "toml" else self._yaml_line(key)
        raise DefinitionError(f"{self.file}:{line}" if line else self.file, dotted(key), expected)

    def _yaml_line(self, key: toml.Key) -> int | None:
        for part in reversed(key):
            for number, line in enumerate(self.text.splitlines(), 1):
                if re.match(rf"\s*{re.escape(str(part))}\s*:", line):
                    return number
        return None


def dotted(key: toml.Key) -> str:
    """``("evaluation", "stages", 0, "deadline")`` as ``evaluation.stages[0].deadline``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def read_text(path: Path) -> str:
    """The file's text, which must be UTF-8. Raises `DefinitionError`."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DefinitionError(path, "", f"must be UTF-8 text (byte {error.start} is not)") from error
    except OSError as error:
        raise DefinitionError(path, "", f"cannot be read: {error.strerror}") from error


def validate(model: type[_Model], data: object, source: Source, at: toml.Key = ()) -> _Model:
    """`data` as a `model`. Raises `DefinitionError` for the first mistake; `at` is where `data` stands in the file."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key first: it is the likeliest cause of a missing one.
        problems = error.errors(include_url=False)
        first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        key = first["loc"]
        if first["type"] == "extra_forbidden":
            fail_unknown(source, (*at, *key), known_keys(model, key[:-1]))
        source.fail((*at, *key), _expectation(first["type"], first["msg"], first["input"]))


def fail_unknown(source: Source, key: toml.Key, known: Iterable[str]) -> NoReturn:
    known = sorted(known)
    source.fail(key, f"unknown key{did_you_mean(str(key[-1]), known)}; known here: {', '.join(known)}")


def check_keys(data: Mapping[str, Any], known: Iterable[str], source: Source, at: toml.Key = ()) -> None:
    """Raise `DefinitionError` for the first key of `data` that is not `known`."""
    known = set(known)
    for key in data:
        if key not in known:
            fail_unknown(source, (*at, str(key)), known)


def known_keys(model: type[BaseModel], path: toml.Key) -> list[str]:
    """The keys of the table at `path` inside `model`."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = _table_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _table_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_table_in(inner) for inner in getattr(annotation, "__args__", ()))
    return next((table for table in found if table), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``", did you mean 'x'?"``, or nothing when no known word is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""


def is_name(text: str) -> bool:
    """Whether `text` may name a task, agent or run: it becomes a folder and part of a ref."""
    return _NAME.fullmatch(text) is not None


_WORDING = (
    ("Input should be ", "expected "),
    ("Input should ", "expected to "),
    ("Tuple should have ", "expected "),
    (" after validation, not 0", ""),
    ("a valid tuple", "a list"),
    ("a valid dictionary or instance of", "a table, a"),
    ("a valid dictionary", "a table"),
    ("a valid mapping", "a table"),
    ("a valid string", "text in quotes"),
    ("a valid boolean", "true or false"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
)
"""Pydantic's words, which are Python's, and those of somebody who writes TOML."""


def _expectation(kind: str, message: str, value: object) -> str:
    if kind == "missing":
        return "is required"
    if kind in ("value_error", "assertion_error"):
        return "expected " + message.partition(", ")[2]
    expected = message
    for theirs, ours in _WORDING:
        expected = expected.replace(theirs, ours)
    # What was typed helps to find it, but a table or a long text would bury the message.
    shown = repr(value)
    return expected if kind == "too_short" or len(shown) > 60 else f"{expected}, not {shown}"
