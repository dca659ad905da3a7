"""What a short function comes to where it is called: its one expression, the arguments in the parameters' places."""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True)
class Short:
    """A function of one expression. `value`: whether the expression is what it returns. `method`: of a class."""

    parameters: tuple[str, ...]
    defaults: tuple[ast.expr, ...]
    body: ast.expr
    value: bool
    method: bool
    free: frozenset[str]


def short_functions(files: Mapping[str, bytes]) -> dict[str, list[Short]]:
    """Name → the short functions of that name in all files, each once."""
    known: dict[str, list[Short]] = {}
    for path, data in files.items():
        if path.endswith(".py"):
            for name, short in _short(data):
                if all(ast.dump(short.body) != ast.dump(each.body) for each in known.get(name, [])):
                    known.setdefault(name, []).append(short)
    return known


@functools.lru_cache(maxsize=1024)
def _short(data: bytes) -> tuple[tuple[str, Short], ...]:
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    found = []
    for owner in ast.walk(tree):
        if isinstance(owner, ast.Module | ast.ClassDef):
            for node in owner.body:
                short = _read(node, method=isinstance(owner, ast.ClassDef))
                if short is not None and isinstance(node, ast.FunctionDef):
                    found.append((node.name, short))
    return tuple(found)


def _read(node: ast.stmt, *, method: bool) -> Short | None:
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return None
    arguments = node.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        return None
    body = [each for each in node.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
    match body:
        case [ast.Return(value=ast.expr() as value)]:
            returns = True
        case [ast.Expr(value=value)]:
            returns = False
        case [ast.Assign(targets=[ast.Name(id=name)], value=first), ast.Return(value=ast.expr() as last)] if (
            _uses(last)[name] == 1
        ):
            value, returns = _Put({name: first}).visit(_copy(last)), True
        case _:
            return None
    parameters = tuple(each.arg for each in arguments.args)
    if any(isinstance(each, ast.Lambda | ast.comprehension | ast.NamedExpr | ast.Yield | ast.Await) or _private(each)
           for each in ast.walk(value)):  # fmt: skip
        return None
    free = frozenset(_uses(value)) - set(parameters) - BUILTINS
    return Short(parameters, tuple(arguments.defaults), value, returns, method, free)


def _private(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr.startswith("__")) or (
        isinstance(node, ast.Name) and node.id == "super"
    )


class _Count(dict[str, int]):
    def __missing__(self, name: str) -> int:
        return 0


def _uses(node: ast.AST) -> _Count:
    found = _Count()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found[each.id] += 1
    return found


def _copy(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body


class _Put(ast.NodeTransformer):
    """Puts expressions in the places of names."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._values.get(node.id, node)


def bodies(call: ast.Call, known: Mapping[str, Sequence[Short]], here: frozenset[str], *, value: bool) -> Iterator[str]:
    """What may stand in the place of `call`: one text for each function it may mean, as far as it fits.

    `here`: the names that the module around the call has. `value`: whether the call's value is used.
    """
    match call.func:
        case ast.Name(id=name):
            given = list(call.args)
        case ast.Attribute(value=owner, attr=name):
            given = [owner, *call.args]
        case _:
            return
    if call.keywords or any(isinstance(each, ast.Starred) for each in given):
        return
    for short in known.get(name, ()):
        if short.method == isinstance(call.func, ast.Attribute) and short.free <= here and (short.value or not value):
            text = _filled(short, given)
            if text is not None:
                yield text


def _filled(short: Short, given: Sequence[ast.expr]) -> str | None:
    lacking = len(short.parameters) - len(given)
    if not 0 <= lacking <= len(short.defaults):
        return None
    values = dict(zip(short.parameters, [*given, *short.defaults[len(short.defaults) - lacking :]], strict=True))
    uses = _uses(short.body)
    if any(uses[name] != 1 and not _simple(each) for name, each in values.items()):
        return None
    return ast.unparse(_Put(values).visit(_copy(short.body)))


def _simple(node: ast.expr) -> bool:
    """Whether it may be evaluated again, or not at all."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.Attribute(value=inner):
            return _simple(inner)
        case _:
            return False


def module_names(tree: ast.Module) -> frozenset[str]:
    """Names that a module binds at its top."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return frozenset(found)
