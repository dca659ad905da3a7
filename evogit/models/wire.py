"""The connections to a model's server: bounded answers, no more said than needed, plain words when one fails."""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from socket import gaierror
from typing import TYPE_CHECKING

from evogit.models import answers

if TYPE_CHECKING:
    import httpx2

OPENAI = "https://api.openai.com/v1"
LARGEST = 4 << 20  # bytes of one answer
CONNECT = 15.0  # seconds
KEEP = 30.0  # seconds an idle connection is kept; more, and servers close first
HEADERS = {"host", "accept", "accept-encoding", "authorization", "api-key", "connection", "user-agent"}
HEADERS |= {"content-type", "content-length", "transfer-encoding"}

deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When this task's request ends, on the loop's clock."""
seen: ContextVar[tuple[int, float | None]] = ContextVar("seen", default=(0, None))
"""Status and Retry-After of the last answer to this task's request, for when time runs out between retries."""


class Unacceptable(Exception):
    """An answer that is not read to its end."""


def reason(error: BaseException, url: str) -> str:
    """Why there is no connection, in words, from the chain of causes that the SDK, httpx and anyio leave."""
    host = urllib.parse.urlsplit(url).hostname
    words = type(error).__name__
    cause: BaseException | None = error
    for _ in range(12):
        if cause is None:
            break
        if isinstance(cause, Unacceptable):
            return str(cause)
        if isinstance(cause, gaierror):
            return f"cannot find the host {host} (DNS: {cause.strerror}); is base_url right, is there a network?"
        if isinstance(cause, ConnectionRefusedError):
            return f"connection refused at {url}; is the server running?"
        if isinstance(cause, ssl.SSLError):
            return f"no secure connection to {url}: {answers.one_line(str(cause), 120)}"
        if type(cause).__name__.endswith("ConnectTimeout"):
            return f"no connection to {url} in time"
        words = str(cause) or words
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__
    return f"lost the connection to {url}: {answers.one_line(words.rstrip('.'), 120)}"


def http_client(url: str, proxy: str | None, timeout: float, most: int) -> httpx2.AsyncClient:
    """An HTTP client that bounds answers, follows no redirect (it would carry the key), and says no more than needed.

    The SDK adds headers from the process's environment (OPENAI_CUSTOM_HEADERS, …) and about this machine; they go.
    """
    import httpx2

    allowed = HEADERS | {"openai-organization", "openai-project"} if url == OPENAI else HEADERS
    slots = asyncio.Semaphore(most)
    # Where TLS has no part, the second's tenth that reading all certificates takes is spared; none is trusted then.
    secure = "https:" in f"{url} {proxy}"
    trust = httpx2.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def make() -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(verify=trust, proxy=proxy, limits=httpx2.Limits(keepalive_expiry=KEEP))

    idle = [make()]  # the first at once, so that a proxy that cannot be used is known now
    every = list(idle)

    class Bounded(httpx2.AsyncByteStream):
        """A body that ends with `Unacceptable` rather than filling the memory, and gives its connection back."""

        def __init__(self, stream: httpx2.AsyncByteStream, transport: httpx2.AsyncHTTPTransport) -> None:
            self._stream, self._transport, self._closed = stream, transport, False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self._stream:
                size += len(chunk)
                if size > LARGEST:
                    raise Unacceptable(f"the answer is longer than {LARGEST >> 20} MiB")
                yield chunk

        async def aclose(self) -> None:
            if not self._closed:
                self._closed = True
                try:
                    await self._stream.aclose()
                finally:
                    idle.append(self._transport)
                    slots.release()

    class Transport(httpx2.AsyncBaseTransport):
        """A pool of its own for each connection: httpcore looks at all of a pool's with each request, twice.

        With 500 in flight that was 3 of the 4.5 ms that one request took.
        """

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            headers = [(name, value) for name, value in request.headers.raw if name.decode().lower() in allowed]
            # A copy: the SDK reads its own headers from the original.
            sent = httpx2.Request(
                request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
            )
            await slots.acquire()
            if not idle:
                idle.append(make())
                every.append(idle[-1])
            transport = idle.pop()
            try:
                response = await transport.handle_async_request(sent)
            except BaseException:
                idle.append(transport)
                slots.release()
                raise
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = Bounded(response.stream, transport)
            wait = answers.retry_after(response.headers, time.time())
            seen.set((response.status_code, wait))
            if wait is not None and asyncio.get_running_loop().time() + wait > deadline.get():
                response.headers["x-should-retry"] = "false"  # the SDK would sleep past the end; better tell at once
            # A few kilobytes can unpack to any size, and nothing compressed was asked for.
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.stream.aclose()
                raise Unacceptable("the server compressed its answer, which was not asked for")
            return response

        async def aclose(self) -> None:
            for transport in every:
                await transport.aclose()

    return httpx2.AsyncClient(
        transport=Transport(),
        follow_redirects=False,
        headers={"accept-encoding": "identity"},
        timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT)),
    )


def is_loopback(url: str) -> bool:
    """Whether the server is this machine."""
    try:
        host = urllib.parse.urlsplit(url).hostname or ""
    except ValueError:  # a broken address is nobody's
        return False
    return host in ("localhost", "::1") or re.fullmatch(r"127(?:\.\d{1,3}){3}", host) is not None


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that `environ` names for this server, if any; never one for this machine itself."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    lower = {name.lower(): value for name, value in environ.items() if name.lower().endswith("_proxy") and value}
    if is_loopback(url):
        return None
    if urllib.request.proxy_bypass_environment(host, {"no": lower.get("no_proxy", "")}):  # type: ignore[attr-defined]
        return None
    found = lower.get(f"{parts.scheme}_proxy") or lower.get("all_proxy")
    return found if found is None or "://" in found else f"http://{found}"
