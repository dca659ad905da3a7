"""A repository for a coding program to play in: thrown away with its folder, knowing nothing of the user's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

WHO = ("-c", "user.name=EvoGit", "-c", "user.email=evogit@evogit.invalid", "-c", "commit.gpgsign=false")
WHERE = ("-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=main", "-c", "gc.auto=0")


def repository(folder: Path) -> None:
    """Make `folder` a repository with one commit of everything in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (("init", "-q", "--template="), ("add", "-A", "-f"), ("commit", "-q", "--allow-empty", "-m", "start")):
        subprocess.run(
            ["git", *WHO, *WHERE, *words], cwd=folder, env=environment, check=False, capture_output=True, timeout=60
        )
