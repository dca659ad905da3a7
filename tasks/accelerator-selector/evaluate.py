"""The regret of a selector against the oracle, on workloads that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from loading import load
from workloads import METHODS, draw, measured, speeds

PAST, NEW, TABLES = 150, 80, 4


def evaluate(folder: Path, epoch: int = 0, stage: str = "main") -> dict:
    """Mean regret, how often the choice is the oracle's, and the regret of the best single method."""
    select = load(folder / "selector.py", "select")
    shifted = stage == "validation"
    rng = np.random.default_rng([21, 0 if shifted else epoch + 1, shifted])
    regrets, right, single = [], [], []
    with np.errstate(all="ignore"):
        for _ in range(TABLES):
            past = draw(PAST, rng)
            table = measured(past, rng)
            new = draw(NEW, rng, shifted=shifted)
            chosen = checked(select(past.copy(), table.copy(), new.copy()))
            true = speeds(new)
            forgone = 1 - true / true.max(axis=1, keepdims=True)
            regrets.append(forgone[np.arange(NEW), chosen].mean())
            right.append((true.argmax(axis=1) == chosen).mean())
            single.append(forgone.mean(axis=0).min())
    metrics = {"oracle_share": float(np.mean(right)), "best_single_method": float(np.mean(single))}
    return {"score": float(np.mean(regrets)), "metrics": metrics}


def checked(given: object) -> np.ndarray:
    """The choices. Raises ValueError unless they are as many whole numbers in range as there are new workloads."""
    array = np.array(given, dtype=np.float64)
    if array.shape != (NEW,):
        raise ValueError(f"select must return {NEW} numbers, not an array of shape {array.shape}")
    if not (np.isfinite(array) & (array == np.floor(array)) & (array >= 0) & (array < len(METHODS))).all():
        raise ValueError(f"every choice must be a whole number from 0 to {len(METHODS) - 1}")
    return array.astype(np.int64)
