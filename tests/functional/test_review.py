"""`review` on a real terminal, every key of it; screens are kept as text in tests/data/review.

After a wanted change: EVOGIT_SNAPSHOTS=write pytest tests/functional/test_review.py, and read the difference.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.conftest import run_git
from tests.functional.test_decisions import evogit
from tests.functional.test_engine import evogit as evolve
from tests.functional.test_engine import project

SCREENS = Path(__file__).parents[1] / "data/review"
WRITE = os.environ.get("EVOGIT_SNAPSHOTS") == "write"  # read before the hermetic environment drops it
CLEAR = "\x1b[2J\x1b[H"
LAST_LINE = "q quit"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A run whose commits are the same every time."""
    root = tmp_path / "p"
    root.mkdir()
    project(root, agents="tinker:8")
    evolve(root, "run", "--deterministic", "--candidates", "45", "--seed", "3", "--quiet")
    return root


class Terminal:
    """`evogit review` on a terminal of 100 columns and 40 rows; `screens` are what it drew, made comparable."""

    def __init__(self, at: Path, editor: str = "false") -> None:
        self.names: dict[str, str] = {}
        environment = {**os.environ, "EDITOR": editor, "GIT_PAGER": "cat", "TERM": "xterm"}
        self.child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable,
            ["-m", "evogit", "-C", str(at), "review"],
            dimensions=(40, 100),
            encoding="utf-8",
            timeout=90,
            env=environment,
        )

    def screen(self) -> str:
        """The next screen, up to its keys and what was said last."""
        self.child.expect_exact(CLEAR)
        self.child.expect_exact(LAST_LINE)
        drawn = str(self.child.before) + LAST_LINE
        self.child.expect("\r\n([^\r\n]*)\r\n")
        assert isinstance(self.child.match, re.Match)
        return self._comparable(f"{drawn}\n{self.child.match[1]}")

    def press(self, key: str, *, answer: str | None = None) -> None:
        self.child.send(key)
        if answer is not None:
            self.child.expect_exact("): ") if key == "g" else self.child.expect_exact("? ")
            self.child.sendline(answer)

    def end(self) -> str:
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0
        return str(self.child.before)

    def _comparable(self, text: str) -> str:
        """Without what differs from machine to machine: ids get names in the order of their first appearance."""

        def named(found: re.Match[str]) -> str:
            return self.names.setdefault(found[0], f"<commit {len(self.names) + 1}>".ljust(10))

        text = re.sub(r"\b\d+ (days|hours|minutes) ago|just now", "some time ago", text.replace("\r", ""))
        return re.sub(r"\b[0-9a-f]{10}\b", named, text) + "\n"


def compare(name: str, text: str) -> None:
    file = SCREENS / f"{name}.txt"
    if WRITE:
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} differs"


def status(at: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, "status", "--json"))
    return found


def test_every_key(ran: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'VALUE = 7\\n\\n\\ndef answer(x):\\n    return 3 * x + VALUE\\n' > \"$1\"\n")
    editor.chmod(0o755)
    items = json.loads(evogit(ran, "review", "--list", "--json"))
    assert {"new best", "fast riser"} <= {item["why"] for item in items}
    assert len(items) >= 3
    terminal = Terminal(ran, str(editor))
    compare("1-new-best", terminal.screen())
    terminal.press("z")
    compare("2-unknown-key", terminal.screen())
    terminal.press("d")
    terminal.child.expect_exact("+++ b/program.py")
    terminal.child.expect_exact("any key goes back")
    terminal.press("x")
    assert "[1/" in terminal.screen()
    terminal.press("D")
    compare("3-nothing-promoted", terminal.screen())
    terminal.press("p", answer="readable")
    compare("4-promoted", terminal.screen())
    terminal.press("i", answer="")
    compare("5-pinned", terminal.screen())
    terminal.press("g", answer="shorter, please")
    compare("6-guided", terminal.screen())
    terminal.press("x", answer="leads nowhere")
    drawn = terminal.screen() if len(items) > 3 else terminal.end()
    assert "pruned" in drawn
    made = status(ran)["decisions"]
    assert [row["decision"] for row in made["made"]] == ["promote", "pin", "prune"]
    assert [row["reason"] for row in made["made"]] == ["readable", "", "leads nowhere"]
    assert status(ran)["guidance"] == ["shorter, please"]
    assert "clean" in evogit(ran, "fsck")


def test_undo_edit_skip_and_quit(ran: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'VALUE = 7\\n\\n\\ndef answer(x):\\n    return 3 * x + VALUE\\n' > \"$1\"\n")
    editor.chmod(0o755)
    terminal = Terminal(ran, str(editor))
    assert "[1/" in terminal.screen()
    terminal.press("u")
    assert "nothing to undo" in terminal.screen()
    terminal.press("x", answer="")
    assert "[2/" in terminal.screen()
    terminal.press("u")
    assert "prune" in (drawn := terminal.screen())
    assert "is undone" in drawn
    terminal.press("g", answer="")
    assert "nothing was said" in terminal.screen()
    terminal.press("e")
    compare("7-adopted", terminal.screen())
    terminal.press("s")
    assert "[2/" in terminal.screen()
    terminal.press("q")
    assert "the rest can wait" in terminal.end()
    found = status(ran)
    (adopted,) = found["decisions"]["adopted"]
    assert run_git("log", "-1", "--format=%an", adopted, cwd=ran) == "Ada Author"
    assert found["decisions"]["pruned"] == []
    assert "clean" in evogit(ran, "fsck")


def test_without_a_terminal_it_says_what_to_type(ran: Path) -> None:
    assert "--list --json" in evogit(ran, "review", code=2)
    assert "new best" in evogit(ran, "review", "--list")
