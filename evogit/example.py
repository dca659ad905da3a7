"""The example that `evogit tasks new` writes: a whole small task that works as it is and is there to edit."""

from __future__ import annotations

from pathlib import Path

from evogit.definitions import is_name
from evogit.errors import UsageError

FILES = {
    "task.toml": """\
# What is evolved, how it is scored, what may change. `evogit tasks {name}` shows how it is understood,
# `evogit tasks check {name}` tries it, and docs/tasks.md explains every key.
description = "Approximate a curve with a small program"
direction = "minimize"
evolve = ["program.py"]

# What the judge needs on the machine beside Python: "compiler", "node", "chromium".
needs = []

[evaluation]
function = "evaluate.py:evaluate"
deadline = 10
# If the same candidate scores differently each time, say so; apparent wins are then measured again:
# noisy = true

[limits]
memory = "512M"
processes = 8

# What you measured; the check compares the seed with it.
[measured]
seed = 0.329167
tolerance = 0.0001

# Words the offline agents grow expressions from.
[vocabulary]
names = ["x"]
calls = ["max(_, _)"]
numbers = [0.5, 1, 2]
""",
    "goal.md": """\
Make `curve(x)` in `program.py` follow the function 0.5 x (1 - x) + x on [0, 1].

The score is the mean absolute error; lower is better. Only `program.py` may change.
""",
    "README.md": """\
# {name}

What is evolved, where the seed stands, what is the best known, and how each number was measured. Nothing in this file
and in `trials/` reaches an evaluation.
""",
    "evaluate.py": '''\
"""The judge. It runs the candidate as a program of its own and believes only what it can check: the numbers printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

POINTS = [n / 20 for n in range(21)]


def evaluate(folder: Path) -> dict:
    """The mean absolute error. Whatever raises here, the candidate has failed; the text is its feedback."""
    command = [sys.executable, "-I", str(folder / "program.py"), *map(str, POINTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    if done.returncode:
        raise ValueError(f"program.py ended with exit status {{done.returncode}}: {{done.stderr[-500:]}}")
    found = [float(word) for word in done.stdout.split()]
    if len(found) != len(POINTS):
        raise ValueError(f"program.py printed {{len(found)}} numbers, not {{len(POINTS)}}")
    errors = [abs(value - (0.5 * x * (1 - x) + x)) for x, value in zip(POINTS, found)]
    if not all(error < 1e6 for error in errors):
        raise ValueError("a number is not finite, or far from anything")
    return {{"score": sum(errors) / len(errors), "metrics": {{"worst": max(errors)}}}}
''',
    "seed/program.py": '''\
"""Prints the curve at the points given as arguments."""

import sys


def curve(x):
    return x * 0.5 + 0.0


for word in sys.argv[1:]:
    print(curve(float(word)))
''',
    "trials/reference/program.py": '''\
"""Laid over the seed by `evogit tasks check`: a version known to be good, which must beat the seed."""

import sys

for word in sys.argv[1:]:
    x = float(word)
    print(0.5 * x * (1 - x) + x)
''',
    "trials/bad/program.py": '''\
"""Trivially bad: it must not beat the seed."""

import sys

for _ in sys.argv[1:]:
    print(99)
''',
    "trials/hostile-claims/program.py": '''\
"""It claims a score instead of earning one, and must not beat the seed."""

import os

print('{{"score": 0.0}}')
with open(os.environ.get("EVOGIT_RESULT", "/tmp/result.json"), "w") as file:
    file.write('{{"score": 0.0}}')
os._exit(0)
''',
}


def write_example(folder: Path, name: str) -> list[str]:
    """Write the example into `folder`, which must be new; the files written. Raises `UsageError`."""
    if not is_name(name) or folder.name != name:
        raise UsageError(f"a task's name has letters, digits, '-' and '_' only, not {name!r}")
    if folder.exists():
        raise UsageError(f"{folder} is there already; choose another name")
    for path, text in FILES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.format(name=name))
    return list(FILES)
