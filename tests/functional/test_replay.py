"""`replay` on real runs: every candidate of offline agents comes out the same, and a forged one does not."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from evogit.evolution.session import read_journals
from evogit.review.replaying import Replayer
from evogit.store.journal import Entry
from evogit.store.objects import Identity
from evogit.store.repository import find
from tests import fitting
from tests.chatserver import ChatServer
from tests.conftest import run_git
from tests.fitting import write
from tests.functional.test_engine import EVALUATE, evogit, project

TUNED = EVALUATE.replace(
    "wrong = sum",
    'import json\n    k = json.loads((folder / "k.json").read_text())["k"]\n    wrong = abs(k - 7.5) + sum',
)


def replayed(at: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, "replay", *words, "--json"))
    return found


def born(at: Path) -> list[Entry]:
    entries = read_journals(find(at).objects(), "main", {})
    return [e for e in entries if e.kind == "evaluated" and e.data.get("decision")]


def test_every_candidate_of_offline_agents_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "p"
    root.mkdir()
    (root / "k.json").write_text('{"k": 1.5, "unused": 3}\n')
    at = project(root, evaluate=TUNED, agents="tinker:3, shuffler:2, dial:3")
    definition = at / ".evogit/tasks/fit/task.toml"
    definition.write_text(definition.read_text().replace('"program.py"', '"program.py", "k.json"'))
    run_git("commit", "-qam", "more", cwd=at)
    evogit(at, "run", "-q", "--candidates", "120", "--seed", "3", "--deterministic")
    # Resumed with another seed, and with another vocabulary that changes no score: both are on record.
    definition.write_text(definition.read_text().replace("[3, 7]", "[2, 9]"))
    evogit(at, "run", "-q", "--candidates", "80", "--seed", "4", "--deterministic")
    entries = born(at)
    operators = {str(entry.data["operator"]) for entry in entries}
    assert {"merge", "perturb"} <= operators
    assert any("pool" in entry.data["recipe"] for entry in entries)
    assert any("base" in entry.data["recipe"] for entry in entries)
    assert {entry.data["recipe"]["seed"] for entry in entries} == {3, 4}
    objects = find(at).objects()
    replayer = Replayer(objects, read_journals(objects, "main", {}))
    for entry in entries:
        found = asyncio.run(replayer.replay(str(entry.candidate)))
        assert found.outcome == "identical", found
    line = replayed(at, "best", "--lineage")
    assert line["counts"]["identical"] == len(line["candidates"]) > 0
    assert "identical, 0 different" in evogit(at, "replay", "--lineage")
    assert replayed(at, "base")["counts"]["not_replayable"] == 1


def test_a_record_that_was_tampered_with_comes_out_different(tmp_path: Path) -> None:
    root = tmp_path / "p"
    root.mkdir()
    at = project(root)
    evogit(at, "run", "-q", "--candidates", "30", "--deterministic")
    objects = find(at).objects()
    entry = next(e for e in reversed(born(at)) if len(e.data["parents"]) == 1)
    forged = objects.edit(str(entry.data["tree"]), {"program.py": b"def answer(x):\n    return 0\n"})
    commit = objects.put_commit(forged, entry.data["parents"], Identity("m", "m@example.com", 1), "forged\n")
    message = objects.commit(entry.oid).message
    lie = objects.put_commit(
        entry.evidence,
        [commit],
        Identity("m", "m@example.com", 1),
        message.replace(f'"sequence": {entry.sequence}', '"sequence": 0').replace(entry.writer, "liar-0"),
    )
    keep = objects.flush()
    assert keep is not None
    objects.move("refs/evogit/main/journal/liar-0", None, lie)
    told = evogit_out(at, "replay", commit)
    assert "different" in told
    assert "another text of program.py" in told


def evogit_out(at: Path, *words: str) -> str:
    """Of a command that ends with exit code 1 and answers on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "evogit", "-C", str(at), *words],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout


def reply(body: dict[str, Any]) -> str:
    """As `write`, and also one edited line in JSON, and whole files; now and then one that fails, for the fixer."""
    prompt = fitting.prompt_of(body)
    rng = random.Random(json.dumps(body["messages"]))
    expression = "nothing" if rng.random() < 0.2 else f"{rng.randint(0, 4)} * x + {rng.randint(0, 9)}"
    if "each line with its number" in prompt:
        found = re.search(r"^(\d+: +return .*)$", prompt, re.MULTILINE)
        assert found is not None
        return json.dumps({"path": "program.py", "search": found[1], "replace": f"    return {expression}"})
    if "Rewrite what you expect" in prompt:
        return f"program.py\n```python\ndef answer(x):\n    return {expression}\n\n\ndef helper(x):\n    return x\n```"
    return write(body).replace("4 * x", "nothing * x")


def test_every_candidate_of_models_is_made_again_from_its_reply(tmp_path: Path) -> None:
    operators: set[str] = set()
    with ChatServer(reply=reply) as server:
        at = fitting.project(tmp_path / "p", server.url)
        population = "surgeon:2, coder:2, author:2, tuner:2, breeder, tinker:1, fixer"
        fitting.evogit(at, "run", "--agents", population, "--candidates", "60", "--seed", "5", "--deterministic", "-q")
    objects = find(at).objects()
    replayer = Replayer(objects, read_journals(objects, "main", {}))
    for entry in born(at):
        found = asyncio.run(replayer.replay(str(entry.candidate)))
        assert found.outcome == "identical", (entry.data["operator"], found)
        if entry.data.get("calls"):
            operators.add(str(entry.data["operator"]))
    assert {"section", "search-replace", "whole-files", "line-edit", "repair", "cross"} <= operators, operators
