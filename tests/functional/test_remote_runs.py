"""Hosts that evolve at the same time over one remote: they meet, go on while it is away, and check claims."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import run_git
from tests.functional.test_engine import evogit, status
from tests.functional.test_sync import champion, clone, origin  # noqa: F401


def begin(at: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "evogit", "-C", str(at), "run", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines()]


def candidates(events: list[dict[str, Any]]) -> set[str]:
    return {event["commit"] for event in events if event["event"] == "candidate"}


def test_two_hosts_at_once(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    one, other = clone(str(origin), tmp_path / "one"), clone(str(origin), tmp_path / "other")
    evogit(one, "run", "--candidates", "2", "--quiet", "--remote", "origin")
    running = [
        begin(at, "--candidates", "120", "--jobs", "1", "--remote", "origin", "--sync-every", "300ms", "--seed", seed)
        for at, seed in ((one, "1"), (other, "2"))
    ]
    said = [finish(process) for process in running]
    for at in (one, other):
        evogit(at, "sync")
    evogit(one, "sync")
    first, second = status(one), status(other)
    assert champion(one) == champion(other)
    for key in ("candidates", "rejected", "accepted"):
        assert first[key] == second[key], key
    assert first["candidates"] == 242
    assert [row["candidates"] for row in first["hosts"]] == [row["candidates"] for row in second["hosts"]]
    there = run_git("rev-list", "--all", cwd=origin).split()
    assert (candidates(said[0]) | candidates(said[1])) <= set(there), "acknowledged, so it is at the remote"
    for at in (one, other):
        assert "clean" in evogit(at, "fsck")


def test_agents_go_on_while_the_remote_is_away(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    one = clone(str(origin), tmp_path / "one")
    away = tmp_path / "away.git"
    origin.rename(away)
    lines = []
    with begin(one, "--candidates", "60", "--jobs", "1", "--remote", "origin", "--sync-every", "200ms") as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "notice" and "The agents go on" in lines[-1]["text"] and away.exists():
                away.rename(origin)
    assert process.returncode == 0
    assert len(candidates(lines)) == 60
    assert candidates(lines) <= set(run_git("rev-list", "--all", cwd=origin).split()), "caught up at the end"


def test_a_copy_that_is_noticed_in_the_middle_of_a_run(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    one, copy, away = clone(str(origin), tmp_path / "one"), tmp_path / "copy", tmp_path / "away.git"
    evogit(one, "run", "--candidates", "5", "--quiet")
    subprocess.run(["cp", "-r", str(one), str(copy)], check=True)
    origin.rename(away)
    options = ("--candidates", "150", "--jobs", "1", "--remote", "origin", "--sync-every", "300ms")
    lines: list[list[dict[str, Any]]] = [[], []]
    with begin(one, *options, "--seed", "1") as first, begin(copy, *options, "--seed", "2") as second:
        for process, found in ((first, lines[0]), (second, lines[1])):
            assert process.stdout is not None
            found.append(json.loads(process.stdout.readline()))  # both have begun, and met nobody
        away.rename(origin)
        for process, found in ((first, lines[0]), (second, lines[1])):
            assert process.stdout is not None
            found += map(json.loads, process.stdout)
    assert (first.returncode, second.returncode) == (0, 0)
    for at in (one, copy, one):
        evogit(at, "sync")
    # As long as they have one name, both may make the very same commit: what counts are entries.
    told = [event["commit"] for found in lines for event in found if event["event"] == "candidate"]
    assert len(told) == 300
    assert status(one)["candidates"] == status(copy)["candidates"] == 5 + len(told)
    assert champion(one) == champion(copy)
    assert len(status(one)["hosts"]) == 2
    there = set(run_git("rev-list", "--all", cwd=origin).split())
    assert set(told) <= there
    for at in (one, copy):
        assert "clean" in evogit(at, "fsck")


def test_one_lying_host_does_not_take_over(tmp_path: Path, origin: Path) -> None:  # noqa: F811
    honest, liar = clone(str(origin), tmp_path / "honest"), clone(str(origin), tmp_path / "liar")
    evogit(honest, "run", "--candidates", "5", "--quiet", "--remote", "origin")
    evogit(liar, "run", "--candidates", "40", "--quiet", "--remote", "origin")
    name = (liar / ".git/evogit/host").read_text().strip()
    _claim(liar, name, 1e9)
    evogit(liar, "sync")
    mine = (honest / ".git/evogit/host").read_text().strip()
    trusting = ("--remote", "origin", "--sync-every", "300ms", "--json")
    before = status(honest)
    (honest / ".evogit").mkdir(exist_ok=True)
    config = honest / ".evogit/config.toml"
    said = config.read_text() if config.exists() else ""
    config.write_text(f'{said}\n[sync]\ntrust = ["{mine}"]\n')
    output = evogit(honest, "run", "--seconds", "4", *trusting)
    notices = [event["text"] for event in map(json.loads, output.splitlines()) if event["event"] == "notice"]
    assert any("is not believed any more: it claimed 1e+09" in text for text in notices), notices
    after = status(honest)
    assert after["best"]["score"] < 1e6
    assert before["candidates"] < after["candidates"]
    row = next(row for row in after["hosts"] if row["host"] == name)
    assert row["refuted"] >= 1
    assert not row["believed"]
    shown = evogit(honest, "status")
    assert "claims refuted" in shown


def _claim(at: Path, host: str, score: float) -> None:
    """Write an accepted candidate with a score that is not true, as a hostile host's program would."""
    program = """
import sys
from pathlib import Path
from evogit.evolution.session import read_journals
from evogit.store.journal import Journal
from evogit.store.objects import Identity
from evogit.store.repository import find

objects, host = find(Path(sys.argv[1])).objects(), sys.argv[2]
last = [e for e in read_journals(objects, "main", {}) if e.data.get("decision") == "worse"][-1]
who = Identity("x", "x@x", 1_800_000_000)
tree = objects.edit(objects.commit(last.candidate).tree, {"note.txt": b"nothing"})
child = objects.put_commit(tree, [last.candidate], who, "best of all")
journal = Journal(objects, "main", f"{host}-0", lambda: 0)
journal.resume()
lie = {"tree": tree, "score": float(sys.argv[3]), "status": "ok", "decision": "accepted", "parents": [last.candidate]}
journal.append("evaluated", "accepted", last.data | lie, candidate=child)
journal.publish()
"""
    subprocess.run([sys.executable, "-c", program, str(at), host, str(score)], check=True)
