"""Two coding tools as their makers ship them, installed from the registries and driven against a local server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.chatserver import Answer, ChatServer
from tests.conftest import run_git
from tests.fitting import KEY, objects_with, project, status

CACHE = Path(os.environ.get("EVOGIT_TEST_CLIS") or Path(__file__).parents[2] / ".cache/clis")
EDIT = "sed -i 's/return 0/return 3 * x + 7/' program.py"

pytestmark = [pytest.mark.slow, pytest.mark.longest, pytest.mark.timeout(600)]


def installed(name: str, program: str, *commands: list[str]) -> Path:
    """The folder with `program`, installed by `commands` unless it is there; skips where that cannot be done."""
    place = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock", timeout=500):
        if not (place / program).exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for command in commands:
                if not command[0].startswith(".venv/") and shutil.which(command[0]) is None:
                    pytest.skip(f"{name} needs {command[0]}, which is not installed")
                done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=500)
                if done.returncode:
                    shutil.rmtree(place, ignore_errors=True)
                    pytest.skip(f"{name} cannot be installed here: {done.stderr[-300:]}")
    return (place / program).parent


def evolve(at: Path, agent: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "evogit",
            "-C",
            str(at),
            "run",
            "--agents",
            f"{agent}:1:fast",
            "--candidates",
            "1",
            "--seconds",
            "150",
            "--plain",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OPENAI_API_KEY": KEY, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = status(at)
    assert found["accepted"] == 1, done.stdout + done.stderr + json.dumps(found)
    assert found["best"]["score"] == 0.0
    assert "3 * x + 7" in run_git("show", f"{found['best']['commit']}:program.py", cwd=at)
    assert objects_with(at, KEY) == []
    return found


def test_mini_swe_agent(tmp_path: Path) -> None:
    folder = installed(
        "mini-swe-agent",
        ".venv/bin/mini",
        [sys.executable, "-m", "venv", ".venv"],
        [".venv/bin/pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "mini-swe-agent", "mcp"],
    )

    def answer(body: dict[str, Any]) -> Answer:
        done = f"{EDIT} && echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
        call = {
            "id": "c1",
            "type": "function",
            "function": {"name": "bash", "arguments": json.dumps({"command": done})},
        }
        return (
            Answer("THOUGHT: I edit the file.", tool_calls=(call,))
            if body.get("tools")
            else Answer(f"```bash\n{done}\n```")
        )

    with ChatServer(reply=answer) as server:
        found = evolve(project(tmp_path / "project", server.url), "mini-swe-agent", folder)
    assert found["tokens"] > 500  # read from its report; it prints none


def test_qwen_code(tmp_path: Path) -> None:
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", "@qwen-code/qwen-code"]
    folder = installed("qwen-code", "node_modules/.bin/qwen", npm)

    def answer(body: dict[str, Any]) -> Answer:
        turns = sum(message["role"] == "tool" for message in body["messages"])
        room = re.search(r"/[\w/.-]*evogit-program-\w+/work", json.dumps(body))
        path = f"{room[0] if room else '.'}/program.py"
        steps: list[tuple[str, dict[str, str]]] = [
            ("read_file", {"file_path": path}),
            ("edit", {"file_path": path, "old_string": "return 0", "new_string": "return 3 * x + 7"}),
        ]
        if not body.get("tools") or turns >= len(steps):
            return Answer("done")
        name, arguments = steps[turns]
        function = {"name": name, "arguments": json.dumps(arguments)}
        return Answer("", tool_calls=({"id": f"c{turns}", "type": "function", "function": function},))

    with ChatServer(reply=answer) as server:
        found = evolve(project(tmp_path / "project", server.url), "qwen-code", folder)
    assert found["tokens"] > 100
