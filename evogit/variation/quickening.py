"""Edits that mean to keep what a program does and change how long it takes: skip, hoist, inline, remember, idiom.

Each is a rewrite that people make by hand when a profile says so, applied where its form fits, without proof: whether a
program still does the same is for its tests to say, and whether it is faster for its benchmark, as in genetic
improvement of running time (Langdon and Harman 2015).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from evogit.errors import VariationError
from evogit.variation import inlining
from evogit.variation.request import Request
from evogit.variation.source import Source
from evogit.variation.statements import Edit

ENTRIES = 1024  # what a remembering function keeps
META = "^$()[]{}|*+?.,"
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
TEXT_TO_TEXT = frozenset(
    ["sub", "replace", "translate", "expandtabs", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix"]
)
"""Methods that answer the text they work on as it is where they find nothing."""

HOT = 0.8  # how often an edit is looked for in one of the functions that the task calls hot, where it does

Function = ast.FunctionDef | ast.AsyncFunctionDef


def place(request: Request, paths: list[str]) -> tuple[str, str]:
    """Where to look: a path, and the name of a function or nothing for all of the file."""
    hot = [each.rpartition(":")[::2] for each in request.vocabulary.hot]
    hot = [(path, name) for path, name in hot if path in paths]
    if hot and request.rng.random() < HOT:
        return request.rng.choice(hot)
    return request.rng.choice(paths), ""


def functions(tree: ast.Module, name: str = "") -> Iterator[Function]:
    """All functions of a module, or those of this name."""
    return (node for node in ast.walk(tree) if isinstance(node, Function) and name in ("", node.name))


def span(source: Source, node: ast.expr | ast.stmt) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    starts = source.starts
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def text_of(source: Source, node: ast.expr | ast.stmt) -> str:
    start, end = span(source, node)
    return source.data[start:end].decode()


def rewritten(source: Source, changes: list[tuple[int, int, str]]) -> bytes:
    """The file with each range (start, end) replaced by a text; the ranges do not overlap."""
    data = source.data
    for start, end, text in sorted(changes, reverse=True):
        data = data[:start] + text.encode() + data[end:]
    return data


def words(verb: str, text: str) -> str:
    text = " ".join(text.split())
    return f"{verb} {text if len(text) <= 60 else text[:59] + '…'}"


# Skip: a call that changes nothing in a text without a certain character


@dataclass(frozen=True)
class Skippable:
    call: ast.Call
    subject: str
    marks: tuple[str, ...]


def skip(source: Source, request: Request, name: str = "") -> Edit:
    """Make a call only where the text that it works on has a character that the call looks for."""
    spots = list(_skippable(source, name))
    if not spots:
        raise VariationError("no call to skip")
    spot = request.rng.choice(spots)
    mark = request.rng.choice(spot.marks)
    start, end = span(source, spot.call)
    text = source.data[start:end].decode()
    new = f"({text} if {mark!r} in {spot.subject} else {spot.subject})"
    return start, words("skip", f"{text} where there is no {mark!r}"), rewritten(source, [(start, end, new)])


def _skippable(source: Source, name: str) -> Iterator[Skippable]:
    """Calls of methods on, or with, a local text, that name characters: themselves, or in what they are called on."""
    constants = _module_texts(source.tree)
    for function in functions(source.tree, name):
        local = _bound(function)
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if call.func.attr not in TEXT_TO_TEXT:
                continue
            owner = call.func.value
            pattern = constants.get(owner.id, "") if isinstance(owner, ast.Name) else ""
            said = "".join(_texts(call))
            marks = tuple(sorted(_marks(pattern, regular=True) | _marks(said, regular=bool(pattern))))
            subjects = [arg.id for arg in call.args if isinstance(arg, ast.Name)]
            subjects += [owner.id] if isinstance(owner, ast.Name) else []
            for subject in subjects:
                if subject in local and marks:
                    yield Skippable(call, subject, marks)


def _bound(function: Function) -> set[str]:
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    arguments = function.args
    return names | {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def _module_texts(tree: ast.Module) -> dict[str, str]:
    """Names that a module assigns → the text constants in what it assigns."""
    found: dict[str, str] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = "".join(_texts(value))
    return found


def _texts(node: ast.AST) -> list[str]:
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _marks(text: str, *, regular: bool) -> set[str]:
    """Characters, neither letters nor digits, that `text` stands for; in a regular expression only literal ones."""
    found: set[str] = set()
    characters = iter(text)
    for character in characters:
        if character == "\\" and regular:
            escaped = next(characters, "")
            character = ESCAPES.get(escaped, escaped)
        elif regular and character in META:
            continue
        if character and not character.isalnum():
            found.add(character)
    return found


# Hoist: read an attribute once, before a loop


def hoist(source: Source, request: Request, name: str = "") -> Edit:
    """Read an attribute before a loop rather than in each turn of it."""
    spots: list[tuple[ast.stmt, list[ast.Attribute]]] = []
    for function in functions(source.tree, name):
        for loop in ast.walk(function):
            if isinstance(loop, ast.For | ast.While) and _alone(source, loop):
                spots += [(loop, reads) for reads in _steady(loop).values()]
    if not spots:
        raise VariationError("no loop to take anything out of")
    loop, reads = request.rng.choice(spots)
    text = text_of(source, reads[0])
    local = f"{text.replace('.', '_').lstrip('_')}_"
    start = source.starts[loop.lineno - 1]
    indent = " " * loop.col_offset
    changes = [(*span(source, read), local) for read in reads]
    new = rewritten(source, [(start, start, f"{indent}{local} = {text}\n"), *changes])
    return start, words("hoist", f"{text} out of {source.lines()[loop.lineno - 1].decode()}"), new


def _alone(source: Source, statement: ast.stmt) -> bool:
    return not source.lines()[statement.lineno - 1][: statement.col_offset].strip()


def _steady(loop: ast.For | ast.While) -> dict[str, list[ast.Attribute]]:
    """Attributes of names, read in the loop and assigned nowhere in it → where they are read."""
    parts: list[ast.AST] = [*([loop.test] if isinstance(loop, ast.While) else []), *loop.body]
    inside = [node for part in parts for node in ast.walk(part)]
    stored = {node.id for node in inside if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    if isinstance(loop, ast.For):
        stored |= {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
    found: dict[str, list[ast.Attribute]] = {}
    changed: set[str] = set()
    for node in inside:
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner not in stored:
                if isinstance(node.ctx, ast.Load):
                    found.setdefault(f"{owner}.{attr}", []).append(node)
                else:
                    changed.add(f"{owner}.{attr}")
    return {name: reads for name, reads in found.items() if name not in changed and "__" not in name}


# Inline: what a short function does, in the place of its call


def inline(source: Source, request: Request, name: str = "") -> Edit:
    """Put the one expression that a function consists of in the place of a call of it."""
    known = inlining.short_functions(request.receiver.files)
    here = inlining.module_names(source.tree)
    spots: list[tuple[ast.Call, str]] = []
    used = {node.value: True for node in ast.walk(source.tree) if isinstance(node, ast.Expr)}
    for function in functions(source.tree, name):
        for call in ast.walk(function):
            if isinstance(call, ast.Call):
                texts = inlining.bodies(call, known, here, value=call not in used)
                spots += [(call, text) for text in texts if text != ast.unparse(call)]
    if not spots:
        raise VariationError("no call of a short function")
    call, text = request.rng.choice(spots)
    start, end = span(source, call)
    return start, words("inline", text_of(source, call)), rewritten(source, [(start, end, f"({text})")])


# Remember: what a function answered before


def remember(source: Source, request: Request, name: str = "") -> Edit:
    """Let a function of the module keep its last answers."""
    found = [
        node
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef) and node.args.args and not node.decorator_list and name in ("", node.name)
    ]
    if not found:
        raise VariationError("no function of the module itself")
    function = request.rng.choice(found)
    start = source.starts[function.lineno - 1]
    changes = [(start, start, f"@functools.lru_cache(maxsize={ENTRIES})\n")]
    if "functools" not in inlining.module_names(source.tree):
        first = next((n for n in source.tree.body if isinstance(n, ast.Import | ast.ImportFrom)), function)
        late = isinstance(first, ast.ImportFrom) and first.module == "__future__"
        line = (first.end_lineno or first.lineno) if late else first.lineno - 1
        at = source.starts[line]
        changes.append((at, at, "import functools\n"))
    if changes[0][0] == changes[-1][0] and len(changes) == 2:
        changes = [(start, start, changes[1][2] + changes[0][2])]
    return start, words("remember what", f"{function.name} answers"), rewritten(source, changes)


# Idiom: another spelling of the same


def idiom(source: Source, request: Request, name: str = "") -> Edit:
    """Spell an expression in a way that the interpreter runs faster."""
    spots = [
        (node, new)
        for function in functions(source.tree, name)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and (new := _spelt(source, node)) is not None
    ]
    if not spots:
        raise VariationError("no expression with a faster spelling")
    node, new = request.rng.choice(spots)
    start, end = span(source, node)
    old = text_of(source, node)
    return start, words("spell", f"{old} as {new}"), rewritten(source, [(start, end, new)])


def _spelt(source: Source, call: ast.Call) -> str | None:
    match call:
        case ast.Call(func=ast.Attribute(value=owner, attr="group"), args=[], keywords=[]):
            return f"{text_of(source, owner)}[0]"
        case ast.Call(func=ast.Attribute(value=owner, attr="group"), args=[ast.Constant() as which], keywords=[]):
            return f"{text_of(source, owner)}[{which.value!r}]"
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.GeneratorExp() as items], keywords=[]):
            inner = text_of(source, items)
            inner = inner[1:-1] if inner.startswith("(") else inner
            return f"{text_of(source, call.func)}([{inner}])"
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=[]):
            return "{}"
        case ast.Call(func=ast.Name(id="list"), args=[], keywords=[]):
            return "[]"
        case _:
            return None
