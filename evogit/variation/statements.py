"""Edits of whole statements, as splices of lines: insert, delete, duplicate, reorder. `syntax` edits expressions."""

from __future__ import annotations

import ast

from evogit.errors import VariationError
from evogit.variation.growing import Grower, naked
from evogit.variation.request import Request
from evogit.variation.source import Block, Source

Edit = tuple[int, str, bytes]
"""Offset of the change, what it does in words, the new file."""


def grower_for(source: Source, place_function: str, request: Request) -> Grower:
    """What grows expressions from the names that can be read in a function."""
    return Grower(request.vocabulary, source.names.get(place_function, ()), request.rng)


def _movable(block: Block) -> list[int]:
    """Statements that may be moved or removed: no docstring, import, definition, scope declaration or return."""
    fixed = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Return)
    return [
        n
        for n, s in enumerate(block.statements)
        if not isinstance(s, fixed) and not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
    ]


def _choose_block(source: Source, request: Request, least: int) -> tuple[Block, list[int]]:
    found = [(block, movable) for block in source.blocks if len(movable := _movable(block)) >= least]
    if not found:
        raise VariationError("no such statements")
    return request.rng.choice(found)


def _spliced(source: Source, start: int, end: int, new: list[bytes]) -> bytes:
    lines = source.lines()
    if lines and not lines[-1].endswith((b"\n", b"\r")):
        lines[-1] += b"\n"
    return b"".join(lines[:start] + new + lines[end:])


def _first(source: Source, line: int) -> str:
    return source.lines()[line].strip().decode()


def without(source: Source, block: Block, number: int, verb: str) -> Edit:
    """The file without one statement of a body."""
    start, end = block.lines[number]
    return source.starts[start], f"{verb} {_first(source, start)}", _spliced(source, start, end, [])


def insert(source: Source, request: Request) -> Edit:
    """A new assignment to a name of the function, or a new one, before one of its statements."""
    rng = request.rng
    block, movable = _choose_block(source, request, 1)
    number = rng.choice(movable)
    start, _ = block.lines[number]
    names = source.names.get(block.function, ())
    target = rng.choice([*names, f"t{len(names)}"]) if names else "t0"
    grower = grower_for(source, block.function, request)
    line = source.lines()[start]
    indent = line[: len(line) - len(line.lstrip())]
    end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
    statement = f"{target} = {naked(grower.grow(2))}"
    return (
        source.starts[start],
        f"insert {statement}",
        _spliced(source, start, start, [indent + statement.encode() + end]),
    )


def delete(source: Source, request: Request) -> Edit:
    """Remove a statement where another stays."""
    block, movable = _choose_block(source, request, 2)
    return without(source, block, request.rng.choice(movable), "delete")


def duplicate(source: Source, request: Request) -> Edit:
    """Copy a statement to another place of its body."""
    block, movable = _choose_block(source, request, 1)
    start, end = block.lines[request.rng.choice(movable)]
    at = block.lines[request.rng.choice(movable)][0]
    copy = [line if line.endswith((b"\n", b"\r")) else line + b"\n" for line in source.lines()[start:end]]
    return source.starts[at], f"duplicate {_first(source, start)}", _spliced(source, at, at, copy)


def reorder(source: Source, request: Request) -> Edit:
    """Swap two statements of one body."""
    block, movable = _choose_block(source, request, 2)
    a, b = sorted(request.rng.sample(movable, 2))
    (first, first_end), (second, second_end) = block.lines[a], block.lines[b]
    lines = [line if line.endswith((b"\n", b"\r")) else line + b"\n" for line in source.lines()]
    new = lines[second:second_end] + lines[first_end:second] + lines[first:first_end]
    return source.starts[first], f"swap with {_first(source, second)}", _spliced(source, first, second_end, new)
