"""Compile a heuristic in C, run it on random instances, verify its tours, and hold it to its processor time.

The candidate runs as a process of its own. Its tours are checked and measured here; its time is what the kernel says.
"""

from __future__ import annotations

import math
import os
import resource
import subprocess
import tempfile
from pathlib import Path

import numpy as np

# Cities → instances.
TRAINING = {200: 3, 1000: 3}
VALIDATION = {200: 10, 1000: 10, 2000: 2}
FEWEST = 50  # milliseconds that every instance may take: a process start is in it
TRIES = 3  # of an instance that took too long, as another process may have been in the way


def evaluate(folder: Path, epoch: int = 0, stage: str = "main", parameters: dict | None = None) -> dict:
    """Percent above the bound, its mean by size, and milliseconds of processor time for the largest instances."""
    allowed = float((parameters or {}).get("milliseconds", 200))
    lengths = VALIDATION if stage == "validation" else TRAINING
    rng = np.random.default_rng([0 if stage == "validation" else epoch + 1, 20020715])
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        program = compiled(folder / "tour.c", Path(place))
        for cities, count in lengths.items():
            excesses, times = [], []
            for _ in range(count):
                points = rng.random((cities, 2))
                tour, took = run(program, points, max(FEWEST, allowed * cities / 1000))
                excesses.append(100 * (length(points, tour) / bound(cities) - 1))
                times.append(took)
            metrics[f"excess_{cities}"] = float(np.mean(excesses))
            metrics["milliseconds"] = float(np.mean(times))
    score = float(np.mean([value for name, value in metrics.items() if name.startswith("excess")]))
    return {"score": score, "metrics": metrics}


def compiled(source: Path, place: Path) -> Path:
    """The program. Raises ValueError with the compiler's first errors."""
    built, program = place / "built", place / "tour"
    command = ["cc", "-std=c11", "-O2", "-w", "-o", str(built), str(source), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    if done.returncode:
        lines = [line.replace(f"{source.parent}/", "") for line in done.stderr.splitlines()]
        raise ValueError("it does not compile:\n" + "\n".join(lines[:12]))
    # A copy made executable at its creation: under Landlock nothing becomes executable later.
    with open(os.open(program, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o755), "wb") as file:
        file.write(built.read_bytes())
    return program


def run(program: Path, points: np.ndarray, allowed: float) -> tuple[np.ndarray, float]:
    """The tour, and the milliseconds of processor time it took: the least of a few tries, if the first was too long."""
    given = f"{len(points)}\n" + "\n".join(f"{x:.9f} {y:.9f}" for x, y in points) + "\n"
    times = []
    for _ in range(TRIES):
        before = used()
        try:
            done = subprocess.run(
                [str(program)], input=given.encode(), capture_output=True, timeout=20, preexec_fn=_seconds(allowed)
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"no tour of {len(points)} cities after 20 seconds") from None
        times.append(used() - before)
        if done.returncode:
            raise ValueError(f"{len(points)} cities: the program ended with status {done.returncode}")
        if times[-1] <= allowed:
            return read(done.stdout, len(points)), times[-1]
    raise ValueError(f"{len(points)} cities took {min(times):.0f} ms of processor time; {allowed:.0f} are allowed")


def _seconds(allowed: float):
    """Where the kernel ends it for good; limits of processor time are whole seconds."""
    limit = math.ceil(allowed / 1000) + 1
    return lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))


def used() -> float:
    """Milliseconds of processor time of all ended children and theirs."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (found.ru_utime + found.ru_stime)


def read(printed: bytes, cities: int) -> np.ndarray:
    """The tour. Raises ValueError unless it visits every city once."""
    words = printed[: 16 * cities].split()
    if len(words) != cities or not all(word.isdigit() and len(word) < 9 for word in words):
        raise ValueError(f"{len(words)} words, not the numbers of {cities} cities")
    tour = np.array([int(word) for word in words])
    if not (np.bincount(tour[tour < cities], minlength=cities) == 1).all():
        raise ValueError("not every city is visited exactly once")
    return tour


def length(points: np.ndarray, tour: np.ndarray) -> float:
    steps = points[tour] - points[np.roll(tour, 1)]
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def bound(cities: int) -> float:
    """The expected Held-Karp bound of uniform cities in the unit square (Johnson and McGeoch 2002, for N >= 100)."""
    n = float(cities)
    return math.sqrt(n) * (0.70805 + 0.52229 / math.sqrt(n) + 1.31572 / n - 3.07474 / n**1.5)
