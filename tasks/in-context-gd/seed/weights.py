"""Weights of one linear self-attention layer that does one step of gradient descent in context."""

import numpy as np


def layer(dx, dy, n, rate, momentum):
    """Query, key, value, projection and skip, each dz x dz; a token is (x, y, memory)."""
    dz = dx + 2 * dy
    inputs = select(dz, range(dx))
    targets = select(dz, range(dx, dx + dy))
    memory = select(dz, range(dx + dy, dz))
    query = inputs
    key = inputs
    value = targets + memory
    projection = -0.001 * np.eye(dz)
    skip = np.eye(dz)
    return query, key, value, projection, skip


def select(size, places):
    """The identity on these places, zero elsewhere."""
    found = np.zeros((size, size))
    for place in places:
        found[place, place] = 1.0
    return found
