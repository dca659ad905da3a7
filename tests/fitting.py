"""A task for runs whose agents ask a model: fit 3x + 7, with a scripted model on a real HTTP server that guesses."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import run_git

KEY = "sk-planted-9f8e7d6c5b4a"

SEED = "def answer(x):\n    return 0\n\n\ndef helper(x):\n    return x\n"

EVALUATE = """
def evaluate(folder, epoch=0, stage="main"):
    space = {}
    exec((folder / "program.py").read_text(), space)
    wrong = sum(abs(space["answer"](x) - (3 * x + 7)) for x in range(10))
    return {"score": -float(wrong), "feedback": f"off by {wrong}"}
"""


def evogit(at: Path, *arguments: str, code: int = 0, key: str = KEY) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "evogit", "-C", str(at), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OPENAI_API_KEY": key},
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "bug in EvoGit" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def project(root: Path, url: str, *, evaluate: str = EVALUATE, task: str = "", model: str = "") -> Path:
    folder = root / ".evogit/tasks/fit"
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(
        'direction = "maximize"\nevolve = ["*.py"]\n'
        f'[evaluation]\nfunction = "evaluate.py:evaluate"\ndeadline = 5\n{task}\n'
    )
    (folder / "goal.md").write_text("Compute 3x + 7.\n")
    (folder / "evaluate.py").write_text(evaluate)
    (root / ".evogit/config.toml").write_text(
        f'[run]\ntask = "fit"\n[models.fast]\nmodel = "scripted"\nbase_url = "{url}"\nmax_tokens = 500\n'
        f"price_input = 1.0\nprice_output = 4.0\ntimeout = 10\n{model}\n"
    )
    (root / "program.py").write_text(SEED)
    run_git("init", "-q", cwd=root)
    run_git("add", "-A", cwd=root)
    run_git("commit", "-qm", "start", cwd=root)
    return root


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def write(body: dict[str, Any]) -> str:
    """A model that knows the three formats and guesses the two numbers, differently for each prompt."""
    prompt = prompt_of(body)
    rng = random.Random(json.dumps(body["messages"]))
    expression = f"{rng.randint(0, 4)} * x + {rng.randint(0, 9)}"
    if "CONFLICT 1" in prompt:
        return f"CONFLICT 1\n```\n    return {expression}\n```"
    section = re.search(r"<<<<<<< section begins\n(.*)\n>>>>>>> section ends", prompt, re.DOTALL)
    if section:
        return "```python\n" + re.sub(r"return .*", f"return {expression}", section[1], count=1) + "\n```"
    found = re.search(r"^    return (.*)$", prompt, re.MULTILINE)
    old = found[1] if found else "nothing"
    return f"program.py\n<<<<<<< SEARCH\n    return {old}\n=======\n    return {expression}\n>>>>>>> REPLACE\n"


def status(at: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, "status", "--json"))
    return found


def objects_with(at: Path, text: str) -> list[str]:
    """Objects of the repository, and files beside them, that hold `text`."""
    command = ["git", "-C", str(at), "cat-file", "--batch-all-objects", "--batch"]
    found = ["an object"] if text.encode() in subprocess.run(command, check=True, capture_output=True).stdout else []
    return found + [str(p) for p in at.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]
