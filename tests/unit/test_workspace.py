"""A warm folder holds exactly the tree it was asked for, whatever happened in it before."""

from __future__ import annotations

import mmap
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.evaluation.inside.processes import empty
from evogit.evaluation.workspace import Workspace, place, sweep
from evogit.store import repository
from evogit.store.objects import EXECUTABLE, FILE, LINK, Objects
from evogit.values import Oid

SUBMODULE = 0o160000
Files = dict[str, tuple[bytes, int]]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return repository.create(tmp_path_factory.mktemp("store") / "r", {"x": (b"", False)}, "start").objects()


def workspace(folder: Path, objects: Objects, overlay: dict[str, bytes] | None = None) -> Workspace:
    space = Workspace(folder / "candidate", folder / "scratch", objects, overlay or {})
    space.prepare()
    return space


def photograph(folder: Path) -> Files:
    """Every file and link, and every folder that is empty (as a submodule is)."""
    found: Files = {}
    for at, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(at) / name
            key, mode = str(path.relative_to(folder)), path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[key] = (os.fsencode(path.readlink()), LINK)
            elif stat.S_ISREG(mode):
                found[key] = (path.read_bytes(), EXECUTABLE if mode & 0o100 else FILE)
            elif not any(path.iterdir()):
                found[key] = (b"", SUBMODULE)
    return found


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Where workspaces really are: on tmpfs, where there is one."""
    found = place(tmp_path)
    yield found
    empty(str(found))
    found.rmdir()


def tree(objects: Objects, files: Files) -> Oid:
    return objects.put_tree(files)


ODD: Files = {
    "crlf.txt": (b"a\r\nb\r\n", FILE),
    os.fsdecode(b"caf\xe9"): (b"\xff\xfe\x00", FILE),
    "bin/run": (b"#!/bin/sh\n", EXECUTABLE),
    "link": (b"bin/run", LINK),
    "dangling": (b"/no/such/place", LINK),
    "empty": (b"", FILE),
    "a/b/c/d.txt": (b"deep", FILE),
}


def test_files_links_modes_and_names_byte_for_byte(tmp_path: Path, objects: Objects) -> None:
    space = workspace(tmp_path, objects)
    space.show(tree(objects, ODD))
    assert photograph(space.folder) == ODD


def test_a_submodule_is_an_empty_folder(tmp_path: Path, objects: Objects) -> None:
    plain = tree(objects, {"x": (b"1", FILE), "sub": (b"a file first", FILE)})
    entries = dict(objects.tree(plain))
    entries[b"sub"] = (SUBMODULE, "1" * 40)
    raw = b"".join(b"%o %s\0%s" % (mode, name, bytes.fromhex(oid)) for name, (mode, oid) in sorted(entries.items()))
    pinned = objects.put(2, raw)
    space = workspace(tmp_path, objects)
    space.show(plain)
    space.show(pinned)
    assert photograph(space.folder) == {"x": (b"1", FILE), "sub": (b"", SUBMODULE)}
    space.show(plain)
    assert photograph(space.folder)["sub"] == (b"a file first", FILE)


# Few names, so that files, folders and links take each other's places.
PATHS = st.sampled_from(["a", "a/b", "a/b/c", "b", "b/a", "c", "c/a/b"])
ENTRIES = st.tuples(st.sampled_from([b"", b"1", b"a", b"b/a"]), st.sampled_from([FILE, EXECUTABLE, LINK]))


def possible(files: Files) -> Files:
    """Without the paths that would need a file to be a folder, and without empty links."""
    return {
        path: (data or b"x", mode) if mode == LINK else (data, mode)
        for path, (data, mode) in files.items()
        if not any(path.startswith(other + "/") for other in files)
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(versions=st.lists(st.dictionaries(PATHS, ENTRIES, min_size=1).map(possible), min_size=2, max_size=4))
def test_every_tree_follows_on_every_other(
    tmp_path_factory: pytest.TempPathFactory, objects: Objects, versions: list[Files]
) -> None:
    space = workspace(tmp_path_factory.mktemp("space"), objects)
    for files in versions:
        space.show(tree(objects, files))
        assert photograph(space.folder) == files


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(versions=st.lists(st.dictionaries(PATHS, ENTRIES, min_size=1).map(possible), min_size=2, max_size=4))
def test_the_overlay_wins_over_every_tree(
    tmp_path_factory: pytest.TempPathFactory, objects: Objects, versions: list[Files]
) -> None:
    overlay = {"a/b": b"mine", "c": b"also"}
    space = workspace(tmp_path_factory.mktemp("space"), objects, overlay)
    for files in versions:
        space.show(tree(objects, files))
        found = photograph(space.folder)
        hidden = ("a", "a/b", "a/b/c", "c", "c/a/b")
        rest = {path: entry for path, entry in files.items() if path not in hidden}
        assert found == rest | {path: (data, FILE) for path, data in overlay.items()}


def _hide(folder: Path) -> None:
    (folder / "n/m").mkdir(parents=True)
    (folder / "n/m/x").write_text("left")
    (folder / "n/m").chmod(0)
    (folder / "n").chmod(0)
    (folder / "a/b/left").write_text("in a folder of the tree")
    (folder / "a/b").chmod(0)
    folder.chmod(0)


def _dig(folder: Path) -> None:
    home = Path.cwd()
    os.chdir(folder)
    for _ in range(3000):
        Path("down").mkdir()
        os.chdir("down")
    os.chdir(home)


def _map(folder: Path) -> None:
    with open(folder / "crlf.txt", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = b"#" * len(view)


def _relink(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("/etc")
    (folder / "a/b/c/d.txt").unlink()
    (folder / "a/b/c").rmdir()
    (folder / "a/b/c").symlink_to("/etc", target_is_directory=True)


def _swap(folder: Path) -> None:
    (folder / "empty").unlink()
    (folder / "empty").mkdir()
    (folder / "empty/full").write_text("x")
    os.mkfifo(folder / "pipe")


def _same_length(folder: Path) -> None:
    (folder / "crlf.txt").write_bytes(b"x\r\ny\r\n")


def _modes(folder: Path) -> None:
    (folder / "bin/run").chmod(0o600)
    (folder / "empty").chmod(0o777)


@pytest.mark.parametrize("damage", [_hide, _dig, _map, _relink, _swap, _same_length, _modes])
def test_everything_a_candidate_did_is_undone(memory: Path, objects: Objects, damage: Callable[[Path], None]) -> None:
    space = workspace(memory, objects, {"judge.py": b"#!/usr/bin/python\n"})
    space.show(tree(objects, ODD))
    clean = photograph(space.folder)
    for _ in range(2):
        space.photograph()
        damage(space.folder)
        space.restore()
        assert photograph(space.folder) == clean
    space.show(tree(objects, ODD | {"crlf.txt": (b"new", FILE)}))
    assert photograph(space.folder) == clean | {"crlf.txt": (b"new", FILE)}


def test_many_changes_at_random_are_undone(tmp_path: Path, objects: Objects) -> None:
    """Writes within one tick of the clock, of the same length: no file's times tell of them."""
    rng = random.Random(5)
    files = {f"d{n % 7}/f{n}": (b"%04d" % n, FILE) for n in range(200)}
    space = workspace(tmp_path, objects)
    space.show(tree(objects, files))
    for _ in range(5):
        space.photograph()
        for path in rng.sample(sorted(files), 20):
            (space.folder / path).write_bytes(b"%04d" % rng.randrange(10_000))
        space.restore()
        assert photograph(space.folder) == files


