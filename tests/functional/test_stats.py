"""What is read of a run, and the commands stats, credit and bisect on real repositories."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.evolution.lineage import read_history, read_run
from evogit.evolution.session import read_journals
from evogit.phylogeny.credit import a_word_a_line, blame, changed_paths
from evogit.store.journal import Journal
from evogit.store.linediff import unchanged
from evogit.store.repository import find
from tests.conftest import hermetic_environment, run_git


def evogit(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evogit", *arguments],
        cwd=at,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def says(*arguments: str, at: Path) -> Any:
    done = evogit(*arguments, "--json", at=at)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 candidates on a repository of three commits; never changed by the tests that share it."""
    folder = tmp_path_factory.mktemp("evolved")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hermetic_environment(tmp_path_factory.mktemp("its-home")).items():
            patch.setenv(name, value)
        root = folder / "repo"
        made = evogit("new", str(root), "--task", "online-bin-packing", at=folder)
        assert made.returncode == 0, made.stderr
        done = evogit(
            "run", "--deterministic", "--candidates", "120", "--agents", "tinker:3", "--seed", "3", "-q", at=root
        )
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def ran(evolved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    run_git("clone", "-q", "--mirror", str(evolved), "copy.git", cwd=tmp_path)
    return tmp_path / "copy.git"


def test_a_run_is_read_whole(evolved: Path) -> None:
    objects = find(evolved).objects()
    record = read_run(objects, "main")
    history, population = record.history, record.population
    entries = [e for e in read_journals(objects, "main", {}) if e.kind == "evaluated" and "decision" in e.data]
    assert len(history) == len({e.candidate for e in entries}) + 1 == 121
    for entry in entries:
        i = history.index(entry.candidate or "")
        facts = history.facts(i)
        assert [history.oid(p) for p in history.parents(i)] == entry.data["parents"]
        assert (facts.agent, facts.operator, facts.score) == (
            entry.data["agent"],
            entry.data["operator"],
            entry.data.get("score"),
        )
        assert (facts.decision, facts.step, facts.milliseconds) == (
            entry.data["decision"],
            entry.data["step"],
            entry.clock.milliseconds,
        )
    champion = population.best()
    assert champion is not None
    assert history.oid(history.best or 0) == champion.commit
    assert history.oid(history.base or 0) == population.base
    assert {history.facts(i).decision for i in history.living} <= {"accepted", ""}
    assert sum(a.count for a in record.attempts) == sum(population.rejected.values()) - 120 + population.accepted
    part = read_history(objects, "main", [champion.commit])
    assert {part.oid(i) for i in range(len(part))} == {
        history.oid(i) for i in range(len(history)) if history.is_ancestor(i, history.best or 0)
    }


def test_a_persons_commits_and_decisions_belong_to_the_history(ran: Path) -> None:
    objects = find(ran).objects()
    before = read_history(objects, "main")
    victim = before.oid(max(before.living))
    tree = run_git("rev-parse", f"{victim}^{{tree}}", cwd=ran)
    mine = run_git("commit-tree", tree, "-p", victim, "-m", "By hand", cwd=ran)
    run_git("update-ref", "refs/heads/evogit/main/promoted/good", mine, cwd=ran)
    journal = Journal(objects, "main", "reviewer-0", lambda: 2_000_000_000_000)
    for decision in ("prune", "restore", "prune"):
        journal.append("decided", decision, {"decision": decision}, candidate=victim)
    journal.publish()
    history = read_history(find(ran).objects(), "main")
    assert len(history) == len(before) + 1
    i = history.index(mine)
    assert [history.oid(p) for p in history.parents(i)] == [victim]
    assert (history.facts(i).summary, history.facts(i).agent) == ("By hand", "Ada Author")
    assert history.promoted == {i: "good"}
    pruned = {history.oid(p) for p in history.pruned}
    assert victim in pruned
    assert all(history.descendants(history.index(victim))[history.index(oid)] for oid in pruned)
    assert mine not in pruned, "a promoted version lives on"


def test_candidates_speak_for_themselves_without_journals(evolved: Path, tmp_path: Path) -> None:
    run_git("clone", "-q", "--bare", str(evolved), "part.git", cwd=tmp_path)  # brings branches only
    history = read_history(find(tmp_path / "part.git").objects())
    known = read_history(find(evolved).objects(), "main")
    grown = [i for i in history.living if known.index(history.oid(i)) != known.base]
    assert grown
    for i in grown:
        mine, full = history.facts(i), known.facts(known.index(history.oid(i)))
        assert (mine.score, mine.operator, mine.summary[:40]) == (full.score, full.operator, full.summary[:40])


def test_a_run_is_as_old_as_its_founding_whatever_its_first_commit_says(evolved: Path) -> None:
    record = read_run(find(evolved).objects(), "main")
    history, population = record.history, record.population
    assert history.base is not None
    assert history.times[history.base] == history.times.min() == population.first
    for spread in says("stats", at=evolved)["takeover"]:
        assert (spread["whole"] or spread["half"] or 0) <= population.last - population.first


def test_stats_says_everything(evolved: Path) -> None:
    found = says("stats", at=evolved)
    assert {"living", "landscape", "operators", "agents", "standstill", "takeover"} <= found.keys()
    assert found["living"]["commits"] == 121
    kinds = ("beneficial", "neutral", "deleterious", "failed")
    assert sum(found["landscape"][kind] for kind in kinds) == 120
    assert sum(row["accepted"] for row in found["operators"]) == says("status", at=evolved)["accepted"]
    plain = evogit("stats", at=evolved)
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout
    assert "phylogenetic diversity" in plain.stdout
    assert evogit("stats", "--run", "other", at=evolved).returncode == 2


def test_stats_of_plain_history(repo: Path) -> None:
    found = says("stats", at=repo)
    assert found["living"]["commits"] == 1
    assert found.keys() == {"living"}


def test_credit_sums_to_the_champion(evolved: Path) -> None:
    found = says("credit", at=evolved)
    best = says("best", at=evolved)["commit"]
    assert found["commit"] == best
    for path in {at["path"] for at in found["lines"]}:
        data = run_git("show", f"{best}:{path}", cwd=evolved)
        assert len(data.split("\n")) == sum(at["path"] == path for at in found["lines"])
    assert sum(row["lines"] for row in found["commits"]) == len(found["lines"])
    earned = sum(row["words"] for row in found["commits"] if not row["start"])
    assert earned == sum(row["words"] for row in found["operators"]) == sum(row["words"] for row in found["agents"])
    assert "by operator" in evogit("credit", at=evolved).stdout
    assert "the start" in evogit("credit", "best", "--lines", at=evolved).stdout
    assert evogit("credit", "best", "no-such-file", at=evolved).returncode == 2
    assert evogit("credit", "no-such-commit", at=evolved).returncode == 2


def test_credit_of_plain_history(repo: Path) -> None:
    found = says("credit", "HEAD", "README.md", at=repo)
    head = run_git("rev-parse", "HEAD", cwd=repo)
    assert found["lines"] == [{"path": "README.md", "line": 1, "commit": head}]


def test_bisect_finds_the_largest_step(evolved: Path) -> None:
    found = says("bisect", "-n", "100", at=evolved)
    log = {
        row["commit"]: row
        for row in map(json.loads, evogit("log", "-n", "500", "--json", at=evolved).stdout.split("\n")[:-1])
    }
    assert found["changes"]
    for step in found["changes"]:
        assert step["change"] == step["after"] - step["before"]
        assert step["after"] == log[step["commit"]]["score"]
    sizes = [abs(step["change"]) for step in found["changes"]]
    assert sizes == sorted(sizes, reverse=True)
    unknown = evogit("bisect", "--metric", "beauty", at=evolved)
    assert (unknown.returncode, "score" in unknown.stderr) == (2, True)


# Blame against Git's


def random_text(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """`lines` after some insertions, deletions, moves and changes."""
    lines = list(lines)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(lines))
        match rng.randrange(4):
            case 0:
                lines[at:at] = [b"%d" % rng.randrange(30) for _ in range(rng.randint(1, 4))]
            case 1:
                del lines[at : at + rng.randint(1, 3)]
            case 2:
                lines[at : at + 1] = [b"%d" % rng.randrange(1000)]
            case _:
                moved = lines[at : at + 3]
                del lines[at : at + 3]
                place = rng.randint(0, len(lines))
                lines[place:place] = moved
    return lines


def joined(rng: random.Random, lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + (b"\n" if lines and rng.random() < 0.9 else b"")


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**9))
def test_blame_agrees_with_git(seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run_git("init", "-q", "--bare", ".", cwd=root)
        texts: list[dict[str, list[bytes]]] = []
        stream = b""
        for i in range(14):
            parents = rng.sample(range(max(0, i - 4), i), min(i, rng.choice((1, 1, 2, 2, 3))))
            text = {}
            for path in ("a.txt", "d/b.txt"):
                sources = [texts[p][path] for p in parents] or [[b"%d" % n for n in range(12)]]
                mixed = rng.choice(sources)
                if len(sources) > 1 and rng.random() < 0.7:
                    cut = rng.randint(0, len(mixed))
                    mixed = mixed[:cut] + rng.choice(sources)[cut:]
                text[path] = random_text(rng, mixed) if rng.random() < 0.7 else mixed
            texts.append(text)
            stream += b"commit refs/heads/main\nmark :%d\ncommitter A <a@b> %d +0000\ndata 1\nx\n" % (i + 1, 1000 + i)
            for k, parent in enumerate(parents):
                stream += b"%s :%d\n" % (b"merge" if k else b"from", parent + 1)
            for path, lines in text.items():
                data = joined(rng, lines)
                stream += b"M 644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
        subprocess.run(["git", "fast-import", "--quiet", "--force"], input=stream, cwd=root, check=True)
        objects = find(root).objects()
        history = read_history(objects, None, ["main"])
        tip = history.index(run_git("rev-parse", "main", cwd=root))
        paths = changed_paths(history, objects, tip)
        assert sorted(paths) == ["a.txt", "d/b.txt"]
        found = blame(history, objects, tip, paths)
        for path in paths:
            said = run_git("blame", "--porcelain", "main", "--", path, cwd=root).split("\n")
            theirs = [line.split()[0] for line in said if len(line) > 40 and line[40] == " " and line[:40].isalnum()]
            assert [history.oid(line.commit) for line in found if line.path == path] == theirs


LINES = st.lists(st.sampled_from([b"a", b"b", b"", b"\0", b"c\r"]), max_size=12)


@given(LINES, LINES, st.booleans(), st.booleans())
def test_unchanged_lines_are_equal_and_in_order(one: list[bytes], other: list[bytes], end: bool, finish: bool) -> None:
    old, new = b"\n".join(one) + b"\n" * end, b"\n".join(other) + b"\n" * finish
    before, after = old.split(b"\n"), new.split(b"\n")
    at_old = at_new = 0
    for first_old, first_new, count in unchanged(old, new):
        assert first_old >= at_old
        assert first_new >= at_new
        assert before[first_old : first_old + count] == after[first_new : first_new + count]
        at_old, at_new = first_old + count, first_new + count
    if old == new and old:
        assert [run[:2] for run in unchanged(old, new)] == [(0, 0)]


def test_words_stand_alone() -> None:
    assert a_word_a_line(b"x1 = (2.5*y)\n") == b"x1\n=\n(\n2\n.\n5\n*\ny\n)\n"
