"""Which paths of a tree agents may change: the task's `evolve` and `protect` globs, compiled once.

The patterns are Git's ``:(glob)`` pathspecs, always read from the root of the tree:

- ``*`` and ``?`` match anything but ``/``, also a leading dot; ``[ab]``, ``[a-z]`` and ``[!a]`` match one character;
- ``**/`` matches any number of folders, also none; ``/**`` everything below a folder;
- a plain path (no wildcard) names a file, or a folder with everything in it: ``src`` covers what ``src/**`` does;
  a pattern with a wildcard matches whole paths only, so ``src/*`` does not cover ``src/deep/a.py``;
- a trailing ``/`` is short for ``/**``;
- there is no negation and no escape: backslashes are refused, as are absolute paths, ``..`` and ``.git``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ALWAYS_PROTECTED = (".evogit",)
"""A task's own definition lives there: who could edit it could edit the evaluator."""


_SEALED = re.compile(r"\.evogit/tasks/[^/]+/holdout(/.*)?", re.DOTALL | re.IGNORECASE)


def sealed(path: str) -> bool:
    """Whether `path` of a tree belongs to the sealed holdout of a task that is kept in the repository it evolves."""
    return path.startswith(".evogit/") and _SEALED.fullmatch(path) is not None


def check(pattern: str) -> str | None:
    """What is wrong with `pattern`, as an expectation to show, or None."""
    parts = pattern.removesuffix("/").split("/")
    if "\\" in pattern or "\0" in pattern:
        return f"expected '/' between folders and no escapes in {pattern!r}"
    if pattern.startswith(("/", "~")) or re.match(r"[A-Za-z]:", pattern):
        return f"expected a path relative to the tree, not {pattern!r}"
    if ".." in parts:
        return f"expected a path inside the tree, but {pattern!r} leaves it"
    if any(part.lower() == ".git" for part in parts):
        return f"expected a path of the tree, but {pattern!r} is Git's own"
    if "" in parts or "." in parts:
        return f"expected a plain path or glob, as 'src/**/*.py', not {pattern!r}"
    return None


def compile_globs(patterns: Iterable[str]) -> re.Pattern[str]:
    """One regular expression that fully matches the paths any of `patterns` covers; none match when there are none."""
    alternatives = [_translate(pattern) for pattern in patterns]
    return re.compile("|".join(f"(?:{one})" for one in alternatives) if alternatives else r"(?!)", re.DOTALL)


def _translate(pattern: str) -> str:
    plain = not re.search(r"[*?[]", pattern)
    parts = (pattern + "**" if pattern.endswith("/") else pattern).split("/")
    out = ""
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "**":
            out += ".+" if last else "(?:[^/]+/)*"
        else:
            out += "".join(map(_token, re.findall(r"\[[!^]?\]?[^\]]*\]|.", part, re.DOTALL)))
            out += ("(?:/.*)?" if plain else "") if last else "/"
    return out


def _token(token: str) -> str:
    if token == "?":
        return "[^/]"
    if token == "*":
        return "[^/]*"
    if len(token) > 1:
        negated = token[1] in "!^"
        inside = re.sub(r"([\\\[\]&~|^])", r"\\\1", token[2:-1] if negated else token[1:-1])
        return f"(?!/)[{'^' if negated else ''}{inside}]"
    return re.escape(token)


class Editable:
    """Whether agents may change a path: inside `evolve`, not in `protect`, and not one of the evaluator's `files`.

    About a microsecond a call; build it once per task. A file of the evaluator's is protected under any spelling of
    upper and lower case, since on some file systems they are one file.
    """

    def __init__(self, evolve: Iterable[str], protect: Iterable[str], files: Iterable[str] = ()) -> None:
        self._evolve = compile_globs(evolve).fullmatch
        self._protect = compile_globs((*protect, *ALWAYS_PROTECTED)).fullmatch
        self._files = frozenset(path.lower() for path in files)

    def __call__(self, path: str) -> bool:
        return (
            self._evolve(path) is not None
            and self._protect(path) is None
            and path.lower() not in self._files
            and not _leaves_the_tree(path)
        )


def _leaves_the_tree(path: str) -> bool:
    return any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/"))
