"""The store in real repositories: nothing of the user's is touched, and every kind of repository works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evogit.errors import RefMoved, RunBusy, StoreError
from evogit.store import packs, refs
from evogit.store.journal import Clock, Journal, at_place, compose, parse, places, read
from evogit.store.objects import EMPTY_TREE, Identity, Objects
from evogit.store.repository import Repository, RunLock, create, find, repack
from tests.conftest import run_git

ADA = Identity("Ada", "ada@example.org", 1_700_000_000)


def photograph(root: Path) -> dict[str, object]:
    """Everything of the user's: checkout, index, HEAD, stash, hooks, configuration, branches that are not ours."""
    files = {
        str(path.relative_to(root)): (
            path.lstat().st_mtime_ns,
            path.lstat().st_mode,
            path.is_file() and path.read_bytes(),
        )
        for path in root.rglob("*")
        if ".git" not in path.relative_to(root).parts
    }
    git = root / ".git"
    own = {name: (git / name).read_bytes() for name in ("HEAD", "index", "config") if (git / name).exists()}
    hooks = {path.name: path.read_bytes() for path in (git / "hooks").glob("*")}
    all_refs = run_git("for-each-ref", cwd=root).splitlines()
    others = [line for line in all_refs if "/evogit/" not in line]
    return {"files": files, "own": own, "hooks": hooks, "refs": others, "stash": run_git("stash", "list", cwd=root)}


def journal_some(repository: Repository, count: int = 5) -> tuple[Objects, Journal]:
    """A few candidates with entries and an individual, published."""
    objects = repository.objects()
    base = objects.resolve("HEAD") or objects.put_commit(EMPTY_TREE, [], ADA, "empty\n")
    objects.put(packs.TREE, b"")
    journal = Journal(objects, "main", "host-0", lambda: 1_700_000_000_000)
    journal.resume()
    tree = objects.commit(base).tree
    ref, parent, old = refs.individual("main", "host", "a"), base, objects.ref(refs.individual("main", "host", "a"))
    for number in range(count):
        tree = objects.edit(tree, {"new/file.txt": b"%d\n" % (journal.sequence + number)})
        parent = objects.put_commit(tree, [parent], ADA, f"candidate {number}\n")
        data = {"tree": tree, "status": "ok", "score": number}
        journal.append("evaluated", f"candidate {number}", data, candidate=parent, evidence={"stdout.txt": b"out"})
        journal.move(ref, old, parent)
        old = parent
    assert journal.publish() == {}
    return objects, journal


def test_nothing_of_the_users_is_touched(repo: Path) -> None:
    (repo / "dirty.txt").write_text("mine")
    run_git("add", "dirty.txt", cwd=repo)
    run_git("stash", cwd=repo)
    (repo / "untracked.txt").write_text("mine too")
    run_git("branch", "feature/x", cwd=repo)
    before = photograph(repo)
    repository = find(repo)
    journal_some(repository)
    assert repack(repository) is None
    journal_some(repository)
    assert photograph(repo) == before
    run_git("fsck", "--strict", cwd=repo)


def test_every_entry_and_candidate_survives_git_gc(repo: Path) -> None:
    repository = find(repo)
    objects, journal = journal_some(repository)
    tip = journal.tip
    assert tip is not None
    run_git("gc", "--prune=now", "--quiet", cwd=repo)
    entries = list(read(objects, tip))
    assert [entry.sequence for entry in entries] == [4, 3, 2, 1, 0]
    for entry in entries:
        assert entry.candidate is not None
        assert objects.commit(entry.candidate).tree == entry.data["tree"]
        assert run_git("cat-file", "-p", f"{entry.oid}:stdout.txt", cwd=repo) == "out"
    journal_some(repository)