def test_a_tree_that_cannot_be_read_leaves_a_folder_that_can_be_used(tmp_path: Path, objects: Objects) -> None:
    good = tree(objects, {"x": (b"1", FILE)})
    raw = b"100644 a\0" + bytes.fromhex(objects.put_blob(b"a")) + b"100644 b\0" + bytes(20)
    space = workspace(tmp_path, objects)
    space.show(good)
    with pytest.raises(Exception, match="0000000"):
        space.show(objects.put(2, raw))
    space.show(good)
    assert photograph(space.folder) == {"x": (b"1", FILE)}


def test_what_goes_while_it_is_swept_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "evogit-99999999-x").symlink_to(tmp_path / "nowhere")  # listed, and not there when it is looked at
    (tmp_path / "evogit-99999999-y").mkdir()
    assert str(tmp_path / "evogit-99999999-y") in sweep(tmp_path)


def test_sweep_takes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    mine = place(tmp_path)
    dead = tmp_path / "evogit-99999999-x"
    (dead / "deep").mkdir(parents=True)
    (dead / "deep").chmod(0)
    (tmp_path / "evogit-notes-1").mkdir()
    try:
        assert str(dead) in sweep(tmp_path)
        assert not dead.exists()
        assert mine.exists()
        assert (tmp_path / "evogit-notes-1").exists()
    finally:
        mine.rmdir()
