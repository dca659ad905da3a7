"""What a task may need beside Python (a compiler, Node, Chromium, a sandbox): whether it is here, and how to get it.

Looked for where the sandbox looks, not on the user's PATH: a Node below a home folder is out of a candidate's reach.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from evogit.errors import EvaluationError

Need = Literal["compiler", "node", "chromium", "bubblewrap", "model", "network"]
NEEDS: tuple[Need, ...] = get_args(Need)

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Of every candidate."""


@dataclass(frozen=True)
class Found:
    """One need on this machine: `present` is None where it cannot be told before it is used."""

    name: Need
    present: bool | None
    text: str
    """What is there, or how to get it."""


_PROGRAMS: dict[Need, tuple[str, ...]] = {
    "compiler": ("cc", "gcc", "clang"),
    "node": ("node", "nodejs"),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "bubblewrap": ("bwrap",),
}
_WORDS: dict[Need, str] = {"compiler": "a C compiler", "node": "Node", "chromium": "Chromium"}
_WORDS["bubblewrap"] = "bubblewrap, whose sandbox this task's programs need,"
_INSTALL: dict[Need, str] = {
    "compiler": "Debian, Ubuntu: apt install gcc libc6-dev; Fedora: dnf install gcc",
    "node": "Debian, Ubuntu: apt install nodejs npm; Fedora: dnf install nodejs",
    "chromium": "Debian: apt install chromium; Fedora: dnf install chromium",
    "bubblewrap": "Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap",
}


def look(need: Need, model: str | None = None, configured: Iterable[str] = (), path: str = PATH) -> Found:
    """Whether `need` is met here. `model`: the name of the model that the task's candidates ask."""
    if need == "network":
        return Found(need, None, "once: source or packages are fetched from a registry, then kept")
    if need == "model":
        if model in set(configured):
            return Found(need, True, f"[models.{model}] is configured; whether it answers: evogit models check {model}")
        return Found(need, False, f"configure [models.{model}] in .evogit/config.toml, then: evogit models check")
    program = next(filter(None, (shutil.which(name, path=path) for name in _PROGRAMS[need])), None)
    if program is None:
        return Found(need, False, f"{_WORDS[need]} is not in {path}. {_INSTALL[need]}")
    if need == "compiler" and not _compiles(program, path):
        return Found(need, False, f"{program} cannot build a C program (no headers?). {_INSTALL[need]}")
    return Found(need, True, program)


def _compiles(program: str, path: str) -> bool:
    """A compiler without the C library's headers is common in small images. `path`: where it finds its assembler."""
    with tempfile.TemporaryDirectory(prefix="evogit-cc-") as folder:
        out = Path(folder) / "probe"
        text = b'#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
        command = [program, "-x", "c", "-", "-o", str(out)]
        try:
            done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=60, env={"PATH": path})
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def require(task: str, needs: Iterable[Need], path: str = PATH) -> None:
    """Raise `EvaluationError` for what `task` needs and this machine lacks; models and the network check themselves."""
    found = [look(need, path=path) for need in needs if need not in ("model", "network")]
    missing = [each for each in found if each.present is False]
    if missing:
        lines = "\n".join(f"  {each.name}: {each.text}" for each in missing)
        raise EvaluationError(f"the task {task} needs what is not here:\n{lines}")
