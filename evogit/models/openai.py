"""The OpenAI-compatible adapter: OpenAI, Azure, OpenRouter, Ollama, vLLM, llama.cpp. Only this module knows the SDK.

Servers differ in what they accept. A schema is tried as ``json_schema``, then ``json_object``, then in words; a
parameter that a server refuses is left out (``max_tokens`` becomes ``max_completion_tokens``). What worked is kept to.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from evogit.errors import ModelError
from evogit.models import answers, wire
from evogit.models.chat import Ask, Reply, Usage
from evogit.models.pricing import estimate_tokens
from evogit.tables import ModelTable

if TYPE_CHECKING:  # half a second, which `evogit --help` need not wait for
    import openai

RETRIES = 2  # the SDK's own: 408, 409, 429, 5xx and lost connections, Retry-After honoured
CHECK = "Try: evogit models check"
Form = Literal["json_schema", "json_object", "text"]
FORMS: tuple[Form, ...] = ("json_schema", "json_object", "text")
REFUSING = (400, 415, 422, 500, 501)
"""Statuses with which servers answer a `response_format` they do not know (llama-cpp-python: 500)."""


class _Status(Exception):
    """A status the server refused with; `body` is its document, `told` is what the user reads."""

    def __init__(self, status: int, body: object, told: ModelError) -> None:
        super().__init__(status)
        self.status, self.body, self.told = status, body, told


class OpenAIChat:
    """One configured model at one server. Make it with `connect`."""

    def __init__(
        self, name: str, table: ModelTable, client: openai.AsyncOpenAI, key: str, retries: int, pause: float
    ) -> None:
        self.name = name
        self.form: Form = FORMS[0]
        """The best form of structured answer that has not been refused."""
        self.usage_reported = False
        self._table, self._client, self._key = table, client, key
        self._retries, self._pause = retries, pause
        self._proven = False
        self._renamed = False
        self._dropped: frozenset[str] = frozenset()
        # A request takes 1 ms of this process: hundreds that begin at once would hold up everything else.
        self._door = asyncio.Semaphore(8)

    @property
    def base_url(self) -> str:
        return str(self._client.base_url).rstrip("/")

    async def close(self) -> None:
        await self._client.close()

    async def complete(self, ask: Ask) -> Reply:
        return await self._bounded(ask, FORMS[FORMS.index(self.form) :] if ask.schema is not None else ("text",))

    async def complete_as(self, ask: Ask, form: Form) -> Reply:
        """As `complete`, but in this form or not at all. Raises `ModelError`."""
        return await self._bounded(ask, (form,))

    async def _bounded(self, ask: Ask, forms: tuple[Form, ...]) -> Reply:
        """The answer within the model's timeout, which also ends a server that drips."""
        begun = time.monotonic()
        wire.seen.set((0, None))
        try:
            async with asyncio.timeout(self._table.timeout) as limit:
                wire.deadline.set(limit.when() or math.inf)
                async with self._door:
                    await asyncio.sleep(0)
                reply = await self._negotiate(ask, forms)
        except TimeoutError:
            status, wait = wire.seen.get()
            last = f"; it last said HTTP {status}" if status >= 400 else ""
            tokens = (0, 0) if last else _given(ask)
            what = f"no answer within {self._table.timeout:g} s{last}"
            raise self._error(what, wait=wait, tokens=tokens, outage=bool(last)) from None
        except ModelError as error:
            if wire.seen.get()[0] == 200 and not any(error.tokens):
                error.tokens = _given(ask)
            raise
        return dataclasses.replace(reply, seconds=time.monotonic() - begun)

    async def _negotiate(self, ask: Ask, forms: tuple[Form, ...]) -> Reply:
        """The answer in the best of `forms` that the server takes. A lower form is remembered once it has worked.

        A 500 may be a refusal or a passing trouble: it is retried first, and tells nothing of a form that has worked.
        """
        refusal: ModelError | None = None
        wasted = Usage()
        for form in forms:
            try:
                document, limit = await self._adapt(ask, form, 0 if refusal else self._retries)
            except _Status as error:
                refusal = refusal or error.told
                if error.status not in REFUSING or (error.status >= 500 and self._proven):
                    raise refusal from None
                continue
            reply = self._read(document, ask, limit, wasted)
            obeyed = form == "text" or reply.finish != "stop" or answers.is_object(reply.text)
            if self._proven or obeyed or form == forms[-1]:
                if ask.schema is not None and obeyed and len(forms) > 1 and not self._proven:
                    self.form, self._proven = form, True
                return reply
            wasted = reply.usage  # the server took the format and did not keep to it
        raise refusal or AssertionError("the last form either answers or is refused")

    async def _adapt(self, ask: Ask, form: Form, retries: int) -> tuple[dict[str, Any], int | None]:
        """The server's document and the limit it was given. What it refuses is left out, each parameter once."""
        dropped, renamed = self._dropped, self._renamed
        while True:
            body = self._body(ask, form, renamed)
            sent = {key: value for key, value in body.items() if value is not None and key not in dropped}
            try:
                document = await self._send(sent, retries)
            except _Status as error:
                optional = [key for key in sent if key not in ("model", "messages", "response_format")]
                refused = answers.refused_parameter(error.body, optional) if error.status in (400, 422) else None
                if refused is None:
                    raise
                if refused == "max_tokens":
                    renamed = True
                else:
                    dropped = dropped | {refused}
                continue
            self._dropped, self._renamed = self._dropped | dropped, self._renamed or renamed
            limit = sent.get("max_completion_tokens", sent.get("max_tokens"))
            return document, limit if isinstance(limit, int) else None

    def _body(self, ask: Ask, form: Form, renamed: bool) -> dict[str, Any]:
        messages = [{"role": message.role, "content": answers.encodable(message.content)} for message in ask.messages]
        asked = json.dumps(ask.schema, ensure_ascii=False).encode("utf-8", "replace")
        temperature = self._table.temperature if ask.temperature is None else ask.temperature
        limit = ask.max_tokens or self._table.max_tokens
        body: dict[str, Any] = {"temperature": temperature, "max_tokens": limit, **self._table.extra}
        if renamed:
            body.setdefault("max_completion_tokens", body["max_tokens"])
            del body["max_tokens"]
        if ask.schema is not None and form == "json_schema":
            schema = {"name": "answer", "strict": True, "schema": json.loads(asked)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif ask.schema is not None:
            if form == "json_object":
                body["response_format"] = {"type": "json_object"}
            words = f"Answer with one JSON object that fits this JSON schema:\n{asked.decode()}"
            messages[-1]["content"] += f"\n\n{words}"
        return {**body, "model": self._table.model, "messages": messages}

    async def _send(self, body: dict[str, Any], retries: int) -> dict[str, Any]:
        """The answer's JSON document. The SDK retries what breaks off, this what arrives whole but garbled."""
        for attempt in range(retries + 1):
            data = await self._once(body, retries)
            try:
                return answers.parse(data)
            except ValueError:
                if attempt < retries:
                    await asyncio.sleep(self._pause * 2**attempt)
        raise self._error(f"{self.base_url} answered with something that is not a JSON object; is base_url right?")

    async def _once(self, body: dict[str, Any], retries: int) -> bytes:
        import httpx2
        import openai

        try:
            # Not `chat.completions.create`: it walks the messages twice and validates the answer, for 1 ms each.
            response = await self._client.post(
                "/chat/completions", cast_to=httpx2.Response, body=body, options={"max_retries": retries}
            )
        except openai.APIStatusError as error:
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            told = self._refusal(error.status_code, error.body or error.response.text, headers)
            raise _Status(error.status_code, error.body or error.response.text, told) from None
        except (openai.APIConnectionError, wire.Unacceptable) as error:
            # A slow answer may be a long one that was asked for, as one too large is.
            outage = not isinstance(error, (openai.APITimeoutError, wire.Unacceptable))
            raise self._error(wire.reason(error, self.base_url), outage=outage) from None
        return response.content

    def _refusal(self, status: int, body: object, headers: Mapping[str, str]) -> ModelError:
        variable = self._table.api_key_env or "OPENAI_API_KEY"
        said = answers.one_line(answers.redact(answers.complaint(body), self._key))
        code = body.get("code") if isinstance(body, dict) else None
        spent = status == 402 or (status == 429 and "insufficient_quota" in (answers.complaint(body), code))
        means = {
            401: f"the key in {variable} is missing or refused",
            402: "the account is empty",
            403: f"the key in {variable} may not do this",
            404: f"there is no model {self._table.model!r}, or base_url {self.base_url} is wrong",
            429: "the account's quota is spent" if spent else "too many requests",
        }.get(status, "the server is in trouble" if status >= 500 else "the request is refused")
        if 300 <= status < 400:
            means = f"base_url {self.base_url} redirects elsewhere, which is not followed"
        return self._error(
            f"HTTP {status}: {means}{f' ({said})' if said else ''}",
            fatal=spent or status in (401, 403, 404) or status < 400,
            outage=status in (402, 429) or status >= 500,
            wait=answers.retry_after(headers, time.time()),
        )

    def _error(self, what: str, **details: Any) -> ModelError:
        """A failure as the user reads it, with the command that tells more."""
        stop = "" if what.endswith(("?", ".", "…")) else "."
        return ModelError(f"model {self.name}: {answers.redact(what, self._key)}{stop} {CHECK}", **details)

    def _read(self, document: Mapping[str, Any], ask: Ask, limit: int | None, wasted: Usage) -> Reply:
        """The reply in a server's document; what was spent on earlier ones (`wasted`) is added. Raises `ModelError`."""
        message, finish = answers.first_choice(document)
        text = answers.redact(answers.content(message), self._key)
        usage, self.usage_reported = answers.usage(document, ask, text, limit)
        estimated = usage.estimated or wasted.estimated
        usage = Usage(usage.input + wasted.input, usage.output + wasted.output, estimated)
        tokens = (usage.input, usage.output)
        declined = message.get("refusal")
        if declined or finish == "content_filter":
            why = answers.one_line(self._clean(str(declined)), 200) if declined else "its content filter stepped in"
            raise ModelError(f"model {self.name}: the model declined: {why}", refused=True, tokens=tokens)
        if not message and document.get("error"):
            said = answers.one_line(self._clean(answers.complaint(document["error"])))
            raise self._error(f"the server answered with an error: {said}")
        if not message:
            raise self._error("the server answered without a choice", tokens=tokens)
        if not text.strip():
            cut = "; it reached its token limit before: raise max_tokens" if finish == "length" else ""
            raise self._error(f"an empty answer{cut}", tokens=tokens)
        return Reply(text, usage, 0.0, answers.one_line(self._clean(finish), 40))

    def _clean(self, text: str) -> str:
        return answers.redact(text, self._key)


def _given(ask: Ask) -> tuple[int, int]:
    """What a server may bill that took a request and did not answer it whole: the input, about."""
    return sum(estimate_tokens(message.content) for message in ask.messages), 0


def connect(
    name: str, table: ModelTable, environ: Mapping[str, str], *, retries: int = RETRIES, pause: float = 0.25
) -> OpenAIChat:
    """The model of `[models.NAME]`. `pause`: seconds before the first retry of an answer that broke off.

    Raises:
        ModelError: no key, or no address (fatal).
    """
    import httpx2
    import openai

    url = (table.base_url or environ.get("OPENAI_BASE_URL", "").strip() or wire.OPENAI).rstrip("/")
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
        raise ModelError(f"model {name}: OPENAI_BASE_URL is not http://HOST/PATH or https://HOST/PATH", fatal=True)
    variable = table.api_key_env or "OPENAI_API_KEY"
    # OpenAI's key goes to OpenAI, to where the user's environment points, and to this machine; nowhere else unasked.
    own = table.base_url is None or url == wire.OPENAI or wire.is_loopback(url)
    key = environ.get(variable, "").strip() if table.api_key_env or own else ""
    if not key and (table.api_key_env or url == wire.OPENAI):
        raise ModelError(
            f"model {name}: no key: set it with: export {variable}=… (then evogit models check)", fatal=True
        )
    key = key or "none"  # servers of one's own often want none; the SDK wants something
    if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):  # quotes and backslashes would hide it from `redact` in JSON
        raise ModelError(f"model {name}: the key in {variable} has characters that no key has; set it anew", fatal=True)
    try:
        json.dumps(dict(table.extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model {name}: models.{name}.extra cannot be sent as JSON: {error}", fatal=True) from None
    headers = {"Authorization": f"Bearer {key}"}
    if url.endswith("/openai/v1"):  # Azure
        headers["api-key"] = key
    try:
        _ = urllib.parse.urlsplit(url).port  # httpx finds out with the first request, by an error of its own
        http = wire.http_client(url, wire.proxy_for(url, environ), table.timeout, table.max_concurrency)
        client = openai.AsyncOpenAI(
            api_key=key,
            base_url=url,
            organization=environ.get("OPENAI_ORG_ID"),
            project=environ.get("OPENAI_PROJECT_ID"),
            timeout=http.timeout,
            max_retries=retries,
            http_client=http,
            default_headers=headers,
        )
    except (ValueError, ImportError, httpx2.InvalidURL, openai.OpenAIError) as error:  # ImportError: a SOCKS proxy
        why = answers.one_line(answers.redact(str(error), key), 120)
        raise ModelError(f"model {name}: cannot use base_url {url}: {why}", fatal=True) from None
    return OpenAIChat(name, table, client, key, retries, pause)
