"""Trivially bad: chance."""

import numpy as np


def layer(dx, dy, n, rate, momentum):
    dz = dx + 2 * dy
    return [np.cos(np.arange(dz * dz) + k).reshape(dz, dz) for k in range(5)]
