"""Load a candidate's heuristic: only what its syntax tree allows, so that it can compute and do nothing else."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

FUNCTIONS = (
    "abs", "absolute", "add", "all", "any", "arange", "arctan", "argmax", "argmin", "argsort", "array", "asarray",
    "bincount", "broadcast_to", "cbrt", "ceil", "clip", "concatenate", "cos", "cosh", "count_nonzero", "cumprod",
    "cumsum", "diff", "divide", "dot", "e", "equal", "exp", "exp2", "expand_dims", "expm1", "float32", "float64",
    "floor", "floor_divide", "fmax", "fmin", "full", "full_like", "greater", "greater_equal", "hypot", "inf",
    "int32", "int64", "isfinite", "isinf", "isnan", "less", "less_equal", "linspace", "log", "log10", "log1p",
    "log2", "logical_and", "logical_not", "logical_or", "logical_xor", "max", "maximum", "mean", "median", "min",
    "minimum", "mod", "multiply", "nan_to_num", "negative", "newaxis", "nonzero", "not_equal", "ones", "ones_like",
    "outer", "pi", "power", "prod", "ptp", "reciprocal", "remainder", "repeat", "reshape", "rint", "roll", "round",
    "searchsorted", "select", "sign", "sin", "sinh", "sort", "sqrt", "square", "squeeze", "stack", "std",
    "subtract", "sum", "take", "take_along_axis", "tan", "tanh", "tile", "transpose", "tril", "triu", "true_divide",
    "trunc", "unique", "var", "where", "zeros", "zeros_like",
)  # fmt: skip
METHODS = {
    "T", "all", "any", "argmax", "argmin", "astype", "clip", "copy", "cumsum", "dtype", "max", "mean", "min",
    "ndim", "prod", "ravel", "reshape", "round", "shape", "size", "squeeze", "std", "sum", "take", "transpose",
    "var",
}  # fmt: skip
BUILTINS = (
    "abs", "bool", "divmod", "enumerate", "float", "int", "len", "list", "max", "min", "pow", "range", "round",
    "sorted", "sum", "tuple", "zip", "reversed", "all", "any", "ValueError",
)  # fmt: skip

_NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If,
    ast.For, ast.While, ast.Break, ast.Continue, ast.Pass, ast.Expr, ast.Import, ast.alias, ast.BoolOp, ast.BinOp,
    ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.keyword, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice,
    ast.Name, ast.List, ast.Tuple, ast.Load, ast.Store, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Lambda,
    ast.ListComp, ast.GeneratorExp, ast.comprehension, ast.Starred, ast.Raise,
)  # fmt: skip


def load(path: Path) -> Callable:
    """The function `priority` of a candidate's file.

    Raises:
        ValueError: the file is no Python, holds something a heuristic has no use for, or lacks the function.
    """
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    for node in ast.walk(tree):
        _check(node)
    limited = SimpleNamespace(**{name: getattr(np, name) for name in FUNCTIONS if hasattr(np, name)})
    mathematics = SimpleNamespace(**{n: getattr(math, n) for n in dir(math) if not n.startswith("_")})
    modules = {"numpy": limited, "math": mathematics}
    allowed = {name: getattr(builtins, name) for name in BUILTINS}
    # numpy's own C code imports by the caller's builtins; what a candidate imports was checked above.
    allowed["__import__"] = lambda name, *how: modules.get(name) or builtins.__import__(name, *how)
    space: dict[str, object] = {"__builtins__": allowed, "__name__": "heuristic"}
    exec(compile(tree, path.name, "exec"), space)
    found = space.get("priority")
    if not callable(found):
        raise ValueError(f"{path.name} has no function priority")
    return found


def _check(node: ast.AST) -> None:
    where = f"line {getattr(node, 'lineno', '?')}"
    if not isinstance(node, _NODES):
        raise ValueError(f"{where}: a heuristic has no use for {type(node).__name__}")
    if isinstance(node, ast.Import) and any(alias.name not in ("numpy", "math") for alias in node.names):
        raise ValueError(f"{where}: only numpy and math can be imported")
    if isinstance(node, ast.Name) and node.id.startswith("__"):
        raise ValueError(f"{where}: {node.id} is not allowed")
    if isinstance(node, ast.arg) and node.arg.startswith("__"):
        raise ValueError(f"{where}: {node.arg} is not allowed")
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        raise ValueError(f"{where}: decorators are not allowed")
    if isinstance(node, ast.Attribute):
        base = isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy", "math")
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("_"):
            raise ValueError(f"{where}: attribute {node.attr} is not allowed")
        if not base and node.attr not in METHODS:
            raise ValueError(f"{where}: attribute {node.attr} is not allowed")
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > 10**18:
        raise ValueError(f"{where}: the number is too large")
