"""Families of differential equations in the plane, all polynomial of degree 3 or less, and their trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEP = 0.1
FINE = 8
"""Steps of the integrator for one step of the data."""

Rates = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Family:
    """`rates(x, y, p)`; `low` and `high` bound the parameters, `start` the first states as (least, most) of x and y."""

    rates: Rates
    low: tuple[float, ...]
    high: tuple[float, ...]
    start: tuple[tuple[float, float], tuple[float, float]] = ((-1.5, 1.5), (-1.5, 1.5))


SEARCHED = {
    "damped oscillator": Family(lambda x, y, p: (y, -p[0] * x - p[1] * y), (1.0, 0.05), (4.0, 0.4)),
    "Lotka-Volterra": Family(
        lambda x, y, p: (p[0] * x - p[1] * x * y, p[2] * x * y - p[3] * y),
        (0.6, 0.6, 0.6, 0.6),
        (1.4, 1.4, 1.4, 1.4),
        ((0.5, 2.0), (0.5, 2.0)),
    ),
    "van der Pol": Family(lambda x, y, p: (y, p[0] * (1 - x * x) * y - x), (0.5,), (2.0,)),
    "Duffing": Family(lambda x, y, p: (y, p[0] * x - p[1] * x**3 - 0.1 * y), (0.5, 0.5), (1.5, 1.5)),
}
UNSEEN = {
    "FitzHugh-Nagumo": Family(
        lambda x, y, p: (x - x**3 / 3 - y + p[0], p[1] * (x + 0.7 - 0.8 * y)), (0.3, 0.2), (0.9, 0.6)
    ),
    "Brusselator": Family(
        lambda x, y, p: (p[0] - (p[1] + 1) * x + x * x * y, p[1] * x - x * x * y),
        (0.6, 1.2),
        (1.2, 2.4),
        ((0.5, 1.5), (0.5, 2.5)),
    ),
    "Selkov": Family(
        lambda x, y, p: (-x + p[0] * y + x * x * y, p[1] - p[0] * y - x * x * y),
        (0.05, 0.4),
        (0.12, 0.8),
        ((0.2, 1.2), (0.5, 2.0)),
    ),
    "epidemic": Family(
        lambda x, y, p: (-p[0] * x * y, p[0] * x * y - p[1] * y), (1.5, 0.2), (3.0, 0.6), ((0.7, 1.0), (0.02, 0.2))
    ),
}


def trajectories(family: Family, count: int, points: int, rng: np.random.Generator) -> np.ndarray:
    """States (count, points, 2) of as many environments, by Runge and Kutta's fourth order."""
    p = rng.uniform(family.low, family.high, (count, len(family.low))).T
    state = np.array([rng.uniform(*bounds, count) for bounds in family.start])

    def rates(s: np.ndarray) -> np.ndarray:
        return np.array(family.rates(s[0], s[1], p))

    found = [state.T]
    h = STEP / FINE
    for _ in range(points - 1):
        for _ in range(FINE):
            a = rates(state)
            b = rates(state + h / 2 * a)
            c = rates(state + h / 2 * b)
            state = state + h / 6 * (a + 2 * b + 2 * c + rates(state + h * c))
        found.append(state.T)
    return np.stack(found, axis=1)


def monomials(states: np.ndarray) -> np.ndarray:
    """1, x, y, x², xy, y², x³, x²y, xy², y³ of states (…, 2), as (…, 10)."""
    x, y = states[..., 0], states[..., 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3], axis=-1)
