"""Simplify one expression and keep its value: constants folded, neutral elements and double signs dropped."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

from evogit.variation.growing import spell

Text = Callable[[ast.expr], str]


def simplified(node: ast.expr, text: Text) -> str | None:
    """A simpler text for `node`, or None."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.UnaryOp(op=ast.USub(), operand=inner)):
            return text(inner)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return text(inner)
        case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not(), operand=inner)):
            return text(inner)
        case ast.BinOp(left=ast.Constant(value=a), op=op, right=ast.Constant(value=b)):
            return _folded(a, op, b)
        case ast.BinOp(left=inner, op=ast.Add() | ast.Sub(), right=ast.Constant(value=0)):
            return text(inner)
        case ast.BinOp(left=ast.Constant(value=0), op=ast.Add(), right=inner):
            return text(inner)
        case ast.BinOp(left=inner, op=ast.Mult() | ast.Div() | ast.Pow(), right=ast.Constant(value=1)):
            return text(inner)
        case ast.BinOp(left=ast.Constant(value=1), op=ast.Mult(), right=inner):
            return text(inner)
        case _:
            return None


def _folded(a: object, op: ast.operator, b: object) -> str | None:
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b)):
        return None
    assert isinstance(a, int | float)
    assert isinstance(b, int | float)
    match op:
        case ast.Add():
            value: float = a + b
        case ast.Sub():
            value = a - b
        case ast.Mult():
            value = a * b
        case ast.Div() if b:
            value = a / b
        case _:
            return None
    return spell(value) if math.isfinite(value) and abs(value) < 1e12 else None
