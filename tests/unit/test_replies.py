"""Replies of models, good, sloppy and hostile, and what is made of them."""

from __future__ import annotations

import json

import pytest

from evogit.errors import VariationError
from evogit.values import Reason
from evogit.variation import replies
from evogit.variation.replies import Limits, ReplyError
from tests.data.replies.corpus import Case, cases, editable, readers, shown

CORPUS = cases()
READERS = readers()


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 160
    assert len({str(case) for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=str)
def test_corpus(case: Case) -> None:
    def read() -> object:
        if case.format == "verdict":
            return replies.read_verdict(case.reply)
        return shown(case.files, READERS[case.format](case.reply, case.files))

    if case.error is not None:
        with pytest.raises(ReplyError) as caught:
            read()
        assert caught.value.reason == case.error, str(caught.value)
        assert case.says in str(caught.value)
    else:
        assert read() == (case.value or case.then)


BLOCK = "{path}\n<<<<<<< SEARCH\n{search}\n=======\n{new}\n>>>>>>> REPLACE\n"


def edited(old: bytes, search: str, new: str, path: str = "f.txt") -> bytes | None:
    reply = BLOCK.format(path=path, search=search, new=new)
    return replies.read_search_replace(reply, {path: old}, editable)[path]


def refusal(reply: str, files: dict[str, bytes], limits: Limits = Limits()) -> ReplyError:
    with pytest.raises(ReplyError) as caught:
        replies.read_search_replace(reply, files, editable, limits)
    return caught.value


@pytest.mark.parametrize(
    ("old", "search", "new", "expected"),
    [
        (b"a\r\nb\r\n", "a", "x\ny", b"x\r\ny\r\nb\r\n"),
        (b"a\nb", "b", "x\ny", b"a\nx\ny"),
        (b"a\nb\r\nc\nd\r\n", "c", "x\ny", b"a\nb\r\nx\ny\nd\r\n"),
        (b"a\nb\r\nc\nd\r\n", "b", "x\ny", b"a\nx\r\ny\r\nc\nd\r\n"),
        (b"\xef\xbb\xbfa\nb\n", "a", "x", b"\xef\xbb\xbfx\nb\n"),
        (b"caf\xe9\nb\n", "b", "x", b"caf\xe9\nx\n"),
        (b"caf\xe9\nb\n", "caf\ufffd\nb", "caf\ufffd\nx", b"caf\xe9\nx\n"),
        (b"a  \nb\n", "a\nb", "a\nx", b"a  \nx\n"),
        (b"a\x0cb\nc\n", "c", "x", b"a\x0cb\nx\n"),
        (b"a\rb\nc\n", "c", "x", b"a\rb\nx\n"),
        ("a\u2028b\nc\n".encode(), "c", "x", "a\u2028b\nx\n".encode()),
        (b"a\nb\n", "a\nb", "", b""),
    ],
    ids=[
        "crlf",
        "no end",
        "mixed",
        "mixed crlf",
        "bom",
        "latin1",
        "latin1 shown",
        "blanks",
        "ff",
        "cr",
        "ls",
        "emptied",
    ],
)
def test_a_file_keeps_its_own_style(old: bytes, search: str, new: str, expected: bytes) -> None:
    assert (edited(old, search, new) or b"").rstrip(b"\n") == expected.rstrip(b"\n")
    assert (edited(old, search, new) or b"\n").endswith(b"\n") == (old.endswith(b"\n"))


def test_a_whole_file_keeps_line_ends_and_a_missing_last_one() -> None:
    reply = "f.txt\n```\nx\ny\n```\n"
    assert replies.read_whole_files(reply, {"f.txt": b"a\r\nb"}, editable) == {"f.txt": b"x\r\ny"}
    with pytest.raises(ReplyError, match="changes nothing"):
        replies.read_whole_files(reply, {"f.txt": b"x\r\ny"}, editable)


def test_a_section_keeps_line_ends() -> None:
    files = {"f.txt": b"a\r\n\r\nb\r\nc"}
    assert replies.read_section("```\nx\ny\n```", files, editable, path="f.txt", start=1, end=3) == {
        "f.txt": b"a\r\n\r\nx\r\ny\r\nc"
    }
    assert replies.read_section("```\nx\n```", files, editable, path="f.txt", start=3, end=4) == {
        "f.txt": b"a\r\n\r\nb\r\nx"
    }


def test_a_renamed_file_keeps_its_bytes() -> None:
    data = b"\x00\xff\r\na\n"
    assert replies.read_search_replace("RENAME a.bin -> b.bin", {"a.bin": data}, editable) == {
        "a.bin": None,
        "b.bin": data,
    }
    reply = "RENAME a.py -> b.py\n" + BLOCK.format(path="b.py", search="x", new="y")
    assert replies.read_search_replace(reply, {"a.py": b"x\r\nz\r\n"}, editable) == {
        "a.py": None,
        "b.py": b"y\r\nz\r\n",
    }


def test_a_reply_that_is_too_long() -> None:
    error = refusal("é" * 60, {"f.txt": b"a\n"}, Limits(reply=100))
    assert (error.reason, "longer than 100 bytes" in str(error)) == (Reason.UNPARSABLE, True)


def test_a_file_that_is_too_long() -> None:
    error = refusal(BLOCK.format(path="f.txt", search="a", new="é" * 60), {"f.txt": b"a\n"}, Limits(file=100))
    assert (error.reason, "longer than 100 bytes" in str(error)) == (Reason.UNPARSABLE, True)


@pytest.mark.parametrize("line", ["DELETE {}.txt", "{}.new\n<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE"])
def test_too_many_files(line: str) -> None:
    files = {f"{n}.txt": b"a\n" for n in range(9)}
    error = refusal("\n".join(line.format(n) for n in range(9)), files, Limits(files=8))
    assert (error.reason, "more than 8 files" in str(error)) == (Reason.UNPARSABLE, True)


def test_too_many_edits() -> None:
    there_and_back = BLOCK.format(path="f.txt", search="a", new="b") + BLOCK.format(path="f.txt", search="b", new="a")
    error = refusal(there_and_back * 3, {"f.txt": b"a\n"}, Limits(edits=5))
    assert (error.reason, "more than 5 edits" in str(error)) == (Reason.UNPARSABLE, True)


def test_a_large_reply_and_a_large_file() -> None:
    """The work is bounded: this takes a second or two, and hours where anything is quadratic."""
    old = "".join(f"    x{n} = f(y, {n})\n" for n in range(20_000))
    blocks = "".join(
        BLOCK.format(path="f.py", search=f"x{n} = f(y, {n})", new=f"x{n} = 0") for n in range(0, 20_000, 1000)
    )
    changed = replies.read_search_replace(blocks, {"f.py": old.encode()}, editable)["f.py"]
    assert changed is not None
    assert changed.count(b" = 0\n") == 20
    missing = BLOCK.format(path="f.py", search="\n".join(f"x{n} = g(z, {n})" for n in range(20_000)), new="z")
    assert "Did you mean these lines (lines " in str(refusal(missing, {"f.py": old.encode()}))


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize(
    "part", ["<think>\n", "```a\n", "<<<<<<< SEARCH\n", ">>>>>>> REPLACE\n", "DELETE a b\n", "{", "\\", " ", "\n"]
)
def test_a_reply_of_one_thing_over_and_over(name: str, part: str) -> None:
    with pytest.raises(ReplyError):
        READERS[name](part * (300_000 // len(part)), {"pack.py": b"    pass\n" * 20_000})


def test_the_nearest_lines_are_found_far_down_in_a_large_file() -> None:
    old = "".join(f"line_{n} = {n}\n" for n in range(30_000)) + "def nearly(this, one):\n    return this\n"
    error = refusal(
        BLOCK.format(path="f.py", search="def nearly(this):\n    return one", new="x"), {"f.py": old.encode()}
    )
    assert "(lines 30001-30002)" in str(error)
    assert "def nearly(this, one):" in str(error)


def test_messages_are_short() -> None:
    error = refusal(BLOCK.format(path="f.txt", search="a" * 9000, new="x"), {"f.txt": b"a" * 10_000 + b"\n"})
    assert len(str(error)) < 1500


def test_line_edit_schema() -> None:
    schema = replies.line_edit_schema("f.py", b"a = 1\r\n\r\n  b = '\xe9'\r\n" + b"c" * 600 + b"\r\nd\x0ce\r\nlast")
    assert schema["properties"]["search"]["enum"] == ["1: a = 1", "3: b = '\ufffd'", "5: d\x0ce", "6: last"]
    assert schema["properties"]["path"]["enum"] == ["f.py"]
    assert schema["required"] == ["path", "search", "replace"]


def test_line_edit_schema_of_a_window() -> None:
    data = b"".join(b"x%d\n" % n for n in range(1000))
    assert replies.line_edit_schema("f", data, 10, 12)["properties"]["search"]["enum"] == ["11: x10", "12: x11"]
    assert len(replies.line_edit_schema("f", data)["properties"]["search"]["enum"]) == 400
    assert len(replies.line_edit_schema("f", data, most=7)["properties"]["search"]["enum"]) == 7
    with pytest.raises(VariationError, match="no line to edit"):
        replies.line_edit_schema("f", b"\n\n")


@pytest.mark.parametrize("data", [b"a = 1\n\n  b = '\xe9'\n", b"x\r\n\x0cy\r\n", "1: a\n\u2028b c\n2: a\n".encode()])
def test_every_choice_of_the_schema_can_be_made(data: bytes) -> None:
    for choice in replies.line_edit_schema("f", data)["properties"]["search"]["enum"]:
        reply = json.dumps({"path": "f", "search": choice, "replace": "NEW"})
        changed = replies.read_line_edit(reply, {"f": data}, editable, path="f")["f"] or b""
        at = int(choice.partition(":")[0]) - 1
        assert b"NEW" in changed.split(b"\n")[at]
        assert len(changed.split(b"\n")) == len(data.split(b"\n"))


@pytest.mark.parametrize(
    ("path", "old", "new", "says"),
    [
        ("a.py", b"x = 1\n", b"x = 1\ny = (\n", "a.py:2"),
        ("a.py", None, b"def f(:\n", "def f(:"),
        ("a.py", b"x = 1\n", b"x = " + b"-" * 100_000 + b"1\n", "a.py"),
        ("a.py", b"x = 1\n", b"x = " + b"(" * 100_000, "nested"),
        ("a.py", b"x = 1\n", b"x" + b".a" * 200_000, "a.py"),
        ("a.py", b"x = 1\n", b"x = 1\0", "a.py:1"),
        ("a.py", b"x = 1\n", b"# coding: nonsense\nx = 2\n", "unknown encoding"),
        ("a.json", b"{}", b'{"a": 1,}', "line 1 column"),
        ("a.json", b"{}", b"[" * 100_000, "a.json"),
        ("a.toml", b"", b"a = \n", "a.toml"),
        ("a.toml", b"", b"a = " + b"[" * 10_000, "a.toml"),
    ],
)
def test_text_that_does_not_parse(path: str, old: bytes | None, new: bytes, says: str) -> None:
    with pytest.raises(ReplyError) as caught:
        replies.check_syntax({} if old is None else {path: old}, {path: new})
    assert caught.value.reason == Reason.SYNTAX
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("a.py", b"x = 1\n", b"x = '\\d'\n"),
        ("a.py", b"{{ template }} x y\n", b"{{ template }} z y\n"),
        ("a.py", b"x = 1\n", None),
        ("a.json", None, b"{}\n"),
        ("a.toml", None, b"a = 1\n"),
        ("a.txt", None, b"((("),
    ],
)
def test_text_that_is_left_alone(path: str, old: bytes | None, new: bytes | None) -> None:
    replies.check_syntax({} if old is None else {path: old}, {path: new})


def test_touched() -> None:
    old = b"a\nb\nc\nd\ne\n"
    assert replies.touched(old, b"a\nB\nc\nd\ne\n") == ((1, 2),)
    assert replies.touched(old, b"A\nb\nc\nd\nE\n") == ((0, 1), (4, 5))
    assert replies.touched(old, b"a\nb\nx\nc\nd\ne\n") == ((2, 3),)
    assert replies.touched(old, old) == ()


def test_a_number_too_large_to_write_down() -> None:
    """Python refuses to print it, which must not be an error of ours."""
    number = "0x" + "f" * 15_000
    with pytest.raises(ReplyError):
        replies.read_verdict(f"{{'verdict': {number}, 'reason': 'x'}}")
    assert replies.read_verdict(f"{{'verdict': 'same', 'reason': {number}}}") == ("same", "")
    with pytest.raises(ReplyError):
        replies.read_line_edit(f"{{'path': {number}, 'search': 'a', 'replace': 'b'}}", {"f": b"a"}, editable, path="f")
