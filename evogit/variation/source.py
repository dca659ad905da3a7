"""Python source as a tree with places: what may be changed, and textual splices that leave everything else alone."""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from evogit.errors import VariationError


@dataclass(frozen=True, slots=True)
class Place:
    """An expression that may be changed: its node, its bytes' range, the function around it, whether it stands bare.

    `bare` means that no parentheses are needed around whatever takes its place.
    """

    node: ast.expr
    start: int
    end: int
    function: str
    bare: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A list of statements of one body, whole lines each: (first line, line after the last), counted from 0."""

    statements: tuple[ast.stmt, ...]
    lines: tuple[tuple[int, int], ...]
    function: str


@dataclass(frozen=True)
class Source:
    """One parsed file."""

    data: bytes
    tree: ast.Module
    starts: tuple[int, ...]
    places: tuple[Place, ...] = field(default=())
    blocks: tuple[Block, ...] = field(default=())
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def text(self, place: Place) -> str:
        return self.data[place.start : place.end].decode()

    def line(self, offset: int) -> int:
        return self.data.count(b"\n", 0, offset) + 1

    def replaced(self, place: Place, text: str) -> bytes:
        return self.data[: place.start] + text.encode() + self.data[place.end :]

    def lines(self) -> list[bytes]:
        return self.data.splitlines(True)


@functools.lru_cache(maxsize=1024)
def parse(data: bytes) -> Source:
    """Raises `VariationError` if `data` is no Python that can be spliced (UTF-8, no tabs of its own making)."""
    try:
        tree = ast.parse(data)
        data.decode("utf-8")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise VariationError(f"not Python: {error}") from error
    starts = [0]
    for line in data.splitlines(True):
        starts.append(starts[-1] + len(line))
    source = Source(data, tree, tuple(starts))
    walker = _Walker(source)
    walker.visit_body(tree.body, "", top=True)
    return Source(data, tree, source.starts, tuple(walker.places), tuple(walker.blocks), walker.names)


def valid(data: bytes) -> bool:
    try:
        parse(data)
    except VariationError:
        return False
    return True


class _Walker:
    """Collects what may be changed: expressions inside functions and numbers of module-level assignments."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.places: list[Place] = []
        self.blocks: list[Block] = []
        self.names: dict[str, tuple[str, ...]] = {}

    def visit_body(self, body: list[ast.stmt], function: str, *, top: bool = False) -> None:
        if not top:
            self._block(body, function)
        for number, statement in enumerate(body):
            if number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            self._statement(statement, function)

    def _statement(self, statement: ast.stmt, function: str) -> None:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{function}.{statement.name}".lstrip(".")
            self.names[name] = tuple(_bound(statement))
            self.visit_body(statement.body, name)
        elif isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                self._statement(inner, f"{function}.{statement.name}".lstrip("."))
        elif isinstance(statement, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
            return
        elif function:
            self._inside(statement, function)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            self._expression(statement.value, "", bare=True)

    def _inside(self, statement: ast.stmt, function: str) -> None:
        for name, value in ast.iter_fields(statement):
            if name in ("targets", "target", "annotation", "type_comment", "names", "items", "handlers", "cases"):
                continue
            if isinstance(value, ast.expr):
                self._expression(value, function, bare=isinstance(statement, ast.Return | ast.Assign | ast.AugAssign))
            elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.visit_body(value, function)

    def _expression(self, node: ast.expr, function: str, *, bare: bool = False) -> None:
        place = self._place(node, function, bare=bare)
        if place is not None:
            self.places.append(place)
        if isinstance(node, ast.JoinedStr | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            return
        for child, child_bare in _children(node):
            self._expression(child, function, bare=child_bare)

    def _place(self, node: ast.expr, function: str, *, bare: bool) -> Place | None:
        if isinstance(node, ast.Slice | ast.Starred) or node.end_lineno is None or node.end_col_offset is None:
            return None
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            return None
        starts = self._source.starts
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        return Place(node, start, end, function, bare)

    def _block(self, body: list[ast.stmt], function: str) -> None:
        lines = [(s.lineno - 1 - len(getattr(s, "decorator_list", ())), s.end_lineno or s.lineno) for s in body]
        apart = all(a[1] <= b[0] for a, b in itertools.pairwise(lines))
        first = self._source.data[self._source.starts[lines[0][0]] :][: body[0].col_offset]
        if apart and not first.strip():
            self.blocks.append(Block(tuple(body), tuple(lines), function))


def _children(node: ast.expr) -> Iterator[tuple[ast.expr, bool]]:
    """Sub-expressions that may be changed, and whether they stand between delimiters of their own."""
    if isinstance(node, ast.Call):
        for argument in node.args:
            yield argument, len(node.args) + len(node.keywords) >= 1
        for keyword in node.keywords:
            yield keyword.value, True
        return
    if isinstance(node, ast.Attribute):
        return
    if isinstance(node, ast.Subscript):
        yield node.slice, True
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child, isinstance(node, ast.Tuple | ast.List)


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Argument names, then names assigned in the body, each once."""
    arguments = function.args
    seen = dict.fromkeys(a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            seen[node.id] = None
    yield from seen
