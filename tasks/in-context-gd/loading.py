"""Load a candidate that may only compute: what its syntax tree holds is checked against a list, and nothing else runs.

The data that a judge keeps back are drawn by code that anybody can read, so a candidate that could import, open files
or look at its caller could know them. This one can do none of it. The same file stands in every task that uses it.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

FUNCTIONS = (
    "abs", "absolute", "add", "all", "allclose", "any", "arange", "arctan", "argmax", "argmin", "argpartition",
    "argsort", "array", "asarray", "atleast_2d", "average", "bincount", "broadcast_to", "cbrt", "ceil", "clip",
    "column_stack", "concatenate", "corrcoef", "cos", "cosh", "count_nonzero", "cov", "cross", "cumprod", "cumsum",
    "diag", "diff", "divide", "dot", "e", "einsum", "equal", "exp", "exp2", "expand_dims", "expm1", "eye", "flip",
    "float64", "floor", "floor_divide", "fmax", "fmin", "full", "full_like", "gradient", "greater", "greater_equal",
    "histogram", "hstack", "hypot", "identity", "inf", "inner", "int64", "interp", "isfinite", "isinf", "isnan",
    "kron", "less", "less_equal", "linspace", "log", "log10", "log1p", "log2", "logical_and", "logical_not",
    "logical_or", "logical_xor", "matmul", "max", "maximum", "mean", "median", "min", "minimum", "mod", "multiply",
    "nan_to_num", "nanmax", "nanmean", "nanmin", "nansum", "negative", "newaxis", "nonzero", "not_equal", "ones",
    "ones_like", "outer", "percentile", "pi", "power", "prod", "ptp", "quantile", "reciprocal", "remainder", "repeat",
    "reshape", "rint", "roll", "round", "searchsorted", "select", "sign", "sin", "sinh", "sort", "split", "sqrt",
    "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take", "take_along_axis", "tan", "tanh",
    "tensordot", "tile", "trace", "transpose", "tril", "triu", "true_divide", "trunc", "unique", "var", "vdot",
    "vstack", "where", "zeros", "zeros_like",
)  # fmt: skip
ALGEBRA = ("cholesky", "det", "eigh", "inv", "lstsq", "norm", "pinv", "qr", "solve", "svd")
METHODS = {
    "T", "all", "any", "append", "argmax", "argmin", "argsort", "astype", "choice", "clip", "copy", "cumsum",
    "diagonal", "dot", "dtype", "flatten", "get", "integers", "items", "keys", "max", "mean", "min", "ndim", "normal",
    "permutation", "prod", "random", "ravel", "repeat", "reshape", "round", "shape", "size", "squeeze", "std", "sum",
    "take", "trace", "transpose", "uniform", "values", "var",
}  # fmt: skip
BUILTINS = (
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "float", "int", "len", "list", "max", "min", "pow",
    "range", "reversed", "round", "set", "sorted", "sum", "tuple", "zip", "ValueError",
)  # fmt: skip

_NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If,
    ast.For, ast.While, ast.Break, ast.Continue, ast.Pass, ast.Expr, ast.Import, ast.alias, ast.BoolOp, ast.BinOp,
    ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.keyword, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice,
    ast.Name, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.Load, ast.Store, ast.operator, ast.unaryop, ast.boolop,
    ast.cmpop, ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.comprehension, ast.Starred,
    ast.Raise,
)  # fmt: skip


def load(path: Path, name: str) -> Callable:
    """The function `name` of a candidate's file.

    Raises:
        ValueError: the file is no Python, holds something that is not on the lists, or lacks the function.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    for node in ast.walk(tree):
        _check(node)
    algebra = SimpleNamespace(**{each: getattr(np.linalg, each) for each in ALGEBRA})
    limited = SimpleNamespace(**{each: getattr(np, each) for each in FUNCTIONS if hasattr(np, each)}, linalg=algebra)
    mathematics = SimpleNamespace(**{each: getattr(math, each) for each in dir(math) if not each.startswith("_")})
    modules = {"numpy": limited, "math": mathematics}
    allowed = {each: getattr(builtins, each) for each in BUILTINS}
    # numpy's own C code imports by the caller's builtins; what a candidate imports was checked above.
    allowed["__import__"] = lambda module, *how: modules.get(module) or builtins.__import__(module, *how)
    space: dict[str, object] = {"__builtins__": allowed, "__name__": path.stem}
    exec(compile(tree, path.name, "exec"), space)
    found = space.get(name)
    if not callable(found):
        raise ValueError(f"{path.name} has no function {name}")
    return found


def _check(node: ast.AST) -> None:
    where = f"line {getattr(node, 'lineno', '?')}"
    if not isinstance(node, _NODES):
        raise ValueError(f"{where}: {type(node).__name__} is not allowed here")
    if isinstance(node, ast.Import) and any(alias.name not in ("numpy", "math") for alias in node.names):
        raise ValueError(f"{where}: only numpy and math can be imported")
    if isinstance(node, ast.Name | ast.arg | ast.FunctionDef | ast.alias | ast.keyword):
        names = [getattr(node, field, None) or "" for field in ("id", "arg", "name", "asname")]
        if any(each.startswith("__") for each in names):
            raise ValueError(f"{where}: names that begin with two underscores are not allowed")
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        raise ValueError(f"{where}: decorators are not allowed")
    if isinstance(node, ast.Attribute):
        base = isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy", "math")
        inner = node.value
        algebra = isinstance(inner, ast.Attribute) and inner.attr == "linalg"
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("_"):
            raise ValueError(f"{where}: attribute {node.attr} is not allowed")
        if not base and not (algebra and node.attr in ALGEBRA) and node.attr not in METHODS:
            raise ValueError(f"{where}: attribute {node.attr} is not allowed")
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > 10**18:
        raise ValueError(f"{where}: the number is too large")
