"""`evogit fsck --repair`: damage as a power cut or a bad disk makes it, on a real run, mended or named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_git
from tests.functional.test_engine import evogit, project, status


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("run"))
    evogit(root, "run", "--candidates", "40", "--deterministic", "--seed", "1", "--quiet")
    return root


@pytest.fixture
def ran(made: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", str(made), str(tmp_path / "run")], check=True)
    run_git("clone", "-q", "--mirror", str(made), str(tmp_path / "backup.git"), cwd=tmp_path)
    return tmp_path / "run"


def journal(at: Path) -> str:
    (ref,) = run_git("for-each-ref", "--format=%(refname)", "refs/evogit/", cwd=at).split()
    return ref


def agents(at: Path) -> dict[str, str]:
    lines = run_git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/evogit/", cwd=at).splitlines()
    return dict(line.split() for line in lines)


def loosen(at: Path) -> None:
    """Every object in a file of its own."""
    packs = at / ".git/objects/pack"
    aside = at.parent / "packs"
    packs.rename(aside)
    packs.mkdir()
    for pack in aside.glob("*.pack"):
        with pack.open("rb") as file:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=at, stdin=file, check=True)


def loose(at: Path, oid: str) -> Path:
    return at / ".git/objects" / oid[:2] / oid[2:]


def repair(at: Path, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_evogit(at, "fsck", "--repair", "--json", *words, code=code))
    return found


def run_evogit(at: Path, *words: str, code: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "evogit", "-C", str(at), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_nothing_to_repair_changes_nothing(ran: Path) -> None:
    before = run_git("for-each-ref", cwd=ran)
    found = repair(ran)
    assert found["clean"]
    assert found["repair"] == []
    assert run_git("for-each-ref", cwd=ran) == before


def test_refs_that_a_power_cut_emptied_come_from_the_journal(ran: Path) -> None:
    before = agents(ran)
    first, second, *_ = before
    (ran / ".git" / first).write_bytes(b"")
    (ran / ".git" / second).write_bytes(b"\0" * 41)
    lock = ran / ".git" / f"{first}.lock"
    lock.write_bytes(b"")
    os.utime(lock, (time.time() - 3600,) * 2)
    assert "names no object" in run_evogit(ran, "fsck", code=1)
    planned = repair(ran, "--dry-run", code=1)["repair"]
    assert [act["state"] for act in planned] == ["planned"] * 3
    assert lock.exists()
    found = repair(ran)
    assert found["clean"]
    assert len(found["repair"]) == 3
    assert agents(ran) == before
    assert not lock.exists()
    assert len(list((ran / ".git/evogit/main/lost").iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 41, b"1234567890" * 4 + b"\n"])
def test_a_journal_without_a_tip_ends_at_its_newest_entry(ran: Path, content: bytes) -> None:
    ref, before = journal(ran), run_git("rev-parse", journal(ran), cwd=ran)
    (ran / ".git" / ref).write_bytes(content)
    run_evogit(ran, "fsck", code=1)
    assert "evogit fsck" in evogit(ran, "run", "--candidates", "5", code=1)
    found = repair(ran)
    assert found["clean"], found
    assert run_git("rev-parse", ref, cwd=ran) == before
    assert status(ran)["candidates"] == 40


def test_a_corrupt_object_is_copied_from_another_repository(ran: Path) -> None:
    loosen(ran)
    tip = run_git("rev-parse", f"{journal(ran)}~3", cwd=ran)
    for oid in (tip, run_git("rev-parse", f"{tip}^2^{{tree}}", cwd=ran)):
        loose(ran, oid).chmod(0o644)
        loose(ran, oid).write_bytes(loose(ran, oid).read_bytes()[:30])  # libgit2 would read for ever
    run_evogit(ran, "fsck", code=1)
    found = repair(ran, "--from", str(ran.parent / "backup.git"))
    assert found["clean"], found
    assert any("copied 2 missing" in act["text"] for act in found["repair"])
    assert status(ran)["candidates"] == 40
    assert len(list((ran / ".git/evogit/main/lost").iterdir())) == 2


def test_entries_behind_a_gap_are_kept(ran: Path) -> None:
    """One entry is gone for good: it is cut out and named, those after it stay on record."""
    loosen(ran)
    ref = journal(ran)
    lines = run_git("log", "--first-parent", "--format=%H %s", ref, cwd=ran).splitlines()
    gone = next(line[:40] for line in lines[5:] if not line[41:].startswith(("accepted", "founded")))
    candidates = {
        line.split()[1]
        for line in run_git("log", "--first-parent", "--format=%P", ref, cwd=ran).splitlines()
        if " " in line
    }
    loose(ran, gone).unlink()
    run_evogit(ran, "fsck", code=1)
    found = repair(ran)
    assert found["clean"], found
    assert any("behind a gap" in act["text"] for act in found["repair"])
    assert any(gone in act["text"] for act in found["repair"])
    kept = {
        line.split()[-1]
        for line in run_git("log", "--format=%P", "--glob=refs/evogit/main/journal/", cwd=ran).splitlines()
        if line
    }
    assert len(candidates - kept) <= 2, "all but the lost entry's own"
    assert status(ran)["candidates"] == 39
    evogit(ran, "run", "--candidates", "5", "--quiet")
    assert status(ran)["candidates"] == 44


def test_an_individual_whose_record_is_gone_is_adopted(ran: Path) -> None:
    """The version stays; its agent goes on from what is on record; the next run evaluates the version and adopts it."""
    loosen(ran)
    ref, branches = journal(ran), agents(ran)
    lines = run_git("log", "--first-parent", "--format=%H %P %s", ref, cwd=ran).splitlines()
    rows = [line.split() for line in lines[1:] if " accepted" in line]
    gone, commit, branch = next((row[0], row[2], name) for row in rows for name, at in branches.items() if at == row[2])
    loose(ran, gone).unlink()
    run_evogit(ran, "fsck", code=1)
    found = repair(ran)
    assert found["clean"], found
    kept = f"refs/heads/evogit/main/human/{branch.rpartition('/')[2]}-{commit[:10]}"
    assert any(commit[:10] in act["text"] and "human/" in act["text"] for act in found["repair"])
    assert agents(ran)[kept] == commit
    assert agents(ran)[branch] != commit
    assert repair(ran)["repair"] == []
    evogit(ran, "run", "--candidates", "5", "--quiet")
    run_evogit(ran, "fsck", code=0)
    said = run_git("log", "--format=%s", "--glob=refs/evogit/main/journal/", cwd=ran)
    assert f"adopted {commit[:10]}" in said


def test_what_cannot_be_rebuilt_is_named(ran: Path) -> None:
    loosen(ran)
    best = status(ran)["best"]["commit"]
    blob = run_git("rev-parse", f"{best}:program.py", cwd=ran)
    loose(ran, blob).chmod(0o644)
    loose(ran, blob).write_bytes(zlib.compress(b"blob 3\0bad"))
    found = repair(ran, code=1)
    assert any(blob in act["text"] and act["state"] == "lost" for act in found["repair"])
    assert not found["clean"]
    assert repair(ran, "--from", str(ran.parent / "backup.git"))["clean"]


def test_a_damaged_cache_is_removed(ran: Path) -> None:
    run_git("commit-graph", "write", "--reachable", cwd=ran)
    graph = ran / ".git/objects/info/commit-graph"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[:300])
    found = repair(ran)
    assert found["clean"]
    assert "commit-graph" in found["repair"][0]["text"]
    assert not graph.exists()


def test_hostile_entries_of_another_host_are_named_and_passed_over(ran: Path) -> None:
    """What whoever may push wrote into a journal of his own: no command breaks on it, and `fsck` says where it is."""
    head = '"writer": "evil-0", "clock": [%d, 0]'
    texts = [
        "[" * 5000,
        f'{{"kind": "goal", "sequence": 1e999, {head % 1}}}',
        f'{{"kind": "goal", "sequence": 2, "calls": 5, {head % 2}}}',
        f'{{"kind": "verified", "sequence": 3, "calls": [{{"input": "1"}}], {head % 3}}}',
        f'{{"kind": "evaluated", "sequence": 4, "status": "ok", "score": "high", {head % 4}}}',
    ]
    tree, parent = run_git("hash-object", "-w", "-t", "tree", "/dev/null", cwd=ran), ""
    parents: list[str] = []
    for text in texts:
        words = ["commit-tree", tree, *(word for each in parents for word in ("-p", each)), "-m", f"s\n\n{text}"]
        parent = run_git(*words, cwd=ran)
        parents = [parent]
    run_git("update-ref", "refs/evogit/main/journal/evil-0", parent, cwd=ran)
    said = run_evogit(ran, "fsck", code=1)
    assert said.count("evil-0") >= 3, said
    assert status(ran)["candidates"] == 40
    for words in (["log"], ["stats"], ["report"], ["review", "--list"], ["run", "--candidates", "3", "--quiet"]):
        run_evogit(ran, *words, code=0)


def damage(path: Path, at: float = 0.5, size: int = 1) -> None:
    """Flip bytes in the middle of a file, or wherever `at` says, as a share of its length."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    for place in range(start, min(start + size, len(data))):
        data[place] ^= 0x55
    path.write_bytes(data)


