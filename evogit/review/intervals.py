"""How sure a few measurements are: intervals by Student's t, for a mean, one more measurement, and a difference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
"""Of every interval here, two-sided."""

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom (Fisher and Yates, Statistical Tables, table III).
_QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interval:
    """`centre` ± `half`; `half` is None where there are too few measurements to tell."""

    centre: float
    half: float | None

    @property
    def low(self) -> float:
        return self.centre - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.centre + (self.half or 0.0)


def quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t. Between whole degrees of freedom the wider one below counts.

    Above 30 the expansion of Cornish and Fisher (1937), off by less than 0.0001.
    """
    if freedom < 31:
        return _QUANTILES[max(1, math.floor(freedom)) - 1]
    z = 1.959964
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def mean(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean."""
    return predicted(values, math.inf)


def predicted(values: Sequence[float], more: float = 1) -> Interval:
    """Student's t prediction interval: where the mean of `more` further measurements of the same kind lies."""
    centre, count = statistics.fmean(values), len(values)
    if count < 2:
        return Interval(centre, None)
    spread = statistics.stdev(values)
    return Interval(centre, quantile(count - 1) * spread * math.sqrt(1 / count + 1 / more))


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Welch's t interval (Biometrika 34, 1947) of the difference of two means, `first` minus `second`."""
    centre = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:
        return Interval(centre, None)
    parts = [(statistics.variance(values) / len(values), len(values) - 1) for values in (first, second)]
    error = sum(part for part, _ in parts)
    if error == 0:
        return Interval(centre, 0.0)
    freedom = error**2 / sum(part**2 / degrees for part, degrees in parts)
    return Interval(centre, quantile(freedom) * math.sqrt(error))
