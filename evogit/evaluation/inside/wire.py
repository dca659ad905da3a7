"""Plain data between a judge and its candidate: JSON for the shape, raw buffers for bytes and arrays, no code.

What arrives is made anew from built-in types and plain arrays, so no object of the candidate's ever reaches the judge.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import sys
import time
from typing import Any

MOST = 512 << 20  # bytes of one message
DEEP = 60  # nested lists
_NUMBERS = re.compile(r"[<>|=]?[biufc][0-9]{1,2}")  # numpy takes whole expressions for the name of a type
_HEAD = struct.Struct(">IQ")  # bytes of JSON, bytes of buffers


class NotPlain(Exception):
    """A value that may not pass, or bytes that are no message."""


def pack(value: object) -> bytes:
    """Raises `NotPlain` for anything but None, bool, int, float, str, bytes, list, tuple, dict and numpy's numbers."""
    buffers: list[bytes] = []
    try:
        shape = json.dumps([_shape(value, buffers, 0), [len(data) for data in buffers]]).encode()
    except (ValueError, RecursionError) as error:
        raise NotPlain(str(error)) from None
    return b"".join([_HEAD.pack(len(shape), sum(map(len, buffers))), shape, *buffers])


def _shape(value: Any, buffers: list[bytes], depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > DEEP:
        raise NotPlain(f"more than {DEEP} lists in one another")
    if isinstance(value, list | tuple):
        return ["l" if isinstance(value, list) else "t", *[_shape(each, buffers, depth + 1) for each in value]]
    if isinstance(value, dict):
        pairs = [[_shape(k, buffers, depth + 1), _shape(v, buffers, depth + 1)] for k, v in value.items()]
        return ["d", *pairs]
    if isinstance(value, bytes | bytearray | memoryview):
        buffers.append(bytes(value))
        return ["b", len(buffers) - 1]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biuf":
        return value.item()
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.kind in "biufc":
        array = numpy.asarray(value)
        buffers.append(array.tobytes())
        return ["a", array.dtype.str, list(array.shape), len(buffers) - 1]
    raise NotPlain(f"{type(value).__name__} is no plain data")


def unpack(shape: bytes, body: bytes) -> Any:
    """The reverse of `pack`. Raises `NotPlain` for whatever is not what `pack` makes."""
    try:
        found, sizes = json.loads(shape)
        ends = [sum(sizes[: at + 1]) for at in range(len(sizes))] if len(sizes) < 1000 else _running(sizes)
        if min(sizes, default=0) < 0 or (ends[-1] if ends else 0) != len(body):
            raise NotPlain("a message whose parts do not add up")
        return _value(found, [body[end - size : end] for end, size in zip(ends, sizes, strict=True)])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError, AttributeError) as error:
        raise NotPlain(f"not a message: {error}") from None


def _running(sizes: list[int]) -> list[int]:
    ends, at = [], 0
    for size in sizes:
        at += size
        ends.append(at)
    return ends


def _value(shape: Any, buffers: list[bytes]) -> Any:
    if not isinstance(shape, list):
        if isinstance(shape, dict):
            raise NotPlain("not a message")
        return shape
    kind, *rest = shape
    if kind == "l":
        return [_value(each, buffers) for each in rest]
    if kind == "t":
        return tuple(_value(each, buffers) for each in rest)
    if kind == "d":
        return {_value(key, buffers): _value(value, buffers) for key, value in rest}
    if kind == "b":
        return buffers[rest[0]]
    if kind != "a":
        raise NotPlain("not a message")
    import numpy

    name, size, at = rest
    if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
        raise NotPlain("an array that is none")
    dtype = numpy.dtype(name)
    if math.prod(size) * dtype.itemsize != len(buffers[at]) or min(size, default=0) < 0:
        raise NotPlain("an array that is none")
    return numpy.frombuffer(buffers[at], dtype).reshape(size).copy()


def send(to: socket.socket, value: object) -> None:
    to.sendall(pack(value))


def receive(source: socket.socket, until: float | None = None) -> Any:
    """The next message; `until` is by the monotonic clock.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: it takes too long.
        NotPlain: it is no message.
    """
    shape, body = _HEAD.unpack(_exactly(source, _HEAD.size, until))
    if shape + body > MOST:
        raise NotPlain(f"a message of more than {MOST} bytes")
    return unpack(_exactly(source, shape, until), _exactly(source, body, until))


def _exactly(source: socket.socket, size: int, until: float | None) -> bytes:
    parts: list[bytes] = []
    while size:
        source.settimeout(None if until is None else max(1e-6, until - time.monotonic()))
        try:
            part = source.recv(min(size, 1 << 20))
        except TimeoutError:
            raise
        except OSError:
            part = b""
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