def test_a_check_reads_files_not_only_their_names(ran: Path) -> None:
    """A blob's bytes are read, wherever they are: loose, in a pack, evidence, or a file that nobody has changed."""
    blobs = [
        line[:40]
        for line in run_git("rev-list", "--objects", f"{journal(ran)}", cwd=ran).splitlines()
        if line.endswith((".py", ".md", ".txt"))
    ]
    loosen(ran)
    for oid in (blobs[0], blobs[-1], run_git("rev-parse", "HEAD:program.py", cwd=ran)):
        before = loose(ran, oid).read_bytes()
        damage(loose(ran, oid))
        said = run_evogit(ran, "fsck", code=1)
        assert f"object {oid} is damaged" in said
        assert "evogit fsck --repair" in said
        loose(ran, oid).write_bytes(before)
    run_evogit(ran, "fsck", code=0)
    run_git("repack", "-adq", cwd=ran)
    (pack,) = (ran / ".git/objects/pack").glob("*.pack")
    damage(pack)
    assert "evogit fsck --repair" in run_evogit(ran, "fsck", code=1)


def cut(path: Path, keep: float) -> None:
    path.chmod(0o644)
    os.truncate(path, int(path.stat().st_size * keep))


def one_pack(at: Path) -> Path:
    """Everything in one pack, as deltas where Git likes."""
    run_git("repack", "-adfq", "--depth=50", cwd=at)
    (pack,) = (at / ".git/objects/pack").glob("*.pack")
    return pack


