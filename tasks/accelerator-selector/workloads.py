"""A synthetic table of inference workloads: a roofline with what each method changes in it. README.md explains it."""

from __future__ import annotations

import numpy as np

FEATURES = ("billions", "batch", "prompt", "output", "bandwidth", "tflops", "predictable", "tolerance")
METHODS = (
    "plain",
    "8-bit weights",
    "4-bit weights",
    "speculative decoding",
    "8-bit cache",
    "continuous batching",
    "two devices",
    "2:4 sparsity",
)
NOISE = 0.05
"""Standard deviation of the logarithm of a measurement."""

PLAIN = {"weights": 2.0, "cache": 2.0, "arithmetic": 1.0, "rounds": 1.0, "width": 1.0, "devices": 1.0, "overhead": 0.2}
"""Bytes a weight, bytes a cached number, gain of arithmetic, steps and width a token, devices, milliseconds a step."""

HARDWARE = {"past": [(600, 65), (900, 90), (2000, 312)], "new": [(300, 30), (1350, 180), (3350, 990)]}
"""Memory bandwidth in GB/s and arithmetic in TFLOP/s."""


def draw(count: int, rng: np.random.Generator, *, shifted: bool = False) -> np.ndarray:
    """Workloads (count, 8). `shifted`: other hardware, texts four times as long."""
    devices = np.array(HARDWARE["new" if shifted else "past"])[rng.integers(0, 3, count)]
    longer = 4 if shifted else 1
    return np.column_stack(
        [
            np.exp(rng.uniform(np.log(1), np.log(70), count)).round(1),
            2.0 ** rng.integers(0, 8, count),
            np.exp(rng.uniform(np.log(64), np.log(4096 * longer), count)).round(),
            np.exp(rng.uniform(np.log(16), np.log(1024 * longer), count)).round(),
            devices,
            rng.uniform(0, 1, count).round(2),
            rng.uniform(0, 1, count).round(2),
        ]
    )


def speeds(workloads: np.ndarray) -> np.ndarray:
    """Tokens a second (count, 8 methods), what quality is lost already taken off."""
    billions, batch, prompt, output, bandwidth, tflops, predictable, tolerance = workloads.T

    def speed(**changed) -> np.ndarray:
        """One step reads weights and cache once or computes, whichever takes longer (milliseconds)."""
        m = PLAIN | changed
        flops = 2 * billions * batch / (tflops * 0.5 * m["arithmetic"] * m["devices"])
        prefill = flops * prompt
        cache = 0.00012 * np.sqrt(billions) * (prompt + output / 2) * m["cache"] / 2 * batch * 1000
        read = (billions * m["weights"] * 1000 + cache) / (bandwidth * 0.7 * m["devices"])
        step = np.maximum(read, flops * m["width"]) + m["overhead"]
        return batch * output * 1000 / (prefill + output * m["rounds"] * step)

    accepted = 0.35 + 0.6 * predictable
    drafted = (1 - accepted**5) / (1 - accepted)
    waste = 1 - 0.45 * np.exp(-batch / 40) * np.minimum(1, 200 / output)
    found = np.column_stack(
        [
            speed() * waste**2,
            speed(weights=1.0, arithmetic=0.95, overhead=0.3) * waste**2,
            speed(weights=0.5, arithmetic=0.7, overhead=0.5) * waste**2,
            speed(rounds=1.25 / drafted, width=5.0, overhead=0.8) * waste**2,
            speed(cache=1.0, overhead=0.35) * waste**2,
            speed(overhead=0.6) * np.minimum(1.0, waste**2 * (1 + 0.5 * np.log2(batch) / 7)),
            speed(devices=1.8, overhead=0.2 + 0.02 * batch + 0.3) * waste**2 * 0.75,
            speed(weights=1.2, arithmetic=1.6, overhead=0.3) * waste**2,
        ]
    )
    loss = np.array([0.0, 0.03, 0.25, 0.0, 0.08, 0.0, 0.0, 0.35])
    kept = 1 - np.maximum(0, loss[None, :] - 0.4 * tolerance[:, None] * (loss[None, :] > 0))
    return found * kept


def measured(workloads: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    true = speeds(workloads)
    return true * np.exp(NOISE * rng.normal(size=true.shape))
