"""The fences around the tests hold."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pygit2
import pytest

from tests.conftest import Git, dealt, is_local, photograph


def test_no_test_reaches_the_network() -> None:
    with socket.socket() as sock, pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 80))
    with pytest.raises(pytest.fail.Exception, match=r"example\.org"):
        socket.getaddrinfo("example.org", 80)


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]):
        pass


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (("127.0.0.9", 1), True),
        (("localhost", 1), True),
        (("::1", 1, 0, 0), True),
        ("/tmp/x.sock", True),
        (("10.0.0.1", 1), False),
        (("localhost.example.org", 1), False),
        (("fe80::1%eth0", 1, 0, 0), False),
    ],
)
def test_what_is_local(address: object, local: bool) -> None:
    assert is_local(address) is local


def test_the_home_and_the_identity_are_the_tests_own(hermetic: Path, repo: Path, git: Git) -> None:
    assert Path.home() == hermetic
    assert git("var", "GIT_COMMITTER_IDENT", cwd=repo) == "Carl Committer <carl@example.org> 1735787045 +0000"
    assert git("config", "--list", "--show-origin", cwd=repo).count(".gitconfig") >= 5
    assert pygit2.Config.get_global_config()["init.defaultBranch"] == "main"
    assert not [name for name in os.environ if name.startswith(("EVOGIT_", "OPENAI_"))]


def test_the_first_commit_reproduces(repo: Path, git: Git) -> None:
    assert git("rev-parse", "HEAD", cwd=repo) == "0a0949f03c85e2de3baa1e8f34b503feb365a05a"


def test_a_change_of_the_home_is_seen(tmp_path: Path) -> None:
    before = photograph(tmp_path)
    (tmp_path / ".gitconfig").touch()
    after = photograph(tmp_path)
    os.utime(tmp_path / ".gitconfig", ns=(1, 1))
    assert len({str(before), str(after), str(photograph(tmp_path))}) == 3


@pytest.mark.parametrize(
    ("workers", "order"), [(1, "ABCdefghij"), (2, "ABdefCghij"), (3, "AdeBfgChij"), (4, "AdBeCfghij")]
)
def test_every_worker_begins_with_a_long_test(workers: int, order: str) -> None:
    items = "dAefBghiCj"
    assert "".join(dealt(items, [item.isupper() for item in items], workers)) == order
