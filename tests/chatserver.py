"""An OpenAI-compatible HTTP server for tests: real sockets, answers from a script, misbehaves on request.

In a test::

    with ChatServer(reply=["first", "second"]) as server:  # or a callable of the request's body
        ...  # server.url is the base_url, server.requests what came in
        server.fail_with("429:0.1", times=1)

As a process: ``python tests/chatserver.py --port 0 --latency 2 --reply TEXT --fail 500`` prints its URL and serves.

Misbehaviours, for `fail_with`, for ``Answer(fail=...)``, or as a model's name ``broken/MISBEHAVIOUR``:

    STATUS, STATUS:RETRY_AFTER        any HTTP status, as 401, 404, 429, 429:0.1, 500, with an OpenAI error document
    quota                             a 429 that no waiting helps
    echo-401                          a 401 that repeats the Authorization header
    echo                              a reply that repeats the Authorization header
    hang | drip                       nothing ever | a byte now and then, for ever
    cut | cut-early | truncated       connection lost within the body | before any answer | half a JSON document
    html | not-json | list | error-200   a web page | no JSON | JSON of another shape | an error document as a 200
    huge | huge-500 | gzip-bomb       10 MB of reply | of error | of compressed zeros
    empty-choices | no-choices | null-content | blank | refusal | content-filter
    redirect                          307 to /elsewhere
    usage:absent | usage:negative | usage:fraction | usage:text | usage:absurd | usage:true
    refuse:PARAMETER, refuse:PARAMETER:STATUS   a request that has the parameter gets 400 (or 422); others are served
    no:json_schema:STATUS | no:json_object:STATUS   a request with that response_format gets STATUS; others are served
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

HUGE = 10_000_000


@dataclass(frozen=True)
class Answer:
    """One answer. Tokens left out are a quarter of the characters. `fail` names a misbehaviour.

    With `raw`, those bytes are the answer's body, and `status` its status.
    """

    text: str | None = ""
    finish: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    delay: float = 0.0
    fail: str = ""
    raw: bytes | None = None
    status: int = 200


Script = str | Answer | Callable[[dict[str, Any]], str | Answer] | Iterable[str | Answer]


@dataclass(frozen=True)
class Recorded:
    """A request as it came in; header names in lower case. `body` is {} where there was no JSON object."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class _Raw:
    """Bytes for the wire. `promised` is the Content-Length where that is a lie; `cut` loses the connection after."""

    data: bytes
    status: int = 200
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    promised: int | None = None
    cut: bool = False


@dataclass
class _Fault:
    name: str
    left: int | None


