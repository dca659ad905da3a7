"""What passes between judge and candidate: it comes back as it was, and no bytes do more than be refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.evaluation.inside.wire import NotPlain, pack, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=40),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)
SHAPES = st.recursive(
    st.none()
    | st.integers(-3, 99)
    | st.sampled_from(["l", "t", "d", "b", "a", "<f8", "|O", "i4,f8", "(3,)i4", "U9", "c99"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


def split(message: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(message[:4], "big")
    return message[12 : 12 + size], message[12 + size :]


def alike(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return alike(list(one.items()), list(other.items()))
    return bool(one == other)


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    assert alike(unpack(*split(pack(value))), value)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_data_or_refused(shape: bytes, body: bytes) -> None:
    refused_or_plain(shape, body)


@given(
    SHAPES, st.lists(st.integers(-9, 99) | st.text(max_size=1) | st.none(), max_size=4) | SHAPES, st.binary(max_size=99)
)
def test_anything_like_a_message_is_data_or_refused(shape: Any, sizes: Any, body: bytes) -> None:
    refused_or_plain(json.dumps([shape, sizes]).encode(), body)
    refused_or_plain(json.dumps([shape, [len(body)]]).encode(), body)


def refused_or_plain(shape: bytes, body: bytes) -> None:
    try:
        found = unpack(shape, body)
    except NotPlain:
        return
    pack(found)  # only what could have been sent


@pytest.mark.parametrize(
    "shape",
    [
        b"[" * 100_000,
        b'[["a", "<f8", [1e999], 0], [0]]',
        b'[["a", "<f8", [-1, -1], 0], [8]]',
        b'[["a", "((((((", [1], 0], [8]]',
        b"[1" + b"0" * 10_000 + b", []]",
        b'[["d", [["l"], 1]], []]',
        b'[["b", 0], [1e9]]',
    ],
)
def test_hostile_messages_are_refused(shape: bytes) -> None:
    with pytest.raises(NotPlain):
        unpack(shape, b"12345678")


@pytest.mark.parametrize("value", [object(), {1, 2}, print, math, [[object()]], 1j, iter([])])
def test_nothing_else_is_sent(value: object) -> None:
    with pytest.raises(NotPlain):
        pack(value)
