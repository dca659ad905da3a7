"""A run in one file: written whole or not at all, read back by plain Git and by us, and never trusted unread."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.errors import StoreError, UsageError
from evogit.store import bundle, refs
from evogit.store.repository import find
from tests.conftest import run_git
from tests.functional.test_store import journal_some


def test_a_run_goes_into_a_file_and_comes_back(repo: Path, tmp_path: Path) -> None:
    here = find(repo)
    _, journal = journal_some(here)
    run_git("tag", "evogit/main/pin/one", journal.tip or "", cwd=repo)
    wanted = bundle.refs_of(here.objects(), "main")
    assert len(wanted) == 3
    file = tmp_path / "run.bundle"
    assert bundle.write(here, wanted, file) == wanted == bundle.prove(here, file)
    assert bundle.runs_in(wanted) == ["main"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repo", "run.bundle"]

    run_git("init", "-q", "plain", cwd=tmp_path)  # the instruction that people are given
    run_git("fetch", "-q", str(file), "refs/*:refs/*", cwd=tmp_path / "plain")
    assert bundle.refs_of(find(tmp_path / "plain").objects(), "main") == wanted

    run_git("init", "-q", "other", cwd=tmp_path)
    there = find(tmp_path / "other")
    assert bundle.fetch(there, file, "main") == ()
    assert bundle.refs_of(there.objects(), "main") == wanted
    with pytest.raises(UsageError, match=r"no run 'other' .*main"):
        bundle.fetch(there, file, "other")


def test_what_grew_elsewhere_is_not_overwritten(repo: Path, tmp_path: Path) -> None:
    here = find(repo)
    _, journal = journal_some(here)
    later = tmp_path / "later.bundle"
    run_git("clone", "-q", "--mirror", str(repo), str(tmp_path / "copy"), cwd=tmp_path)
    copy = find(tmp_path / "copy")
    journal_some(copy, 2)
    bundle.write(copy, bundle.refs_of(copy.objects(), "main"), later)
    journal.append("noted", "grew here", {"text": "grew here"})
    journal.publish()
    before = bundle.refs_of(here.objects(), "main")
    assert journal.ref in bundle.fetch(here, later, "main")
    assert bundle.refs_of(here.objects(), "main") == before


def test_only_what_is_new_for_who_has_the_rest(repo: Path, tmp_path: Path) -> None:
    here = find(repo)
    _, journal = journal_some(here, 50)
    run_git("clone", "-q", "--mirror", str(repo), str(tmp_path / "copy"), cwd=tmp_path)
    known = journal.tip
    journal_some(here, 1)
    wanted = bundle.refs_of(here.objects(), "main")
    bundle.write(here, wanted, tmp_path / "all.bundle")
    bundle.write(here, wanted, tmp_path / "new.bundle", [known or ""])
    assert (tmp_path / "new.bundle").stat().st_size < (tmp_path / "all.bundle").stat().st_size / 4
    run_git("init", "-q", "other", cwd=tmp_path)
    with pytest.raises(StoreError, match="lacks these prerequisite"):
        bundle.fetch(find(tmp_path / "other"), tmp_path / "new.bundle", "main")
    assert bundle.fetch(find(tmp_path / "copy"), tmp_path / "new.bundle", "main") == (
        refs.individual("main", "host", "a"),
    )
    assert find(tmp_path / "copy").objects().ref(refs.journal("main", "host-0")) == wanted[journal.ref]


def test_a_damaged_file_is_found(repo: Path, tmp_path: Path) -> None:
    here = find(repo)
    journal_some(here)
    file = tmp_path / "run.bundle"
    bundle.write(here, bundle.refs_of(here.objects(), "main"), file)
    whole = file.read_bytes()
    for damaged in (whole[:-200], whole[: len(whole) // 2] + b"\0\1\2" + whole[len(whole) // 2 + 3 :]):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match="damaged"):
            bundle.prove(here, file)
    file.write_bytes(b"no bundle")
    with pytest.raises(UsageError, match="not a Git bundle"):
        bundle.contents(file)
    with pytest.raises(UsageError, match="no such file"):
        bundle.contents(tmp_path / "none")


def test_a_bundle_that_cannot_be_written_leaves_nothing(repo: Path, tmp_path: Path) -> None:
    here = find(repo)
    journal_some(here)
    with pytest.raises(StoreError, match="No such file"):
        bundle.write(here, bundle.refs_of(here.objects(), "main"), tmp_path / "none/run.bundle")
    with pytest.raises(StoreError, match="no bundle was written"):
        bundle.write(here, ["refs/evogit/main/journal/nobody"], tmp_path / "run.bundle")
    with pytest.raises(StoreError, match="no bundle was written"):
        bundle.write(here, [], tmp_path / "run.bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]
