"""Whatever a model sends, a reader gives clean changes to editable files, or says `ReplyError`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evogit.variation import paths, replies
from evogit.variation.replies import Limits, ReplyError
from tests.data.replies.corpus import cases, editable, readers

T = TypeVar("T")

CORPUS = [case for case in cases() if case.format != "verdict"]
READERS = readers()
FILES: tuple[Mapping[str, bytes], ...] = (
    {},
    {"pack.py": b""},
    {"pack.py": b"\n\n\n"},
    {"pack.py": b"def order(items):\r\n    return items\r\n\r\n\r\nLIMIT = 10\r\n" * 3},
    {"pack.py": b"\xef\xbb\xbfdef order(items):\n\treturn '\xe9\xff'\r\n\x0c\n\x00", "src/util.py": b"x\ry"},
    *(case.files for case in CORPUS[:: len(CORPUS) // 8]),
)
PIECES = (
    "pack.py\n",
    "src/new.py\n",
    "../x\n",
    ".git/config\n",
    "`",
    "```\n",
    "```python\n",
    "````\n",
    "<<<<<<< SEARCH\n",
    "=======\n",
    ">>>>>>> REPLACE\n",
    "DELETE pack.py\n",
    "RENAME pack.py -> b.py\n",
    "RENAME b.py -> pack.py\n",
    "<think>\n",
    "</think>\n",
    "    return items\n",
    "def order(items):\n",
    "LIMIT = 10\n",
    "1: ",
    "12| ",
    '{"search": "',
    '", "replace": "',
    '"}',
    "\\",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\x00",
    "\ud800",
    "\udcff",
    "\u2028",
    "\ufeff",
    "é",
)


@st.composite
def mutants(draw: st.DrawFn) -> tuple[str, str, Mapping[str, bytes]]:
    """A reply of the corpus with a few of its lines cut, doubled, moved or replaced, for its format or another one."""
    case = draw(st.sampled_from(CORPUS))
    lines = case.reply.splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines)))
        end = draw(st.integers(at, len(lines)))
        other = draw(st.sampled_from(CORPUS)).reply.splitlines(keepends=True)
        lines[at:end] = draw(
            st.one_of(
                st.just([]),
                st.just(lines[at:end] * 2),
                st.just(lines[at:end][::-1]),
                st.just(other),
                st.lists(st.sampled_from(PIECES), max_size=4),
                st.just([line[: len(line) // 2] for line in lines[at:end]]),
            )
        )
    name = draw(st.one_of(st.just(case.format), st.sampled_from(sorted(READERS))))
    return name, "".join(lines), draw(st.one_of(st.just(case.files), st.sampled_from(FILES)))


def attempt(read: Callable[[], T]) -> T | ReplyError:
    try:
        return read()
    except ReplyError as error:
        return error


def check(name: str, reply: str, files: Mapping[str, bytes]) -> None:
    before = {path: bytes(data) for path, data in files.items()}
    changes = attempt(lambda: READERS[name](reply, files))
    if isinstance(changes, ReplyError):
        assert changes.reason in ("unparsable", "not-found", "forbidden-path", "refused", "no-op")
        assert len(str(changes)) < 8000
        return
    assert files == before
    assert changes
    assert len(changes) <= Limits().files
    for path, data in changes.items():
        assert editable(path)
        assert not paths.problem(path)
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert ".git" not in path.lower().split("/")
        assert data is not None or path in files
        assert data != files.get(path, 0)
        assert data is None or len(data) <= 2 * Limits().file + 4
    wrong = attempt(lambda: replies.check_syntax(files, changes))
    assert wrong is None or wrong.reason == "syntax-error"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutants())
def test_mutants_of_the_corpus(mutant: tuple[str, str, Mapping[str, bytes]]) -> None:
    check(*mutant)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(READERS)),
    st.one_of(st.text(), st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5))).map("".join)),
    st.sampled_from(FILES),
)
@example("section", "```\n```\nx\n", {"pack.py": b""})
def test_arbitrary_text(name: str, reply: str, files: Mapping[str, bytes]) -> None:
    check(name, reply, files)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(), st.lists(st.sampled_from((*PIECES, '{"verdict": ', '"first"', "}", "[", "verdict: "))).map("".join)
    )
)
def test_verdicts(reply: str) -> None:
    said = attempt(lambda: replies.read_verdict(reply))
    if isinstance(said, ReplyError):
        assert said.reason in ("unparsable", "refused")
    else:
        assert said[0] in ("first", "second", "same")
        assert len(said[1]) <= 500


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "  b", "\tc", "", "  ", "d = 1", "}", "é"]), min_size=1, max_size=12),
    st.data(),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_an_exact_unique_block_replaces_just_itself(
    lines: list[str], data: st.DataObject, end: str, last: bool
) -> None:
    """What stands around the lines sought stays as it is, byte for byte."""
    numbered = [*(f"{line} # {n}" if line.strip() else line for n, line in enumerate(lines)), "the end"]
    start = data.draw(st.integers(0, len(lines) - 1))
    stop = data.draw(st.integers(start + 1, len(numbered)))
    if not any(line.strip() for line in numbered[start:stop]):
        return
    old = (end.join(numbered) + (end if last else "")).encode()
    reply = "\n".join(["f.txt", "<<<<<<< SEARCH", *numbered[start:stop], "=======", "NEW", ">>>>>>> REPLACE"])
    new = (end.join([*numbered[:start], "NEW", *numbered[stop:]]) + (end if last else "")).encode()
    assert replies.read_search_replace(reply, {"f.txt": old}, editable) == {"f.txt": new}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_touched_ranges_cover_what_changed(old: bytes, new: bytes) -> None:
    ranges = replies.touched(old, new)
    before = old.splitlines()
    inside = {n for start, end in ranges for n in range(start, end)}
    assert all(start < end for start, end in ranges)
    kept = [line for n, line in enumerate(before) if n not in inside]
    left = iter(new.splitlines())
    assert all(line in left for line in kept), "lines outside of the ranges are in the new text, in this order"


@pytest.mark.parametrize("name", sorted(READERS))
def test_nothing_is_written_by_an_empty_reply(name: str) -> None:
    for files in FILES:
        with pytest.raises(ReplyError):
            READERS[name]("", files)