@dataclass
class ChatServer:
    """A context manager; serves on a thread of its own. `key`: another bearer gets a 401. `latency` in seconds.

    `models` is what /v1/models lists; with `strict`, any other model is a 404. `drip` is the pause between bytes.
    """

    reply: Script = "ok"
    key: str | None = None
    latency: float = 0.0
    models: tuple[str, ...] = ("scripted",)
    strict: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    drip: float = 0.02
    requests: list[Recorded] = field(default_factory=list, repr=False)
    most: int = 0
    """The largest number of requests that were being answered at once."""
    connections: int = 0
    """How many were opened so far."""
    _open: int = field(default=0, repr=False)
    _faults: list[_Fault] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)
    _stop: asyncio.Event | None = field(default=None, repr=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests so far."""
        return [request.body for request in list(self.requests) if request.path.endswith("/chat/completions")]

    def fail_with(self, *names: str, times: int | None = None) -> None:
        """Misbehave in these ways from now on, each `times` times where that is given. None: behave again."""
        with self._lock:
            self._faults = [_Fault(name, times) for name in names]

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready.set)), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the chat server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def serve(self, ready: Callable[[], object] = lambda: None) -> None:
        """Until the context ends, or the task is cancelled."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if not isinstance(self.reply, str | Answer) and not callable(self.reply):
            self.reply = _queue(self.reply)
        server = await asyncio.start_server(self._accept, self.host, self.port, backlog=1024, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        try:
            await self._stop.wait()
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the server stops
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        data = await _body(reader, headers)
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            body = {}
        request = Recorded(method, path, headers, body if isinstance(body, dict) else {})
        self.requests.append(request)
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            return await self._respond(request, writer)
        finally:
            self._open -= 1

    async def _respond(self, request: Recorded, writer: asyncio.StreamWriter) -> bool:
        if not request.path.endswith("/v1/chat/completions"):
            return await _send(writer, self._other(request))
        fault = self._fault(request.body)
        answer = Answer(fail=fault) if fault else self._plain(request)
        if isinstance(answer, Answer):
            if self.latency + answer.delay:
                await asyncio.sleep(self.latency + answer.delay)
            if answer.fail == "hang":
                await asyncio.Event().wait()
            if answer.fail == "drip":
                return await self._drip(writer)
            if answer.raw is not None:
                return await _send(writer, _Raw(answer.raw, answer.status))
            if request.body.get("stream") and not answer.fail:
                return await _send(writer, _streamed(request.body, answer))
            answer = _broken(answer.fail, request) if answer.fail else _good(request.body, answer)
        return await _send(writer, answer)

    def _other(self, request: Recorded) -> _Raw:
        if request.path.endswith("/v1/models"):
            return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})
        return _error(404, f"no {request.path} here")

    def _plain(self, request: Recorded) -> Answer | _Raw:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided", "invalid_api_key")
        model = str(request.body.get("model"))
        if model.startswith("broken/"):
            return Answer(fail=model.removeprefix("broken/"))
        if self.strict and model not in self.models:
            return _error(404, f"The model `{model}` does not exist", "model_not_found")
        answer = self.reply(request.body) if callable(self.reply) else self.reply
        assert isinstance(answer, str | Answer)
        return Answer(answer) if isinstance(answer, str) else answer

    def _fault(self, body: Mapping[str, Any]) -> str:
        with self._lock:
            for fault in self._faults:
                if fault.left != 0 and _concerns(fault.name, body):
                    fault.left = None if fault.left is None else fault.left - 1
                    return fault.name
        return ""

    async def _drip(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(self.drip)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    data = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        data += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return data


async def _send(writer: asyncio.StreamWriter, raw: _Raw) -> bool:
    if raw.status:
        length = len(raw.data) if raw.promised is None else raw.promised
        lines = [f"HTTP/1.1 {raw.status} X", f"content-type: {raw.kind}", f"content-length: {length}"]
        lines += [f"{name}: {value}" for name, value in raw.headers]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + raw.data)
        await writer.drain()
    if raw.cut:
        writer.close()
    return not raw.cut


def _json(document: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> _Raw:
    return _Raw(json.dumps(document).encode(), status, headers=headers)


def _error(status: int, message: str, code: str | None = None, headers: tuple[tuple[str, str], ...] = ()) -> _Raw:
    return _json({"error": {"message": message, "type": "error", "code": code}}, status, headers)


def _usage(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    given, got = answer.prompt_tokens, answer.completion_tokens
    if given is None:
        given = sum(len(str(message.get("content"))) for message in body.get("messages", [])) // 4 + 1
    if got is None:
        got = len(answer.text or "") // 4 + 1
    return {"prompt_tokens": given, "completion_tokens": got, "total_tokens": given + got}


def _document(body: Mapping[str, Any], answer: Answer, **changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool_calls:
        message["tool_calls"] = list(answer.tool_calls)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish}],
        "usage": _usage(body, answer),
        **changes,
    }


def _good(body: Mapping[str, Any], answer: Answer) -> _Raw:
    return _json(_document(body, answer))


