"""Trivially bad: a system that stands still, and nobody trusts their own data."""

import numpy as np


def learn(contexts, features, derivatives, k, rng):
    return np.zeros((k, 10, 2)), np.zeros((k, 21)), np.full(k, 1000.0)
