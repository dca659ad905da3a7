"""The construction of von Oswald et al. 2022 (proposition 1), with a memory for momentum.

Every token carries y minus what the model predicts for it. The layer adds to that the change of the prediction:
the step of the weights, -rate/n sum (W x_i - y_i) x_i^T, applied to the token's x. With momentum the memory holds the
last change: memory' = momentum memory + step, y' = y + memory'.
"""

import numpy as np


def layer(dx, dy, n, rate, momentum):
    dz = dx + 2 * dy
    inputs = np.zeros((dz, dz))
    residual = np.zeros((dz, dz))
    spread = np.zeros((dz, dz))
    skip = np.zeros((dz, dz))
    for k in range(dx):
        inputs[k, k] = skip[k, k] = 1.0
    for k in range(dx, dx + dy):
        residual[k, k] = 1.0
        spread[k, k] = spread[k + dy, k] = -rate / n
        skip[k, k] = 1.0
        skip[k, k + dy] = skip[k + dy, k + dy] = momentum
    return inputs, inputs, residual, spread, skip
