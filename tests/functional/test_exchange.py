"""One exchange with a remote that does not take everything: what a stranger put there, what a server refuses."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.hosts import RUN, Host, make_origin
from evogit.evolution.ferry import LONGEST, pause
from evogit.evolution.syncing import trade
from evogit.store import refs, repository
from evogit.store.remote import Remote
from tests.conftest import run_git


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin.git")


def host(tmp_path: Path, origin: Path, name: str = "here-0000") -> Host:
    """A host with a clone of its own, whose only agent has moved from the start."""
    run_git("clone", "-q", "--bare", str(origin), name, cwd=tmp_path)
    found = repository.find(tmp_path / name)
    found.private.mkdir()
    (found.private / "host").write_text(f"{name}\n")
    made = Host(name, found, Remote(found, str(origin)), 1, 0, random.Random(1))
    move(made, origin)
    return made


def move(host: Host, origin: Path) -> None:
    """Work until the agent stands elsewhere."""
    base, ref = run_git("rev-parse", "main", cwd=origin), refs.individual(RUN, host.name, "dial-0")
    before = host.repository.objects().ref(ref)
    for _ in range(1000):
        host.work(0.0, 1, base)
        if host.repository.objects().ref(ref) != before:
            return
    raise AssertionError("no child was accepted")


@pytest.mark.parametrize("again", [True, False], ids=["in a run", "by hand"])
def test_what_a_stranger_put_on_an_agents_branch_is_kept(tmp_path: Path, origin: Path, again: bool) -> None:
    here, ref = host(tmp_path, origin), refs.individual(RUN, "here-0000", "dial-0")
    assert trade(here.repository, RUN, here.remote, here.pushed).complaints == ()
    stranger = run_git("commit-tree", f"{ref}^{{tree}}", "-p", ref, "-m", "by hand", cwd=origin)
    run_git("update-ref", ref, stranger, cwd=origin)
    move(here, origin)
    done = trade(here.repository, RUN, here.remote, here.pushed if again else {})
    kept = f"{refs.people(RUN)}dial-0-{stranger[:10]}"
    assert [line for line in done.complaints if "somebody moved" in line] == [
        f"somebody moved {refs.branch_of(ref)} at {origin}: kept as {refs.branch_of(kept)}"
    ]
    assert len(done.complaints) == 1, done.complaints
    assert here.repository.objects().ref(kept) == stranger
    assert run_git("rev-parse", ref, cwd=origin) == here.repository.objects().ref(ref), "pushed over it, having seen it"
    assert trade(here.repository, RUN, here.remote, here.pushed if again else {}).complaints == ()
    assert run_git("rev-parse", kept, cwd=origin) == stranger, "everybody gets it"


def test_what_is_known_here_is_nothing_to_keep(tmp_path: Path, origin: Path) -> None:
    here, ref = host(tmp_path, origin), refs.individual(RUN, "here-0000", "dial-0")
    trade(here.repository, RUN, here.remote, here.pushed)
    run_git("update-ref", ref, run_git("rev-parse", "main", cwd=origin), cwd=origin)  # back to where it began
    move(here, origin)
    assert trade(here.repository, RUN, here.remote, here.pushed).complaints == ()
    assert here.repository.objects().refs(refs.people(RUN)) == {}
    assert run_git("rev-parse", ref, cwd=origin) == here.repository.objects().ref(ref)


def test_a_server_that_refuses_is_no_copied_repository(tmp_path: Path, origin: Path) -> None:
    here = host(tmp_path, origin)
    hook = origin / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho quota >&2\nexit 1\n")
    hook.chmod(0o755)
    done = trade(here.repository, RUN, here.remote, here.pushed)
    assert not done.copied
    assert done.pushed == ()
    assert all("pre-receive hook declined" in line and "Another copy" not in line for line in done.complaints)
    assert len(done.complaints) == 2, done.complaints
    hook.unlink()
    done = trade(here.repository, RUN, here.remote, here.pushed)
    assert (done.complaints, len(done.pushed)) == ((), 2), "it goes once the server takes it"


def test_who_meets_two_remotes_carries_between_them(tmp_path: Path, origin: Path) -> None:
    (tmp_path / "second").mkdir()
    second = make_origin(tmp_path / "second/origin.git")
    run_git("push", "-q", "--force", str(second), "main", cwd=origin)
    here, there = host(tmp_path, origin), host(tmp_path, second, "there-0000")
    other: dict[str, str] = {}
    for remote, pushed in ((here.remote, here.pushed), (Remote(here.repository, str(second)), other)):
        assert trade(here.repository, RUN, remote, pushed).complaints == ()
    trade(there.repository, RUN, there.remote, there.pushed)
    both = {refs.journal(RUN, writer) for writer in (here.writer, there.writer)}
    assert set(there.repository.objects().refs(refs.journals(RUN))) == both
    trade(here.repository, RUN, Remote(here.repository, str(second)), other)
    done = trade(here.repository, RUN, here.remote, here.pushed)
    assert done.pushed == (refs.journal(RUN, there.writer),)
    assert set(run_git("for-each-ref", "--format=%(refname)", refs.journals(RUN), cwd=origin).split()) == both


def test_waits_grow_for_weeks() -> None:
    assert [pause(60.0, n) for n in range(6)] == [60.0, 120.0, 240.0, 480.0, LONGEST, LONGEST]
    assert pause(60.0, 5000) == LONGEST
    assert pause(3600.0, 5000) == 3600.0
