"""Trivially bad: the same method for all, without a look."""

import numpy as np


def select(workloads, performance, new):
    return np.full(len(new), 7)
