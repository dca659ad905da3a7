"""The Makefile explains itself, and says what is missing where Python is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, cwd: Path, path: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(MAKEFILE, cwd)
    (cwd / "pyproject.toml").touch()
    program = shutil.which("make")
    assert program
    # Not our own parent's flags, should the tests run under make themselves.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {"PATH": path}
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_is_the_default_and_names_every_target(tmp_path: Path) -> None:
    done = make(cwd=tmp_path, path=os.environ["PATH"])
    assert done.returncode == 0
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE) == phony.split()


def test_without_a_fitting_python_it_says_what_to_install(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "rm"):
        (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python3").chmod(0o755)
    done = make("demo", cwd=tmp_path, path=str(programs))
    assert done.returncode != 0
    assert "EvoGit needs Python 3.11 or newer" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()
