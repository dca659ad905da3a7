"""What the library's code may be made of: what it is made of today, and what computes.

The library's tests run in the process of the library, where a program that reached the test runner could pass them
all. This keeps it from that by any short way. Neither the comparison of documents nor the clock relies on it.
"""

from __future__ import annotations

import ast
from pathlib import Path

MODULES = {"re", "string", "html", "functools", "itertools", "operator", "collections", "typing", "urllib.parse"}
WORDS = (
    "getattr setattr delattr hasattr vars dir globals locals eval exec open input breakpoint type import_module "
    "attrgetter methodcaller sys os io gc builtins inspect types importlib unittest modules enum "
    "f_back f_globals f_locals gi_frame tb_frame"
)
FORBIDDEN = set(WORDS.split())
PLAIN = {"__init__", "__slots__", "__all__", "__name__", "__doc__"}


def check(folder: Path) -> None:
    """Raises ValueError for the first thing in ``mistune/`` that the same file of the original does not have."""
    for path in sorted((folder / "mistune").rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        before = folder / "original" / name
        known, said = _said(before) if before.is_file() else (set(), set())
        modules, names = _said(path)
        more = sorted(each for each in modules - known - MODULES if each.lstrip(".").split(".")[0] != "mistune")
        more = [each for each in more if not each.startswith(".")]
        if more:
            raise ValueError(f"{name} imports {', '.join(more)}; it may import {', '.join(sorted(MODULES))}")
        wrong = sorted(each for each in names - said - PLAIN if each in FORBIDDEN or each[:2] == each[-2:] == "__")
        if wrong:
            raise ValueError(f"{name} says {', '.join(wrong)}, which it does not in the original")


def _said(path: Path) -> tuple[set[str], set[str]]:
    """The modules that a file imports, and every name, attribute and word-like text in it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    modules: set[str] = set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add("." * node.level + (node.module or ""))
        for field in ("id", "attr", "name", "asname", "arg", "value"):
            word = getattr(node, field, None)
            if isinstance(word, str) and word.isidentifier() and (field != "value" or word.startswith("__")):
                names.add(word)
    return modules, names