@pytest.mark.parametrize("at", [pytest.param(0.0, id="head"), 0.02, 0.5, pytest.param(0.999, id="trailer")])
def test_a_pack_with_a_bad_spot_is_rebuilt(ran: Path, at: float) -> None:
    """What can be read of it is kept, the rest comes from elsewhere; the bad file is set aside, not deleted."""
    pack = one_pack(ran)
    total = len(run_git("rev-list", "--all", "--objects", cwd=ran).splitlines())
    damage(pack, at, 8)
    found = repair(ran, "--from", str(ran.parent / "backup.git"))
    assert found["clean"], found
    (act,) = [act["text"] for act in found["repair"] if pack.name in act["text"]]
    kept = int(act.split(" objects of it")[0].rpartition(" ")[2])
    assert kept > total // 3, act
    assert not pack.exists()
    assert len(list((ran / ".git/evogit/main/lost").glob("*.pack"))) == 1
    assert status(ran)["candidates"] == 40
    run_git("fsck", "--full", cwd=ran)
    assert repair(ran)["repair"] == []


@pytest.mark.parametrize("keep", [0.0, 0.6])
def test_a_pack_that_was_cut_off_is_rebuilt(ran: Path, keep: float) -> None:
    pack = one_pack(ran)
    cut(pack, keep)
    (act,) = repair(ran, "--dry-run", code=1)["repair"]
    assert pack.name in act["text"]
    assert pack.exists()
    found = repair(ran, "--from", str(ran.parent / "backup.git"))
    assert found["clean"], found
    assert status(ran)["candidates"] == 40
    assert repair(ran)["repair"] == []


@pytest.mark.parametrize("harm", ["missing", "zeroed", "flipped", "alone"])
def test_an_index_is_made_again(ran: Path, harm: str) -> None:
    pack = one_pack(ran)
    index = pack.with_suffix(".idx")
    index.chmod(0o644)
    if harm == "missing":
        index.unlink()
    elif harm == "alone":
        pack.rename(pack.with_suffix(".away"))
    elif harm == "flipped":
        damage(index, 0.7)
    else:
        index.write_bytes(b"\0" * index.stat().st_size)
    found = repair(ran, *(["--from", str(ran.parent / "backup.git")] if harm == "alone" else []))
    assert found["clean"], found
    assert status(ran)["candidates"] == 40
    assert repair(ran)["repair"] == []
