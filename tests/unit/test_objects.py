"""Objects with bad bytes: libgit2 reads some of them for ever, so nothing may leave the reading to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.errors import StoreError
from evogit.store.objects import Objects
from tests.conftest import run_git


@pytest.mark.timeout(60)
def test_wherever_a_loose_object_ends_too_early_it_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    run_git("init", "-q", cwd=tmp_path)
    (tmp_path / "file").write_text("".join(f"{n * n}\n" for n in range(30)))
    run_git("add", "-A", cwd=tmp_path)
    run_git("commit", "-qm", "start", cwd=tmp_path)
    git_dir = tmp_path / ".git"
    for revision in ("HEAD", "HEAD^{tree}", "HEAD:file"):
        oid = run_git("rev-parse", revision, cwd=tmp_path)
        file = git_dir / "objects" / oid[:2] / oid[2:]
        sound = file.read_bytes()
        file.chmod(0o644)
        for length in range(len(sound)):
            file.write_bytes(sound[:length])
            objects = Objects(git_dir)
            assert objects.has(oid)
            with pytest.raises(StoreError, match="fsck"):
                objects.get(oid)
            if revision == "HEAD" and length % 40 == 0:  # each is a process
                assert objects.resolve(oid[:12]) is None
        file.write_bytes(sound)
    assert Objects(git_dir).resolve("HEAD") == run_git("rev-parse", "HEAD", cwd=tmp_path)
    assert Objects(git_dir).resolve("no-such-version") is None
