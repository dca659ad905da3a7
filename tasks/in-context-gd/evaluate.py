"""How far K layers of linear self-attention are from K steps of gradient descent, on random regression tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from loading import load

VARIANTS = ("gd", "step-size", "momentum")
SIZES = [(3, 1, 12), (5, 2, 20), (2, 1, 6), (8, 1, 30)]
"""Inputs, targets, examples."""
UNSEEN = [(4, 1, 16), (6, 3, 24), (10, 1, 40)]
NAMES = ("query", "key", "value", "projection", "skip")
WORST = 10.0
"""Where the error of a prediction is cut: a construction that explodes is as bad as any."""


def evaluate(folder: Path, stage: str = "main", parameters: dict | None = None) -> dict:
    """Mean relative error over sizes, numbers of steps and tasks. Validation: sizes that the search has not seen."""
    variant = str((parameters or {}).get("variant", "gd"))
    if variant not in VARIANTS:
        raise ValueError(f"parameters.variant: one of {', '.join(VARIANTS)}, not {variant!r}")
    layer = load(folder / "weights.py", "layer")
    rng = np.random.default_rng([7, stage == "validation"])
    metrics = {}
    with np.errstate(all="ignore"):
        for dx, dy, n in UNSEEN if stage == "validation" else SIZES:
            errors = [error(layer, variant, (dx, dy, n), steps, rng) for steps in (1, 2, 4)]
            metrics[f"error_{dx}_{dy}_{n}"] = float(np.mean(errors))
    return {"score": float(np.mean(list(metrics.values()))), "metrics": metrics}


def error(layer, variant: str, sizes: tuple[int, int, int], steps: int, rng: np.random.Generator) -> float:
    """On 8 tasks with 4 questions each: |attention - gradient descent| / |gradient descent|."""
    dx, dy, n = sizes
    rates = 0.4 * rng.uniform(0.5, 1.5, steps) if variant == "step-size" else np.full(steps, 0.4)
    momentum = 0.6 if variant == "momentum" else 0.0
    weights = [matrices(layer, sizes, float(rate), momentum) for rate in rates]
    off = size = 0.0
    for _ in range(8):
        truth = rng.normal(size=(dy, dx)) / np.sqrt(dx)
        x, asked = rng.normal(size=(dx, n)) / np.sqrt(dx), rng.normal(size=(dx, 4))
        y = truth @ x + 0.05 * rng.normal(size=(dy, n))
        wanted = descent(x, y, rates, momentum) @ asked
        found = attention(weights, x, y, asked)
        off += float(np.minimum(np.nan_to_num(np.abs(found - wanted), nan=np.inf), WORST * np.abs(wanted)).sum())
        size += float(np.abs(wanted).sum())
    return off / size


def matrices(layer, sizes: tuple[int, int, int], rate: float, momentum: float) -> list[np.ndarray]:
    """A layer's five matrices. Raises ValueError for anything else."""
    dx, dy, n = sizes
    given = layer(dx, dy, n, rate, momentum)
    wide = dx + 2 * dy
    if not isinstance(given, tuple | list) or len(given) != len(NAMES):
        raise ValueError(f"layer must return {', '.join(NAMES)}")
    found = []
    for name, matrix in zip(NAMES, given, strict=True):
        array = np.array(matrix, dtype=np.float64)
        if array.shape != (wide, wide):
            raise ValueError(f"{name} must be {wide} x {wide}, not {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        found.append(array)
    return found


def attention(weights: list[list[np.ndarray]], x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The predictions for `asked`: every layer sees the examples only (as in von Oswald et al. 2022)."""
    dx, dy = len(x), len(y)
    examples = np.vstack([x, y, np.zeros_like(y)])
    questions = np.vstack([asked, np.zeros((2 * dy, asked.shape[1]))])
    for query, key, value, projection, skip in weights:
        mixed = projection @ value @ examples @ (key @ examples).T @ query
        examples, questions = skip @ examples + mixed @ examples, skip @ questions + mixed @ questions
    return -questions[dx : dx + dy]


def descent(x: np.ndarray, y: np.ndarray, rates: np.ndarray, momentum: float) -> np.ndarray:
    """The weights of a linear model after gradient descent on the mean of |W x - y|^2 / 2, from zero."""
    w = np.zeros((len(y), len(x)))
    before = w
    for rate in rates:
        step = momentum * (w - before) - rate * (w @ x - y) @ x.T / x.shape[1]
        before, w = w, w + step
    return w
