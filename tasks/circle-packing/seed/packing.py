"""Circles in the unit square with a large sum of radii: prints x, y and radius of each, one circle a line."""

import json
import math
import random
import sys
from pathlib import Path


def centres(count):
    """Where the circles start, from centres.json beside this file."""
    return json.loads(Path(__file__).with_name("centres.json").read_text())[str(count)]


def improve(points, rounds=1, step=0.05):
    """Move one circle at a time by chance, and keep what does not make the sum smaller."""
    chance = random.Random(1)
    total = sum(radii(points))
    for _ in range(rounds):
        moved = list(points)
        at = chance.randrange(len(points))
        x, y = points[at]
        moved[at] = (inside(x + chance.gauss(0, step)), inside(y + chance.gauss(0, step)))
        found = sum(radii(moved))
        if found >= total:
            points, total = moved, found
    return points


def inside(x):
    return min(max(x, 0.01), 0.99)


def radii(points):
    """Radii for these centres: half the way to the nearest, then each grows into the room that its neighbours leave."""
    border = [min(x, y, 1 - x, 1 - y) for x, y in points]
    apart = [[math.hypot(x - u, y - v) for u, v in points] for x, y in points]
    found = [min(border[i], min(d for j, d in enumerate(apart[i]) if j != i) / 2) for i in range(len(points))]
    for i in range(len(points)):
        found[i] = min(border[i], min(apart[i][j] - found[j] for j in range(len(points)) if j != i))
    return found


def main(count):
    points = improve(centres(count))
    for (x, y), r in zip(points, radii(points)):
        print(repr(x), repr(y), repr(r - 1e-13))


if __name__ == "__main__":
    main(int(sys.argv[1]))
