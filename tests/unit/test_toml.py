"""TOML: what is written is read back, and a key is found on its line."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit import toml
from evogit.errors import DefinitionError

LEAVES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    assert toml.parse(toml.render(document), "x") == document


def test_numbers_keep_their_type() -> None:
    assert toml.parse(toml.render({"a": 1.0, "b": 1, "c": -math.inf, "d": None}), "x") == {
        "a": 1.0,
        "b": 1,
        "c": -math.inf,
    }
    assert isinstance(toml.parse(toml.render({"a": 1.0}), "x")["a"], float)


TEXT = '''\
top = 1
long = """
fake = 1
[fake]
"""
[a]
x.y = 2
"q k" = 3
[[a.rows]]
z = 1
[[a.rows]] # second
z = 2
[[a.rows.inner]]
w = 1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("top",), 1),
        (("long",), 2),
        (("fake",), None),
        (("a",), 6),
        (("a", "x", "y"), 7),
        (("a", "q k"), 8),
        (("a", "rows", 0, "z"), 10),
        (("a", "rows", 1, "z"), 12),
        (("a", "rows", 1, "missing"), 11),
        (("a", "rows", 1, "inner", 0, "w"), 14),
        (("b", "c"), None),
    ],
)
def test_a_key_is_found_on_its_line(key: toml.Key, line: int | None) -> None:
    assert toml.line_of(TEXT, key) == line


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = \n", 2), ("a = [1,\n2", 2), ("a = 1\na = 2\n", 2), ('a = "', 1)]
)
def test_a_syntax_error_has_its_line(text: str, line: int) -> None:
    with pytest.raises(DefinitionError, match=rf"^file\.toml:{line}: not valid TOML: "):
        toml.parse(text, "file.toml")
