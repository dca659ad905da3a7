"""Report a heuristic on the released instances, next to what is published: ``python report.py --heuristic FILE``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from loading import load  # noqa: E402
from packing import excess, first_fit, pack  # noqa: E402

SETS = {
    "weibull_5k_funsearch": 100,
    "weibull_1k_eoh": 100,
    "weibull_2k_eoh": 100,
    "weibull_5k_eoh": 100,
    "weibull_10k_eoh": 100,
    "or1": 150,
    "or2": 150,
    "or3": 150,
    "or4": 150,
}
# FunSearch's own functions (one for each domain) as published in Nature 625, 468-475 (2023).
FUNSEARCH = {"or1": 5.30, "or2": 4.19, "or3": 3.11, "or4": 2.47, "weibull_5k_funsearch": 0.68}


def best_fit(item, residual, gap, open_at_residual, open_at_gap, capacity):  # noqa: ARG001  # the interface
    return -gap


def sum_of_squares(item, residual, gap, open_at_residual, open_at_gap, capacity):  # noqa: ARG001  # as above
    """Csirik et al., JACM 2006: least growth of the sum of squared counts of partly filled bins at each level."""
    opening = (residual == capacity) & (open_at_residual == 0)
    taken = np.where(opening, 0, 1 - 2 * open_at_residual)
    made = np.where(gap == 0, 0, 1 + 2 * open_at_gap)
    return -(taken + made)


def report(heuristic: Path | None, sets: list[str]) -> list[dict]:
    """Rows of method and percent excess per set, best known first fit to the given heuristic last."""
    data = np.load(HERE / "data" / "instances.npz")
    loaded = {name: [row.astype(np.int64) for row in data[name]] for name in sets}
    rows = [
        {"method": "first fit"}
        | {
            name: excess(np.array([first_fit(row, SETS[name]) for row in loaded[name]]), loaded[name], SETS[name])
            for name in sets
        }
    ]
    rules = {"best fit": best_fit, "Sum-of-Squares (JACM 2006)": sum_of_squares}
    if heuristic is not None:
        rules["this run's champion"] = load(heuristic)
    for method, rule in rules.items():
        with np.errstate(all="ignore"):
            rows.append(
                {"method": method}
                | {name: excess(pack(rule, loaded[name], SETS[name]), loaded[name], SETS[name]) for name in sets}
            )
    rows.insert(3, {"method": "FunSearch, as published (Nature 2023) *"} | {n: FUNSEARCH.get(n) for n in sets})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heuristic", type=Path, help="a file with the function priority")
    parser.add_argument("--all", action="store_true", help="all released sets, not only Weibull 5k")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    sets = list(SETS) if asked.all else ["weibull_5k_funsearch"]
    rows = report(asked.heuristic, sets)
    if asked.json:
        print(json.dumps(rows))
        return 0
    print(
        f"{'percent excess over the lower bound':<42}"
        + "".join(f"{name.removesuffix('_funsearch'):>17}" for name in sets)
    )
    for row in rows:
        cells = "".join(f"{'–' if row[name] is None else format(row[name], '.3f'):>17}" for name in sets)
        print(f"{row['method']:<42}{cells}")
    print("* its function saw only the free space of bins; Sum-of-Squares and ours also see how many bins have each.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
