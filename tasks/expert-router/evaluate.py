"""Route new environments to experts by their first points, adapt, forecast, and measure the error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from loading import load
from systems import SEARCHED, STEP, UNSEEN, Family, monomials, trajectories

SEEN, HORIZON, POINTS = 15, 20, 60
NOISE = 0.01  # of a state's spread, in what is seen
WORST = 1.0  # where the error of one environment is cut: it may leave the plane
RIDGE = 1e-3  # of an environment's own least squares, for its context


@dataclass(frozen=True)
class Problem:
    """Environments to learn from and environments to forecast, families shuffled."""

    contexts: np.ndarray
    features: np.ndarray
    derivatives: np.ndarray
    asked: np.ndarray
    """First points of the new environments."""
    truth: np.ndarray
    """Their states from the last of those on, without noise."""


def problem(families: dict[str, Family], rng: np.random.Generator, *, learned: int = 8, new: int = 6) -> Problem:
    runs = [trajectories(family, learned + new, POINTS, rng) for family in families.values()]
    scale = [run.std(axis=(0, 1)) for run in runs]
    seen = [run + NOISE * s * rng.normal(size=run.shape) for run, s in zip(runs, scale, strict=True)]
    order = rng.permutation(learned * len(runs))
    states = np.concatenate([run[:learned] for run in seen])[order]
    asked = np.concatenate([run[learned:, :SEEN] for run in seen])
    truth = np.concatenate([run[learned:, SEEN - 1 : SEEN + HORIZON] for run in runs])
    return Problem(context(states[:, :SEEN]), monomials(states), np.gradient(states, STEP, axis=1), asked, truth)


def context(first: np.ndarray) -> np.ndarray:
    """What least squares with a small ridge finds from the first points: (environments, 20)."""
    phi, rate = monomials(first), np.gradient(first, STEP, axis=1)
    return adapted(phi, rate, np.zeros((len(first), 10, 2)), np.full(len(first), RIDGE)).reshape(len(first), 20)


def adapted(phi: np.ndarray, rate: np.ndarray, expert: np.ndarray, shrink: np.ndarray) -> np.ndarray:
    """Coefficients (environments, 10, 2) nearest to the data and, weighted by `shrink`, to the expert."""
    across = phi.transpose(0, 2, 1)
    left = across @ phi / phi.shape[1] + shrink[:, None, None] * np.eye(10)
    return np.linalg.solve(left, across @ rate / phi.shape[1] + shrink[:, None, None] * expert)


def forecast(coefficients: np.ndarray, start: np.ndarray) -> np.ndarray:
    """States (environments, HORIZON + 1, 2) from `start` on, kept within reach."""

    def rates(state: np.ndarray) -> np.ndarray:
        return np.clip((monomials(np.clip(state, -20, 20))[:, None, :] @ coefficients)[:, 0], -1e3, 1e3)

    state, found = start, [start]
    for _ in range(HORIZON):
        for _ in range(2):
            h = STEP / 2
            a = rates(state)
            b = rates(state + h / 2 * a)
            c = rates(state + h / 2 * b)
            state = state + h / 6 * (a + 2 * b + 2 * c + rates(state + h * c))
        found.append(state)
    return np.stack(found, axis=1)


# Drawn once, when the judge is loaded: every candidate is asked the same.
PROBLEMS = {
    "main": [problem(SEARCHED, np.random.default_rng([11, k])) for k in range(3)],
    "validation": [problem(UNSEEN, np.random.default_rng([12, k])) for k in range(3)],
}


def evaluate(folder: Path, stage: str = "main", parameters: dict | None = None) -> dict:
    """Mean error, and how many experts were in use."""
    k = int((parameters or {}).get("experts", 4))
    learn = load(folder / "router.py", "learn")
    errors, used = [], []
    with np.errstate(all="ignore"):
        for number, given in enumerate(PROBLEMS[stage]):
            parts = (given.contexts.copy(), given.features.copy(), given.derivatives.copy())
            experts, gate, shrink = checked(learn(*parts, k, np.random.default_rng(number)), k)
            contexts = context(given.asked)
            chosen = (np.column_stack([contexts, np.ones(len(contexts))]) @ gate.T).argmax(axis=1)
            errors.append(error(given, experts[chosen], shrink[chosen]))
            used.append(len(set(chosen.tolist())))
    return {"score": float(np.mean(errors)), "metrics": {"worst": max(errors), "experts_used": float(np.mean(used))}}


def error(given: Problem, experts: np.ndarray, shrink: np.ndarray) -> float:
    rate = np.gradient(given.asked, STEP, axis=1)
    found = forecast(adapted(monomials(given.asked), rate, experts, shrink), given.asked[:, -1])
    motion = given.truth - given.truth.mean(axis=1, keepdims=True)
    off = np.linalg.norm(found - given.truth, axis=(1, 2)) / np.linalg.norm(motion, axis=(1, 2))
    return float(np.minimum(np.nan_to_num(off, nan=WORST), WORST).mean())


def checked(given: object, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Experts, gate and shrink as arrays. Raises ValueError for other shapes and what is not finite."""
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise ValueError("learn must return experts, gate and shrink")
    found = []
    for name, value, shape in zip(("experts", "gate", "shrink"), given, ((k, 10, 2), (k, 21), (k,)), strict=True):
        array = np.array(value, dtype=np.float64)
        if array.shape != shape:
            raise ValueError(f"{name} must be of shape {shape}, not {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        found.append(array)
    return found[0], found[1], np.clip(found[2], 1e-6, 1e6)
