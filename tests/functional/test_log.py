"""`evogit log --where`: conditions on fields and metrics, and what a wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evogit.cli.log import condition
from evogit.errors import UsageError
from evogit.store.journal import Journal
from evogit.store.repository import find
from tests.functional.test_exports import evogit

ROW = {
    "commit": "ab12", "score": 0.5, "decision": "accepted", "status": "ok", "agent": "ant-1", "host": "h",
    "operator": "grow", "model": "", "epoch": 0, "step": 3, "seconds": None, "parents": [],
    "summary": "Unroll the Loop", "metrics": {"size": 7.0}, "milliseconds": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score<0.7", True), ("score < 0.5", False), ("score<=0.5", True), ("score!=0.5", False), ("score = 0.5", True),
        ("score==0.5", True), ("step>=3", True), ("seconds<9", False), ("size>6", True), ("metrics.size>7", False),
        ("absent>0", False), ("agent=ant-1", True), ("agent!=ant-1", False), ("summary~loop", True),
        ("summary~=", False), ("commit~ab", True), ("score<-1e3", False),
    ],
)  # fmt: skip
def test_conditions(text: str, expected: bool) -> None:
    assert condition(text)(ROW) is expected


@pytest.mark.parametrize("text", ["score", "<3", "score<many", "score~0.5", ""])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        condition(text)


def test_the_log_keeps_what_matches(repo: Path) -> None:
    for words in (
        ["init", "--goal", "Answer 42", "--command", "python bench.py", "--evolve", "src/*.py"],
        ["run", "--candidates", "15", "--agents", "tinker:3", "--seed", "1", "--deterministic", "-q"],
    ):
        assert evogit(*words, at=repo).returncode == 0
    rows = [json.loads(line) for line in evogit("log", "--json", "-n", "99", at=repo).stdout.splitlines()]
    some = evogit(
        "log", "--json", "-n", "99", "--where", "score<-1", "--where", "status=ok", at=repo
    ).stdout.splitlines()
    expected = [row for row in rows if row["status"] == "ok" and row["score"] < -1]
    assert [json.loads(line) for line in some] == expected
    assert 0 < len(expected) < len(rows)
    assert evogit("log", "--where", "score", at=repo).returncode == 2


def test_what_a_candidate_says_controls_no_terminal(repo: Path) -> None:
    objects = find(repo).objects()
    head = objects.resolve("HEAD") or ""
    journal = Journal(objects, "main", "w-0", lambda: 1_750_000_000_000)
    data: dict[str, Any] = {"status": "ok", "score": 1.0, "digest": "D", "tree": objects.commit(head).tree, "step": 0}
    data |= {"agent": "a", "definition": "a", "host": "h", "operator": "o", "parents": [], "decision": "accepted"}
    journal.append("founded", "f", {"digest": "D", "direction": "maximize", "task": "t"}, candidate=head)
    journal.append("evaluated", "e", data | {"summary": "one\n\x1b[31mtwo\u202e"}, candidate=head)
    journal.publish()
    said = evogit("log", at=repo).stdout.decode()
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert json.loads(evogit("log", "--json", at=repo).stdout)["summary"] == "one\n\x1b[31mtwo\u202e"
