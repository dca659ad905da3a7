"""How large a program is: at equal score the smaller one wins, against bloat."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping


def size(files: Mapping[str, bytes], paths: Iterable[str]) -> int:
    """Syntax nodes of those of `paths` that are Python, an eighth of the bytes of the others; missing files are 0."""
    return sum(_size(path.endswith(".py"), files[path]) for path in paths if path in files)


@functools.lru_cache(maxsize=4096)
def _size(python: bool, data: bytes) -> int:
    if python:
        try:
            return sum(1 for _ in ast.walk(ast.parse(data)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return len(data) // 8