def _streamed(body: Mapping[str, Any], answer: Answer) -> _Raw:
    """Server-sent events, as coding programs ask for them."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body.get("model")}
    calls = [{"index": i, **call} for i, call in enumerate(answer.tool_calls)]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": answer.text}]
    deltas += [{"tool_calls": calls}] if calls else []
    chunks: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**base, "choices": [], "usage": _usage(body, answer)})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return _Raw(text.encode(), kind="text/event-stream")


def _concerns(fault: str, body: Mapping[str, Any]) -> bool:
    """Whether the fault is one for this request."""
    what, _, rest = fault.partition(":")
    name = rest.partition(":")[0]
    if what == "refuse":
        return name in body
    if what == "no":
        return (body.get("response_format") or {}).get("type") == name
    return True


def _broken(fault: str, request: Recorded) -> _Raw:
    what, _, rest = fault.partition(":")
    detail, _, status = rest.partition(":")
    if what.isdigit():
        words = {"401": "Incorrect API key provided", "404": "The model does not exist", "429": "Rate limit reached"}
        return _error(int(what), words.get(what, "went wrong"), headers=(("retry-after", rest),) if rest else ())
    if what == "refuse":
        return _error(int(status or 400), f"Unrecognized request argument supplied: {detail}")
    if what == "no":
        return _error(int(status or 400), f"response_format of type {detail} is not supported")
    if what == "usage":
        return _json(_document(request.body, Answer("fine"), usage=_USAGES[detail]))
    if what in ("echo", "echo-401"):
        bearer = request.headers.get("authorization", "")
        return _good(request.body, Answer(f"You sent {bearer}")) if what == "echo" else _error(401, f"bad: {bearer}")
    if fault not in _FAULTS:
        return _error(400, f"this server knows no misbehaviour {fault!r}")
    return _FAULTS[fault](request.body)


_USAGES: Mapping[str, Any] = {
    "absent": None,
    "negative": {"prompt_tokens": -5, "completion_tokens": 3},
    "fraction": {"prompt_tokens": 5.5, "completion_tokens": 3},
    "text": {"prompt_tokens": "5", "completion_tokens": "many"},
    "absurd": {"prompt_tokens": 5, "completion_tokens": 987_654_321},
    "true": {"prompt_tokens": True, "completion_tokens": True},
}


def _cut(body: Mapping[str, Any]) -> _Raw:
    whole = _good(body, Answer("a longer answer that will not arrive")).data
    return _Raw(whole[: len(whole) // 2], promised=len(whole), cut=True)


def _refusal(body: Mapping[str, Any]) -> _Raw:
    message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    return _json(_document(body, Answer(), choices=[{"index": 0, "message": message, "finish_reason": "stop"}]))


_FAULTS: Mapping[str, Callable[[Mapping[str, Any]], _Raw]] = {
    "cut": _cut,
    "cut-early": lambda _: _Raw(b"", status=0, cut=True),
    "truncated": lambda body: _Raw(_good(body, Answer("fine")).data[:-40]),
    "html": lambda _: _Raw(b"<html><body>Welcome</body></html>", kind="text/html"),
    "not-json": lambda _: _Raw(b"\xff\xfe\x00 nothing"),
    "list": lambda _: _json([1, 2]),
    "error-200": lambda _: _json({"error": {"message": "Provider returned error", "code": 502}}),
    "huge": lambda body: _good(body, Answer("x" * HUGE)),
    "huge-500": lambda _: _error(500, "x" * HUGE),
    "gzip-bomb": lambda _: _Raw(gzip.compress(b"0" * HUGE), headers=(("content-encoding", "gzip"),)),
    "empty-choices": lambda body: _json(_document(body, Answer(), choices=[])),
    "no-choices": lambda _: _json({"id": "x", "object": "chat.completion"}),
    "null-content": lambda body: _good(body, Answer(None)),
    "blank": lambda body: _good(body, Answer(" \n")),
    "refusal": _refusal,
    "content-filter": lambda body: _good(body, Answer(None, finish="content_filter")),
    "quota": lambda _: _error(429, "You exceeded your quota", "insufficient_quota", (("x-should-retry", "false"),)),
    "redirect": lambda _: _Raw(b"", 307, headers=(("location", "/elsewhere"),)),
}


def _queue(answers: Iterable[str | Answer]) -> Callable[[dict[str, Any]], str | Answer]:
    """The answers in turn; then errors that a client does not retry."""
    left = iter(answers)
    return lambda _body: next(left, Answer(fail="400"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--reply", default="ok")
    parser.add_argument("--fail", action="append", default=[])
    given = parser.parse_args()
    server = ChatServer(given.reply, latency=given.latency, host=given.host, port=given.port)
    server.fail_with(*given.fail)
    try:
        asyncio.run(server.serve(lambda: print(server.url, flush=True)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
