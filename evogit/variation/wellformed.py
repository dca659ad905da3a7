"""Whether a changed file still parses, for the languages whose parser Python has: told before anything runs."""

from __future__ import annotations

import ast
import difflib
import json
import tomllib
import warnings
from collections.abc import Mapping

import yaml

from evogit.values import Changes

LARGEST = 2 << 20  # bytes that are looked at
SLOW = 64 << 10  # bytes, for parsers written in Python: the event loop waits for them
DOTS = 500  # in a line of TOML: tomllib takes quadratic time on a dotted key (a minute for 200 kB)
SHOWN = 200  # characters of the offending line


def problem(files: Mapping[str, bytes], changes: Changes) -> str:
    """The first file that no longer parses, as ``path:line: what``; empty if there is none.

    A file that did not parse before is left alone: it may be a template, or another version of the language.
    """
    for path, data in changes.items():
        old = files.get(path)
        if data is None or len(data) > LARGEST:
            continue
        wrong = _wrong(path, data)
        if wrong and (old is None or not _wrong(path, old)):
            return f"{path}{wrong}"
    return ""


def _wrong(path: str, data: bytes) -> str:
    try:
        if path.endswith((".py", ".pyi")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(data)
        elif path.endswith(".json"):
            json.loads(data)
        elif path.endswith(".toml"):
            if len(data) <= SLOW and all(line.count(b".") <= DOTS for line in data.splitlines()):
                tomllib.loads(data.decode())
        elif path.endswith((".yaml", ".yml")) and len(data) <= SLOW:
            for _ in yaml.compose_all(data.decode(), yaml.SafeLoader):  # composed only: tags may be anybody's
                pass
    except SyntaxError as error:
        line = f"\n{error.text.rstrip()[:SHOWN]}" if error.text else ""
        return f":{error.lineno or 1}:{error.offset or 1}: {error.msg[:SHOWN]}{line}"
    except (RecursionError, MemoryError):
        return ": nested too deeply"
    except (ValueError, yaml.YAMLError) as error:
        return f": {str(error)[:SHOWN]}"
    return ""


def touched(old: bytes, new: bytes) -> tuple[tuple[int, int], ...]:
    """Ranges [start, end) of the old file's lines that changed; an insertion touches the line it stands before."""
    before, after = old.splitlines(), new.splitlines()
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    left, right = before[head : len(before) - tail], after[head : len(after) - tail]
    if len(left) * len(right) > 1_000_000:
        return ((head, max(head + 1, len(before) - tail)),)
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return tuple((head + a, head + max(b, a + 1)) for tag, a, b, _, _ in matcher.get_opcodes() if tag != "equal")
