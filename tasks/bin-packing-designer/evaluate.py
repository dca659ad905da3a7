"""Let a program design a solver by asking a model, then run what it returns on instances that it has not seen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from packing import CAPACITY, CLASSES, bound, instance, wrong

TRAINING = 2  # instances of each class that the designer is shown
UNSEEN = {"main": 6, "validation": 20}
REQUESTS = 6  # as in task.toml
SECONDS = 2.0  # for one instance
LONGEST = 100_000  # characters of a solver


def evaluate(
    folder: Path,  # noqa: ARG001  # what the program is, it says by what it answers
    candidate: Any,
    epoch: int = 0,
    stage: str = "main",
    parameters: dict | None = None,
) -> dict:
    """Percent above the lower bound on unseen instances, by class too, and how many the solver failed on."""
    rng = random.Random(f"{'validation' if stage == 'validation' else epoch} of the designers")
    shown = [instance(rng, name) for name in CLASSES for _ in range(TRAINING)]
    seconds = float((parameters or {}).get("seconds", 600))
    source = candidate.call("designer.py:design", shown, CAPACITY, REQUESTS, deadline=seconds)
    if not isinstance(source, str) or len(source) > LONGEST:
        raise ValueError(
            f"design returned {type(source).__name__}, not the text of a solver of {LONGEST} characters at most"
        )
    metrics: dict[str, float] = {}
    failures: list[str] = []
    used = least = 0
    for name in CLASSES:
        bins = bounds = 0
        for _ in range(UNSEEN.get(stage, UNSEEN["main"])):
            items = instance(rng, name)
            bounds += bound(items, CAPACITY)
            bins += packed(candidate, source, items, failures)
        metrics[f"excess_{name}"] = 100 * (bins / bounds - 1)
        used, least = used + bins, least + bounds
    metrics |= {"bins": used, "bound": least, "failures": len(failures)}
    feedback = f"the solver failed on {len(failures)} unseen instances, first: {failures[0]}" if failures else ""
    return {"score": 100 * (used / least - 1), "metrics": metrics, "feedback": feedback}


def packed(candidate: Any, source: str, items: list[int], failures: list[str]) -> int:
    """Bins that the solver uses, in a fresh process that knows nothing else; one for each item if it does not work."""
    try:
        candidate.restart()
        solver = f"SOURCE = {source!r}\n{RUN}"
        candidate.define("solver", solver)
        bins = candidate.call("solver:run", list(items), CAPACITY, deadline=SECONDS)
        why = wrong(bins, items, CAPACITY)
    except candidate.Failed as error:
        why = str(error).strip().splitlines()[-1][:300] if str(error).strip() else "it failed"
        bins = []
    if why:
        failures.append(why)
        return len(items)
    return len(bins)


# The text is run within the call, so that what it does as it is loaded has the same deadline.
RUN = """
def run(items, capacity):
    space = {"__name__": "solver"}
    exec(compile(SOURCE, "solver.py", "exec"), space)
    bins = space["pack"](items, capacity)
    return [[int(item) for item in one] for one in bins]
"""