def test_a_tree_that_is_still_evaluated_survives_git_gc(repo: Path) -> None:
    """What was flushed before a commit led there is gone after a garbage collection: the commit brings it again."""
    objects, journal = journal_some(find(repo), count=1)
    base = objects.resolve("HEAD")
    assert base is not None
    tree = objects.edit(objects.commit(base).tree, {"a/b/slow.txt": b"slow\n", "a/c.txt": b"c\n"})
    with objects.holding(tree), objects.holding(tree):
        journal.append("noted", "meanwhile", {"text": "t"})
        journal.publish()
        assert objects.has(tree)
        run_git("gc", "-q", "--prune=now", cwd=repo)
        child = objects.put_commit(tree, [base], ADA, "slow\n")
        journal.append("evaluated", "slow", {"tree": tree, "status": "ok", "score": 1}, candidate=child)
        journal.publish()
    assert run_git("show", f"{child}:a/b/slow.txt", cwd=repo) == "slow"
    run_git("fsck", "--full", "--strict", cwd=repo)


def test_a_ref_that_is_locked_for_a_moment_is_waited_for(repo: Path) -> None:
    objects, journal = journal_some(find(repo), count=1)
    lock = repo / ".git" / f"{journal.ref}.lock"
    lock.touch()
    journal.append("noted", "n", {"text": "t"})
    opener = threading.Timer(0.3, lock.unlink)  # as `git gc`, which locks each ref while it packs them
    opener.start()
    assert journal.publish() == {}
    opener.join()
    assert objects.ref(journal.ref) == journal.tip


def test_bare_repository(tmp_path: Path, repo: Path) -> None:
    bare = tmp_path / "bare.git"
    run_git("clone", "-q", "--bare", str(repo), str(bare), cwd=tmp_path)
    repository = find(bare)
    assert repository.root is None
    _, journal = journal_some(repository)
    assert run_git("rev-parse", journal.ref, cwd=bare) == journal.tip


def test_linked_worktrees_share_the_run(tmp_path: Path, repo: Path) -> None:
    linked = tmp_path / "linked"
    run_git("worktree", "add", "-q", str(linked), "-b", "other", cwd=repo)
    journal_some(find(repo))
    again = find(linked)
    assert again.private == find(repo).private
    assert again.runs() == ["main"]
    assert again.host() == find(repo).host()


def test_odd_names_modes_bytes_and_submodules_are_preserved(tmp_path: Path) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    run_git("init", "-q", "-b", "weiße/ branch".replace(" ", ""), cwd=root)
    (root / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    (root / "latin1.txt").write_bytes(b"caf\xe9\n")
    (root / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("run.sh")
    (root / "a").mkdir()
    (root / "a" / "x").write_text("x")
    (root / "a.b").write_text("y")
    (root / "a0").write_text("z")
    run_git("add", "-A", cwd=root)
    run_git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub", cwd=root)
    run_git("commit", "-qm", "odd", cwd=root)
    objects = find(root).objects()
    head = objects.resolve("HEAD")
    assert head is not None
    tree = objects.commit(head).tree
    new = objects.edit(tree, {"a/x": b"changed\r\n", "run.sh": b"#!/bin/sh\ntrue\n", "a/deep/er": b"n"})
    objects.flush()
    before = run_git("ls-tree", "-r", "-z", tree, cwd=root).split("\0")
    after = run_git("ls-tree", "-r", "-z", new, cwd=root).split("\0")
    changed = {line.partition("\t")[2] for line in set(before) ^ set(after)}
    assert changed == {"a/x", "run.sh", "a/deep/er"}
    assert any(line.startswith("100755") and line.endswith("\trun.sh") for line in after)
    assert objects.edit(new, {"a/deep/er": None, "a/x": b"x", "run.sh": b"#!/bin/sh\n"}) == tree
    run_git("fsck", "--strict", cwd=root)


def test_sha256_is_refused_with_what_to_type(tmp_path: Path) -> None:
    run_git("init", "-q", "--object-format=sha256", str(tmp_path / "x"), cwd=tmp_path)
    with pytest.raises(StoreError, match="git init --object-format=sha1"):
        find(tmp_path / "x")


def test_no_repository_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="evogit init"):
        find(tmp_path)


def test_a_branch_named_evogit_is_a_clear_error(repo: Path) -> None:
    run_git("branch", "evogit", cwd=repo)
    objects = find(repo).objects()
    head = objects.resolve("HEAD")
    assert head is not None
    with pytest.raises(StoreError, match="git branch -m evogit"):
        objects.move("refs/heads/evogit/main/host/a", None, head)


def test_compare_and_swap(repo: Path) -> None:
    objects = find(repo).objects()
    head = objects.resolve("HEAD")
    assert head is not None
    child = objects.put_commit(objects.commit(head).tree, [head], ADA, "child\n")
    objects.flush()
    objects.move("refs/heads/evogit/main/h/a", None, head)
    with pytest.raises(RefMoved):
        objects.move("refs/heads/evogit/main/h/a", None, child)
    run_git("update-ref", "refs/heads/evogit/main/h/a", child, cwd=repo)
    with pytest.raises(RefMoved):
        objects.move("refs/heads/evogit/main/h/a", head, child)
    assert run_git("rev-parse", "evogit/main/h/a", cwd=repo) == child


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../x", ".git/config", "a/.GIT/x", ".git./x", "a//b", "", "a\\b", "a\0"]
)
def test_paths_that_leave_the_tree_are_refused(repo: Path, path: str) -> None:
    with pytest.raises(StoreError, match="path"):
        find(repo).objects().edit(EMPTY_TREE, {path: b""})


