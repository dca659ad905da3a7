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


def report(heuristic: Path | None, sets: list[str], for_or: Path | None = None) -> list[dict]:
    """Rows of method and percent excess per set, the given heuristic last. `for_or`: another one for or1-or4."""
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
    given = load(heuristic) if heuristic is not None else None
    given_or = load(for_or) if for_or is not None else given
    if given is not None or given_or is not None:
        rules["this run's champion"] = given
    for method, rule in rules.items():
        row: dict = {"method": method}
        for name in sets:
            used = given_or if method == "this run's champion" and name.startswith("or") else rule
            with np.errstate(all="ignore"):
                row[name] = used and excess(pack(used, loaded[name], SETS[name]), loaded[name], SETS[name])
        rows.append(row)
    rows.insert(3, {"method": "FunSearch, as published (Nature 2023) *"} | {n: FUNSEARCH.get(n) for n in sets})
    return rows


def _cell(value: float | None) -> str:
    return "–" if value is None else format(value, ".3f")


SHORT = {"FunSearch, as published (Nature 2023) *": "FunSearch *", "Sum-of-Squares (JACM 2006)": "Sum-of-Squares"}


def _print_by_set(rows: list[dict], sets: list[str]) -> None:
    heads = [SHORT.get(row["method"], row["method"]) for row in rows]
    print(f"{'percent excess':<22}" + "".join(f"{head:>{max(12, len(head) + 2)}}" for head in heads))
    for name in sets:
        cells = (f"{_cell(row[name]):>{max(12, len(head) + 2)}}" for row, head in zip(rows, heads, strict=True))
        print(f"{name:<22}" + "".join(cells))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heuristic", type=Path, help="a file with the function priority")
    parser.add_argument("--or", type=Path, dest="for_or", help="another one for or1 to or4, as FunSearch has")
    parser.add_argument("--all", action="store_true", help="all released sets, not only Weibull 5k")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    sets = list(SETS) if asked.all else ["weibull_5k_funsearch"]
    rows = report(asked.heuristic, sets, asked.for_or)
    if asked.json:
        print(json.dumps(rows))
        return 0
    if asked.all:
        _print_by_set(rows, sets)
    else:
        print(f"{'percent excess over the lower bound':<42}{'weibull_5k':>17}")
        for row in rows:
            print(f"{row['method']:<42}{_cell(row[sets[0]]):>17}")
    print("* its function saw only the free space of bins; Sum-of-Squares and ours also see how many bins have each.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
