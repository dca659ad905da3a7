"""Three-way merges agree with Git's where both are clean, and lose no bytes."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.variation.merge import conflicts, merge3, resolve

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\r\n", b"d\n", b"\n", b"e\n", b"f\n"]), max_size=12)


@st.composite
def versions(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A base with unlike lines, and two sides that each change a few of them."""
    base = [b"line %d\n" % n for n in range(draw(st.integers(0, 14)))]

    def side() -> bytes:
        lines = list(base)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(lines)))
            lines[at : at + draw(st.integers(0, 2))] = draw(
                st.lists(st.sampled_from([b"x\n", b"y\n", b"z\r\n"]), max_size=2)
            )
        return b"".join(lines)

    return b"".join(base), side(), side()


@settings(max_examples=120, deadline=None)
@given(versions())
def test_agrees_with_git(sides: tuple[bytes, bytes, bytes]) -> None:
    base, ours, theirs = sides
    hunks = merge3(base, ours, theirs)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for path, data in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(data)
        done = subprocess.run(["git", "merge-file", "-p", *map(str, paths)], capture_output=True, check=False)
    if done.returncode == 0 and not conflicts(hunks):
        assert resolve(hunks, lambda hunk: hunk.ours) == done.stdout


@given(LINES, LINES, LINES)
def test_sides_come_back_whole(base: list[bytes], ours: list[bytes], theirs: list[bytes]) -> None:
    b, o, t = (b"".join(lines) for lines in (base, ours, theirs))
    hunks = merge3(b, o, t)
    if conflicts(merge3(b, o, b)) == 0:
        assert resolve(merge3(b, o, b), lambda hunk: hunk.base) == o
        assert resolve(merge3(b, b, t), lambda hunk: hunk.base) == t
    for hunk in hunks:
        assert not hunk.conflict or hunk.ours != hunk.theirs


def test_adjacent_changes_conflict_as_in_git() -> None:
    hunks = merge3(b"1\n2\n", b"one\n2\n", b"1\ntwo\n")
    assert conflicts(hunks) == 1


def test_binary_files_are_one_hunk() -> None:
    hunks = merge3(b"\0a", b"\0b", b"\0c")
    assert resolve(hunks, lambda hunk: hunk.theirs) == b"\0c"
