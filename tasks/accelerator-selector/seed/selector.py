"""Which method accelerates a workload best, judged by what was measured on others."""

import numpy as np


def select(workloads, performance, new):
    """One method for each new workload: here the one that was fastest on the whole, for all of them."""
    share = performance / performance.max(axis=1, keepdims=True)
    old, fresh = describe(workloads), describe(new)
    weight = likeness(old, fresh)
    return np.argmax(weight @ share, axis=1)


def describe(workloads):
    """Workloads as rows of numbers of like size."""
    return workloads / workloads.max(axis=0)


def likeness(old, fresh):
    """How much each past workload says about each new one, (new, old)."""
    apart = ((fresh[:, None, :] - old[None, :, :]) ** 2).sum(axis=2)
    return np.exp(-0.0 * apart)
