"""The bytes of an OpenAI-compatible endpoint: HTTP/1.1 requests to `Ask`s, `Reply`s and refusals to HTTP answers.

Everything that is read here was written by a candidate. What is not named here never gets any farther.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evogit.models.chat import Ask, Message, Reply, Role

BODY = 1 << 20  # bytes of a request's body
DISCARDED = 4 << 20  # bytes of a body too large that are read and dropped, so that its sender reads the refusal
LINE = 16 << 10
LINES = 100  # headers, and lines after a chunked body
DEPTH = 24  # of a schema
NAME = "model"  # what candidates see instead of the model's name
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}
REASONS |= {429: "Too Many Requests", 502: "Bad Gateway"}
ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
FINISHES = ("stop", "length", "content_filter")


class Refused(Exception):
    """A request that gets an error instead of an answer. `last`: what follows on the connection means nothing."""

    def __init__(self, message: str, status: int = 400, *, last: bool = False) -> None:
        super().__init__(message)
        self.status, self.last = status, last


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: bytes
    more: bool
    """Whether another request may follow on this connection."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chat completion, and the form it was asked for in."""

    ask: Ask
    stream: bool = False
    usage: bool = False
    """Whether a stream should end with the usage."""


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request, None at the end of the connection. Raises `Refused`."""
    start = await _line(reader)
    if not start:
        return None
    parts = start.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused("this is not an HTTP/1.1 request", last=True)
    headers: dict[str, str] = {}
    for _ in range(LINES):
        line = await _line(reader)
        if not line:
            break
        name, colon, value = line.partition(":")
        if not colon or (name.lower() == "content-length" and "content-length" in headers):
            raise Refused(f"a header cannot be read: {line:.80}", last=True)
        headers[name.lower()] = value.strip()
    else:
        raise Refused("too many headers", last=True)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(reader, headers)
    more = parts[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(parts[0], parts[1].partition("?")[0].rstrip("/"), body, more)


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionResetError from error
        return ""
    except asyncio.LimitOverrunError as error:
        raise Refused(f"a line longer than {LINE} bytes", last=True) from error
    return line.rstrip(b"\r\n").decode("latin-1")


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and (coding.lower() != "chunked" or length is not None):
        raise Refused("a body is sent with Content-Length or with Transfer-Encoding: chunked", last=True)
    body, seen = bytearray(), 0
    if coding is None:
        seen = await _take(reader, body, 0, _number(length or "0", 10))
    while coding is not None:
        size = _number((await _line(reader)).partition(";")[0].strip(), 16)
        if size == 0:
            for _ in range(LINES):
                if not await _line(reader):
                    break
            else:
                raise Refused("too many lines after the last chunk", last=True)
            break
        seen = await _take(reader, body, seen, size)
        if await _line(reader):
            raise Refused("a chunk is longer than it says", last=True)
    if seen > BODY:
        raise Refused(f"the request is too large: {seen} bytes, and {BODY} are allowed")
    return bytes(body)


async def _take(reader: asyncio.StreamReader, body: bytearray, seen: int, size: int) -> int:
    """Read `size` bytes into `body`, as many as are allowed; how many were read in all."""
    if seen + size > DISCARDED:
        raise Refused(f"the request is too large: {BODY} bytes are allowed", last=True)
    while size:
        data = await reader.read(min(size, 1 << 16))
        if not data:
            raise ConnectionResetError
        size -= len(data)
        seen += len(data)
        body += data[: max(0, BODY - len(body))]
    return seen


def _number(text: str, radix: int) -> int:
    digits = "0123456789abcdef"[:radix]
    if not 0 < len(text) <= 12 or text.lower().strip(digits):
        raise Refused(f"the length of the body cannot be read: {text:.40}", last=True)
    return int(text, radix)


def read_completion(body: bytes) -> Wanted:
    """What a body of ``/v1/chat/completions`` asks for. Raises `Refused`."""
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused("the body must be a JSON object")
    if found.get("n") not in (None, 1):
        raise Refused("n: one answer a request")
    messages = found.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("messages: expected a list of one or more messages")
    ask = Ask(
        tuple(_message(message, number) for number, message in enumerate(messages)),
        _temperature(found.get("temperature")),
        _limit(found),
        _schema(found.get("response_format")),
    )
    options = found.get("stream_options")
    return Wanted(ask, found.get("stream") is True, isinstance(options, dict) and options.get("include_usage") is True)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _message(found: object, number: int) -> Message:
    if not isinstance(found, dict):
        raise Refused(f"messages[{number}]: expected an object with role and content")
    role = ROLES.get(str(found.get("role")))
    if role is None:
        raise Refused(f"messages[{number}].role: expected one of {', '.join(ROLES)}")
    content = found.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
            raise Refused(f"messages[{number}].content: only parts of type text are forwarded")
        content = "".join(str(text) for text in texts)
    if not isinstance(content, str):
        raise Refused(f"messages[{number}].content: expected text")
    return Message(role, _encodable(content, f"messages[{number}].content"))


def _encodable(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused(f"{where}: half of a surrogate pair at {error.start}") from error
    return text


def _temperature(found: object) -> float | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 2:
        raise Refused("temperature: expected a number from 0 to 2")
    return float(found)


def _limit(found: Mapping[str, Any]) -> int | None:
    limits = [found[name] for name in ("max_tokens", "max_completion_tokens") if found.get(name) is not None]
    for limit in limits:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise Refused("max_tokens: expected a whole number from 1 on")
    return min(limits, default=None)


def _schema(found: object) -> Mapping[str, Any] | None:
    if not isinstance(found, dict) or found.get("type") != "json_schema":
        return None
    inner = found.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        raise Refused("response_format.json_schema.schema: expected an object")
    level: list[object] = [schema]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            break
    else:
        raise Refused(f"response_format.json_schema.schema: nested more than {DEPTH} deep")
    _encodable(json.dumps(schema, ensure_ascii=False), "response_format.json_schema.schema")
    return schema


def _inside(found: object) -> list[object]:
    if isinstance(found, dict):
        return list(found.values())
    if isinstance(found, float) and not math.isfinite(found):  # 1e999 is one
        raise Refused("response_format.json_schema.schema: a number too large")
    return found if isinstance(found, list) else []


def completion(wanted: Wanted, reply: Reply, number: int, *, more: bool) -> bytes:
    """A `Reply` as an HTTP answer. It says nothing of who made it."""
    finish = reply.finish if reply.finish in FINISHES else "stop"
    given, got = reply.usage.input, reply.usage.output
    usage = {"prompt_tokens": given, "completion_tokens": got, "total_tokens": given + got}
    head = {"id": f"chatcmpl-{number}", "created": 0, "model": NAME}
    message = {"role": "assistant", "content": reply.text}
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
    if not wanted.stream:
        return answer(
            200,
            {**head, "object": "chat.completion", "choices": [{**choice, "message": message}], "usage": usage},
            more=more,
        )
    head["object"] = "chat.completion.chunk"
    chunks: list[dict[str, Any]] = [{**head, "choices": [{**choice, "delta": message}]}]
    if wanted.usage:
        chunks.append({**head, "choices": [], "usage": usage})
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return _http(200, events.encode(), "text/event-stream", more)


def models(*, more: bool) -> bytes:
    model = {"id": NAME, "object": "model", "created": 0, "owned_by": "evogit"}
    return answer(200, {"object": "list", "data": [model]}, more=more)


def refusal(error: Refused, *, more: bool) -> bytes:
    kind = {429: "insufficient_quota", 502: "server_error"}.get(error.status, "invalid_request_error")
    code = kind if error.status == 429 else None
    return answer(
        error.status, {"error": {"message": str(error), "type": kind, "param": None, "code": code}}, more=more
    )


def answer(status: int, document: Mapping[str, Any], *, more: bool) -> bytes:
    return _http(status, json.dumps(document).encode(), "application/json", more)


def _http(status: int, body: bytes, kind: str, more: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        f"Connection: {'keep-alive' if more else 'close'}",
    ]
    if status != 200:
        # To OpenAI's own clients, which would ask again: what made sense to repeat was repeated outside.
        lines.append("x-should-retry: false")
    return "\r\n".join([*lines, "", ""]).encode() + body
