"""Sum of radii of circles in the unit square, valid by exact rational arithmetic with zero tolerance.

The candidate runs as a program of its own. Only the numbers that it prints count, and every claim about them is checked
here, so that nothing it does to its own process can help it.
"""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

Circle = tuple[Fraction, Fraction, Fraction]


def evaluate(folder: Path, parameters: dict | None = None) -> dict:
    """Score, and how near to touching the tightest places are."""
    asked = {"circles": 26, "seconds": 10} | (parameters or {})
    circles = read(run(folder / "packing.py", int(asked["circles"]), float(asked["seconds"])), int(asked["circles"]))
    verify(circles)
    total = sum(r for _, _, r in circles)
    radii = sorted(float(r) for _, _, r in circles)
    return {"score": below(total), "metrics": {"smallest": radii[0], "largest": radii[-1]}}


def run(program: Path, circles: int, seconds: float) -> str:
    """What the program prints. Raises ValueError when it fails, says too much or takes too long."""
    command = [sys.executable, "-I", str(program), str(circles)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, errors="replace")
    except subprocess.TimeoutExpired:
        raise ValueError(f"{program.name} took more than {seconds:g} seconds") from None
    if done.returncode:
        raise ValueError(f"{program.name} ended with exit status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def read(text: str, count: int) -> list[Circle]:
    """Exactly `count` circles; each printed number is taken as the float that it denotes, exactly."""
    lines = [line.split() for line in text[:100_000].splitlines() if line.strip()]
    if len(lines) != count:
        raise ValueError(f"{len(lines)} lines, not the {count} circles asked for")
    found = []
    for number, words in enumerate(lines, 1):
        try:
            x, y, r = map(float, words)
        except ValueError:
            raise ValueError(f"line {number}: x, y and radius, not {' '.join(words)[:80]!r}") from None
        if not all(map(math.isfinite, (x, y, r))):
            raise ValueError(f"line {number}: not finite")
        found.append((Fraction(x), Fraction(y), Fraction(r)))
    return found


def verify(circles: list[Circle]) -> None:
    """Raises ValueError naming the first circle that is too small, leaves the square, or overlaps another."""
    for i, (x, y, r) in enumerate(circles, 1):
        if r <= 0:
            raise ValueError(f"circle {i}: the radius must be positive")
        out = max(r - x, x + r - 1, r - y, y + r - 1)
        if out > 0:
            raise ValueError(f"circle {i} leaves the square by {float(out):.3g}")
    for i, (x, y, r) in enumerate(circles, 1):
        for j, (u, v, s) in enumerate(circles[: i - 1], 1):
            if (x - u) ** 2 + (y - v) ** 2 < (r + s) ** 2:
                gap = float(r + s) - math.hypot(float(x - u), float(y - v))
                raise ValueError(f"circles {j} and {i} overlap by {gap:.3g}")


def below(value: Fraction) -> float:
    """The largest float that is not above `value`: a score never claims more than is there."""
    found = float(value)
    return found if Fraction(found) <= value else math.nextafter(found, -math.inf)
