"""Genetic improvement of Python without a model: small edits of the syntax tree, applied as textual splices.

The operators follow the genetic improvement literature (Langdon and Harman 2015; PyGGI, An et al. 2019) and tree-based
genetic programming (Koza 1992): an edit changes the bytes of one expression or the lines of one statement and nothing
else, so that formatting and comments stay, diffs are small and merges stay clean.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Sequence

from evogit.errors import VariationError
from evogit.values import Proposal
from evogit.variation import crossing, quickening, statements
from evogit.variation.growing import atomic, naked, spell
from evogit.variation.request import Request
from evogit.variation.simplifying import simplified
from evogit.variation.source import Block, Place, Source, parse, valid
from evogit.variation.statements import Edit, grower_for

TRIES = 8

_ARITHMETIC = ("+", "-", "*", "/")
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_SWAPPED = {"and": "or", "or": "and", "&": "|", "|": "&"}


class Syntax:
    """Mutation and crossover of Python files."""

    OPERATORS = (
        "perturb",
        "replace",
        "wrap",
        "unwrap",
        "swap",
        "drop",
        "grow",
        "ingredient",
        "operator",
        "insert",
        "delete",
        "duplicate",
        "reorder",
        "simplify",
        "merge",
        "exchange",
        "transplant",
    )

    FURTHER = ("skip", "hoist", "inline", "remember", "idiom")
    """For agents that name them: they mean to change how long a program takes, and nothing else."""

    waits = False

    def __init__(self, operators: tuple[str, ...] = OPERATORS) -> None:
        self.operators = operators

    def needs_mate(self, operator: str) -> bool:
        return operator == "exchange" or operator in crossing.CROSSOVERS

    async def propose(self, request: Request) -> Proposal:
        if request.operator == "merge":
            return crossing.merge(request, _still_python)
        if request.operator == "transplant":
            return crossing.transplant(request, _still_python)
        if request.operator == "exchange":
            return _exchange(request)
        paths = [path for path in request.receiver.files if path.endswith(".py")]
        for _ in range(TRIES if paths else 0):
            quicker = request.operator in self.FURTHER
            path, name = quickening.place(request, paths) if quicker else (request.rng.choice(paths), "")
            data = request.receiver.files[path]
            try:
                source = parse(data)
                if quicker:
                    at, words, new = _QUICKER[request.operator](source, request, name)
                else:
                    at, words, new = _EDITS[request.operator](source, request)
            except VariationError:
                continue
            if new != data and valid(new):
                summary = f"{path}:{source.line(at)} {words}"
                return Proposal((request.receiver.commit,), {path: new}, summary, request.operator)
        raise VariationError(f"{request.operator}: found nothing to change in {len(paths)} Python files")

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """Syntax learns nothing; allocation does."""


def _still_python(path: str, data: bytes) -> bool:
    return not path.endswith(".py") or valid(data)


def _exchange(request: Request) -> Proposal:
    """A subexpression of the mate's version of a function, in the place of one of the receiver's."""
    mate = request.mate
    if mate is None:
        raise VariationError("exchange needs a mate")
    paths = sorted(path for path in request.theirs | request.ours if path.endswith(".py") and path in mate.files)
    for _ in range(TRIES if paths else 0):
        path = request.rng.choice(paths)
        data = request.receiver.files.get(path)
        if data is None:
            continue
        source, other = parse(data), parse(mate.files[path])
        place = _pick(source, request.rng)
        same = [p for p in other.places if p.function == place.function]
        if not same:
            continue
        text = other.text(request.rng.choice(same))
        new = source.replaced(place, _fit(text, place))
        if new != data and valid(new):
            words = _words("exchange", source.text(place), text)
            parents = (request.receiver.commit, mate.commit)
            return Proposal(parents, {path: new}, f"{path}:{source.line(place.start)} {words}", "exchange")
    raise VariationError("exchange: the parents have no function to exchange in")


# Expressions


def _pick(source: Source, rng: random.Random, kinds: type | tuple[type, ...] = ast.expr) -> Place:
    """A place by chance. Raises `VariationError` if there is none of these kinds."""
    found = [place for place in source.places if isinstance(place.node, kinds) and place.function]
    if not found:
        raise VariationError("no such expression")
    return rng.choice(found)


def _fit(text: str, place: Place) -> str:
    return naked(text) if place.bare else atomic(text)


def _words(verb: str, old: str, new: str) -> str:
    old, new = (" ".join(text.split()) for text in (old, new))
    return f"{verb} {old if len(old) <= 24 else old[:23] + '…'} → {new}"


def _put(source: Source, place: Place, text: str, verb: str) -> Edit:
    text = _fit(text, place)
    return place.start, _words(verb, source.text(place), text), source.replaced(place, text)


def _perturb(source: Source, request: Request) -> Edit:
    rng = request.rng
    numbers = [p for p in source.places if _number(p.node) is not None]
    if not numbers:
        raise VariationError("no number")
    place = rng.choice(numbers)
    value = _number(place.node) or 0
    if isinstance(value, int):
        new: float = rng.choice((value - 1, value + 1, value * 2, value // 2, -value, value + round(rng.gauss(0, 5))))
    else:
        new = rng.choice((value * (1 + rng.gauss(0, 0.3)), value + rng.gauss(0, 1), -value))
    text = spell(new) if isinstance(value, int) else spell(float(f"{new:.4g}"))
    return _put(source, place, text, "perturb")


def _number(node: ast.expr) -> int | float | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    return None


def _replace(source: Source, request: Request) -> Edit:
    place = _pick(source, request.rng)
    grower = grower_for(source, place.function, request)
    return _put(source, place, grower.grow(request.rng.choice((0, 1, 1, 2))), "replace")


def _wrap(source: Source, request: Request) -> Edit:
    place = _pick(source, request.rng)
    grower = grower_for(source, place.function, request)
    return _put(source, place, grower.fill(grower.template(), 0, source.text(place)), "wrap")


def _grow(source: Source, request: Request) -> Edit:
    """A new term beside what a function returns or a variable gets."""
    tops = [place for place in source.places if place.bare and place.function]
    if not tops:
        raise VariationError("no whole expression")
    place = request.rng.choice(tops)
    term = grower_for(source, place.function, request).grow(request.rng.choice((1, 2)))
    text = f"{atomic(source.text(place))} {request.rng.choice(_ARITHMETIC)} {atomic(term)}"
    return _put(source, place, text, "grow")


def _operands(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp():
            return [node.left, node.right]
        case ast.UnaryOp():
            return [node.operand]
        case ast.BoolOp():
            return list(node.values)
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.Call():
            return [a for a in node.args if not isinstance(a, ast.Starred)]
        case _:
            return []


def _text_of(source: Source, node: ast.expr) -> str:
    found = ast.get_source_segment(source.data.decode(), node)
    if found is None:
        raise VariationError("no text")
    return found


def _unwrap(source: Source, request: Request) -> Edit:
    place = _pick(source, request.rng, (ast.Call, ast.UnaryOp, ast.IfExp, ast.Compare))
    inner = _operands(place.node)
    if not inner:
        raise VariationError("nothing inside")
    return _put(source, place, _text_of(source, request.rng.choice(inner)), "unwrap")


def _drop(source: Source, request: Request) -> Edit:
    place = _pick(source, request.rng, (ast.BinOp, ast.BoolOp))
    return _put(source, place, _text_of(source, request.rng.choice(_operands(place.node))), "drop to")


def _swap(source: Source, request: Request) -> Edit:
    place = _pick(source, request.rng, (ast.BinOp, ast.Call, ast.IfExp, ast.Compare))
    inner = _operands(place.node)
    if len(inner) < 2:
        raise VariationError("nothing to swap")
    first, second = sorted(request.rng.sample(range(len(inner)), 2))
    spans = [next((p for p in source.places if p.node is inner[n]), None) for n in (first, second)]
    if spans[0] is None or spans[1] is None:
        raise VariationError("nothing to swap")
    a, b = spans[0], spans[1]
    data = source.data
    # Parentheses around an operand are not part of its node: both texts must be able to stand alone.
    new = data[: a.start] + _fit(source.text(b), a).encode() + data[a.end : b.start]
    new += _fit(source.text(a), b).encode() + data[b.end :]
    return a.start, _words("swap", source.text(a), source.text(b)), new


def _operator(source: Source, request: Request) -> Edit:
    """Another arithmetic operator, comparison or connective between the same operands."""
    rng = request.rng
    place = _pick(source, rng, (ast.BinOp, ast.Compare, ast.BoolOp))
    inner = _operands(place.node)
    left, right = (next((p for p in source.places if p.node is node), None) for node in inner[:2])
    if left is None or right is None:
        raise VariationError("no operator")
    between = source.data[left.end : right.start].decode()
    found = re.search(r"\*\*|//|<=|>=|==|!=|<<|>>|[-+*/%<>&|^@]|\band\b|\bor\b", between)
    if found is None:
        raise VariationError("no operator")
    old = found[0]
    pool: Sequence[str] = _COMPARISONS if old in _COMPARISONS else _ARITHMETIC
    new = _SWAPPED[old] if old in _SWAPPED else rng.choice([o for o in pool if o != old])
    at = left.end + len(between[: found.start()].encode())
    return at, f"operator {old} → {new}", source.data[:at] + new.encode() + source.data[at + len(old.encode()) :]


def _ingredient(source: Source, request: Request) -> Edit:
    """An expression that lives in another individual (or elsewhere in this one)."""
    rng = request.rng
    donor = rng.choice([request.receiver, *request.pool])
    paths = [path for path in donor.files if path.endswith(".py")]
    if not paths:
        raise VariationError("no donor")
    other = parse(donor.files[rng.choice(paths)])
    place, piece = _pick(source, rng), _pick(other, rng)
    return _put(source, place, other.text(piece), "ingredient")


def _simplify(source: Source, request: Request) -> Edit:
    """Fold constants and drop what has no effect; else take an operand for the whole."""
    found = [
        (p, text) for p in source.places if (text := simplified(p.node, lambda n: _text_of(source, n))) is not None
    ]
    if found:
        place, text = request.rng.choice(found)
        return _put(source, place, text, "simplify")
    dead = _dead_assignments(source)
    if dead:
        block, number = request.rng.choice(dead)
        return statements.without(source, block, number, "simplify away")
    place = _pick(source, request.rng, (ast.BinOp, ast.Call, ast.UnaryOp, ast.IfExp, ast.BoolOp))
    inner = _operands(place.node)
    if not inner:
        raise VariationError("nothing to simplify")
    return _put(source, place, _text_of(source, request.rng.choice(inner)), "simplify")


def _dead_assignments(source: Source) -> list[tuple[Block, int]]:
    """Assignments to plain names that nothing reads."""
    read = {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    found = []
    for block in source.blocks:
        for number, statement in enumerate(block.statements):
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)]) if name not in read and len(block.statements) > 1:
                    found.append((block, number))
    return found


_EDITS: dict[str, Callable[[Source, Request], Edit]] = {
    "perturb": _perturb,
    "replace": _replace,
    "wrap": _wrap,
    "unwrap": _unwrap,
    "swap": _swap,
    "drop": _drop,
    "grow": _grow,
    "ingredient": _ingredient,
    "operator": _operator,
    "insert": statements.insert,
    "delete": statements.delete,
    "duplicate": statements.duplicate,
    "reorder": statements.reorder,
    "simplify": _simplify,
}
_QUICKER: dict[str, Callable[[Source, Request, str], Edit]] = {
    "skip": quickening.skip,
    "hoist": quickening.hoist,
    "inline": quickening.inline,
    "remember": quickening.remember,
    "idiom": quickening.idiom,
}
