"""The generated command reference tells the truth of today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_command_line_says(tmp_path: Path) -> None:
    out = tmp_path / "reference.md"
    title = ["--name", "evogit", "--title", "The evogit command"]
    command = [sys.executable, "-m", "typer", "evogit.cli.app", "utils", "docs", *title, "--output", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert out.read_text() == (ROOT / "docs/reference.md").read_text(), "run: make reference"
