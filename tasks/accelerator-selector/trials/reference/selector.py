"""Predict every method's log speed by ridge regression on logarithms, their squares and products; choose the fastest."""

import numpy as np


def select(workloads, performance, new):
    old, fresh = describe(workloads), describe(new)
    middle, spread = old.mean(axis=0), old.std(axis=0)
    left, right = expand((old - middle) / spread), expand((fresh - middle) / spread)
    target = np.log(performance)
    target = target - target.mean(axis=1, keepdims=True)
    weights = np.linalg.solve(left.T @ left + 1.0 * np.eye(left.shape[1]), left.T @ target)
    return np.argmax(right @ weights, axis=1)


def describe(workloads):
    return np.column_stack([np.log(workloads[:, :6]), workloads[:, 6:]])


def expand(x):
    width = x.shape[1]
    products = [x[:, i] * x[:, j] for i in range(width) for j in range(i, width)]
    return np.column_stack([np.ones(len(x)), x, *products])