def test_two_processes_never_share_a_writer(repo: Path) -> None:
    repository = find(repo)
    script = (
        "import sys, pathlib\nfrom evogit.store.repository import find, RunLock\n"
        "lock = RunLock(find(pathlib.Path(sys.argv[1])), 'main')\nprint(lock.acquire(alongside=True), flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(repo)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    numbers = []
    for process in processes:
        assert process.stdout is not None
        numbers.append(int(process.stdout.readline()))
    assert sorted(numbers) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(RunBusy, match="--alongside"):
        RunLock(repository, "main").acquire(alongside=False)
    for process in processes:
        process.kill()
        process.communicate()
    lock = RunLock(repository, "main")
    assert lock.acquire(alongside=False) == 0
    lock.release()


def test_a_full_disk_loses_nothing_that_waits(repo: Path) -> None:
    repository = find(repo)
    folder = repository.common_dir / "objects" / "pack"
    objects = repository.objects()
    oid = objects.put_blob(b"precious")
    folder.rename(folder.with_name("aside"))
    folder.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write"):
        objects.flush()
    folder.unlink()
    folder.with_name("aside").rename(folder)
    keep = objects.flush()
    assert keep is not None
    assert run_git("cat-file", "-p", oid, cwd=repo) == "precious"


def test_what_is_no_entry_is_said_to_be_none() -> None:
    with pytest.raises(StoreError, match="evogit fsck"):
        parse("1" * 40, EMPTY_TREE, (), "a message of somebody else's\n")
    for clock, sequence in (Clock(1 << 62), 0), (Clock(0, 1 << 62), 0), (Clock(0), 1 << 62), (Clock(-1), 0):
        with pytest.raises(StoreError, match="out of range"):
            parse("1" * 40, EMPTY_TREE, (), compose("noted", "s", "w", sequence, clock, {}))


def test_entries_have_their_places_however_they_are_spelled(repo: Path) -> None:
    """What looks like an entry only at its head is passed over; those before it are found."""
    objects, journal = journal_some(find(repo), 2)
    previous, candidate = journal.tip, objects.resolve("HEAD")
    assert previous is not None
    assert candidate is not None
    odd = compose("evaluated", "x", "host-0", 2, Clock(1_700_000_000_001), {"a": "b"})
    subject, _, document = odd.partition("\n\n")
    spelled = f"{subject}\n\n{json.dumps(json.loads(document), indent=1)}"
    for message in (spelled, odd.replace('"a": "b"', '"a": b'), "no entry at all"):
        previous = objects.put_commit(EMPTY_TREE, [previous, candidate], ADA, message)
    rows = list(places(objects, previous))
    assert [place.sequence for place in rows] == [2, 2, 1, 0]
    found = [entry for place in rows if (entry := at_place(objects, place)) is not None]
    assert found == list(read(objects, previous, lenient=True))
    assert [(e.clock.milliseconds, e.clock.count, e.writer, e.sequence) for e in found] == [
        place[:4] for place in rows[1:]
    ]


def test_create_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError, match="not empty"):
        create(tmp_path, {"a": (b"", False)}, "m")
