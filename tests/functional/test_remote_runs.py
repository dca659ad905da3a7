"""Hosts that evolve at the same time over one remote: they meet, go on while it is away, and check claims."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evogit.evolution.session import read_population
from evogit.store.repository import find
from tests.agreement import essence
from tests.conftest import run_git
from tests.functional.test_engine import evogit, status
from tests.functional.test_sync import champion, clone, origin  # noqa: F401
from tests.servers import KINDS, Missing, Server, serving


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


@pytest.fixture
def served(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    origin: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    """`origin` behind a real server of the kind that the test asks for."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(serving(request.param, origin, tmp_path / "server"))
        except Missing as missing:
            pytest.skip(str(missing))
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        yield server


def folded(at: Path) -> dict[str, object]:
    return essence(read_population(find(at).objects(), "main"))


@pytest.mark.parametrize("served", KINDS, indirect=True)
def test_hosts_at_once_over_any_server(tmp_path: Path, origin: Path, served: Server) -> None:  # noqa: F811
    one, other = clone(served.address, tmp_path / "one"), tmp_path / "other"
    evogit(one, "run", "--candidates", "2", "--quiet", "--remote", "origin")
    evogit(tmp_path, "join", served.address, str(other))
    options = ("--candidates", "40", "--jobs", "1", "--remote", "origin", "--sync-every", "300ms", "--seed")
    with begin(one, *options, "1") as first, begin(other, *options, "2") as second:
        said = [finish(process) for process in (first, second)]
    evogit(one, "sync")
    evogit(other, "sync")
    mine, others = folded(one), folded(other)
    for field, found in mine.items():
        assert found == others[field], field
    assert champion(one) == champion(other)
    acknowledged = candidates(said[0]) | candidates(said[1])
    assert sum(row["candidates"] for row in status(other)["hosts"]) == 82
    there = run_git("rev-list", "--all", cwd=origin).split()
    assert acknowledged <= set(there), "acknowledged, so it is at the remote"
    for at in (one, other):
        assert "clean" in evogit(at, "fsck")


@pytest.mark.parametrize("served", ["path", "ssh"], indirect=True)
def test_a_server_that_vanishes_is_caught_up_with(tmp_path: Path, origin: Path, served: Server) -> None:  # noqa: F811
    one, other = clone(served.address, tmp_path / "one"), clone(served.address, tmp_path / "other")
    lines: list[dict[str, Any]] = []
    with begin(one, "--seconds", "150s", "--jobs", "1", "--remote", "origin", "--sync-every", "200ms") as process:

        def wait_for(event: str, text: str) -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(json.loads(line))
                if lines[-1]["event"] == event and text in lines[-1].get("text", text):
                    return
            pytest.fail(f"the run ended before {event} {text}: {lines[-1]}")

        wait_for("candidate", "")
        served.stop()
        wait_for("notice", "The agents go on")
        at_once = len(candidates(lines))
        wait_for("candidate", "")
        assert len(candidates(lines)) > at_once
        served.start()
        wait_for("notice", "answers again")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        lines += map(json.loads, process.stdout)
    assert process.returncode == 130
    assert candidates(lines) <= set(run_git("rev-list", "--all", cwd=origin).split()), "caught up"
    evogit(other, "sync")
    assert folded(one) == folded(other)


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
