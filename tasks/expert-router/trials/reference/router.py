"""After MixER (Nzoyem et al. 2025): k-means groups the environments, least squares fits experts and gate, and again.

Groups begin from k-means on standardised contexts (several starts); then every environment moves to the expert that
explains its derivatives best, experts are fitted anew, and so on until nothing moves. The gate is least squares onto
the groups.
"""

import numpy as np


def learn(contexts, features, derivatives, k, rng):
    best = None
    for start in range(6):
        groups = kmeans(contexts, k, rng)
        for _ in range(20):
            experts = np.stack([fit(features[groups == e], derivatives[groups == e]) for e in range(k)])
            off = np.stack([((features @ experts[e] - derivatives) ** 2).mean(axis=(1, 2)) for e in range(k)], axis=1)
            off = off / (derivatives**2).mean(axis=(1, 2))[:, None]
            moved = off.argmin(axis=1)
            if (moved == groups).all():
                break
            groups = moved
        total = off.min(axis=1).sum()
        if best is None or total < best[0]:
            best = (total, groups, experts)
    _, groups, experts = best
    return experts, gate_for(contexts, groups, k), np.full(k, 0.03)


def kmeans(contexts, k, rng):
    points = (contexts - contexts.mean(axis=0)) / (contexts.std(axis=0) + 1e-9)
    points = np.clip(points, -3, 3)
    centres = points[rng.choice(len(points), k, replace=False)]
    groups = np.zeros(len(points), dtype=int)
    for _ in range(30):
        groups = ((points[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        for e in range(k):
            if (groups == e).any():
                centres[e] = points[groups == e].mean(axis=0)
    return groups


def fit(features, derivatives):
    width = features.shape[2]
    left = features.reshape(-1, width)
    right = derivatives.reshape(-1, derivatives.shape[2])
    return np.linalg.pinv(left.T @ left + 0.01 * np.eye(width)) @ left.T @ right


def gate_for(contexts, groups, k):
    inputs = np.column_stack([contexts, np.ones(len(contexts))])
    wanted = np.zeros((len(groups), k))
    for row in range(len(groups)):
        wanted[row, groups[row]] = 1.0
    return (np.linalg.pinv(inputs.T @ inputs + 0.01 * np.eye(21)) @ inputs.T @ wanted).T
