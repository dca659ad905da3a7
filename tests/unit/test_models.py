"""Chat models without a server: reading answers, prices, keys and addresses, the scripted model."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Mapping
from socket import gaierror
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.errors import ModelError
from evogit.models import answers
from evogit.models.chat import Ask, Chat, Message
from evogit.models.openai import connect
from evogit.models.pricing import cost, estimate_tokens
from evogit.models.scripted import Scripted
from evogit.models.wire import Unacceptable, proxy_for, reason
from evogit.tables import ModelTable

HELLO = Ask((Message("user", "hello world!"),))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ("choices", "message", "content", "usage", "prompt_tokens", "error", "detail", "loc", "text")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


# Prices


def test_tokens_are_estimated_on_the_high_side() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("a") == 1
    prose = "The population of agents commits edits to branches of a shared repository. " * 10
    assert len(prose) / 4 <= estimate_tokens(prose) <= len(prose) / 3
    assert estimate_tokens("進化") == 2  # six bytes
    assert estimate_tokens("\ud800") == 1  # what cannot be encoded counts too


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(a: str, b: str) -> None:
    assert estimate_tokens(a + b) >= max(estimate_tokens(a), estimate_tokens(b))


def test_cost_is_per_million() -> None:
    table = ModelTable(model="m", price_input=2.0, price_output=8.0)
    assert cost(table, 1_000_000, 500_000) == pytest.approx(6.0)
    assert cost(ModelTable(model="m"), 1_000_000, 500_000) == 0


# Reading answers


@given(JSON)
def test_any_document_is_read_without_a_crash(document: Any) -> None:
    answers.complaint(document)
    answers.refused_parameter(document, ["temperature"])
    if isinstance(document, dict):
        message, finish = answers.first_choice(document)
        answers.content(message).encode()
        usage, _ = answers.usage(document, HELLO, "text", None)
        assert usage.input >= 0
        assert usage.output >= 0
        assert isinstance(finish, str)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "\x00", "[" * 100_000, "1" * 5000, "{} {}"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        answers.parse(text.encode())
    assert not answers.is_object(text)


def figures(given: Any, got: Any, **more: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": given, "completion_tokens": got, **more}}


@pytest.mark.parametrize(
    ("document", "limit", "believed"),
    [
        (figures(12, 3), None, True),
        (figures(12, 0), None, False),  # there is a text
        (figures(0, 3), None, False),  # there was a prompt
        (figures(12, 4 * 4 + 64), None, True),
        (figures(12, 4 * 4 + 65), None, False),
        (figures(12, 500), 500, True),  # it was allowed so many, and may have thought
        (figures(12, 501), 500, False),
        (figures(12, 900, completion_tokens_details={"reasoning_tokens": 890}), None, True),
        (figures(12, 10**8, completion_tokens_details={"reasoning_tokens": 10**8}), None, False),
        (figures(5_000, 3), None, False),
        (figures(True, 3), None, False),
        (figures(12.0, 3), None, False),
        ({"usage": []}, None, False),
        ({}, None, False),
    ],
)
def test_usage_is_believed_only_where_it_can_be_true(document: Any, limit: int | None, believed: bool) -> None:
    usage, reported = answers.usage(document, HELLO, "text", limit)
    assert (reported, usage.estimated) == (believed, not believed)


@pytest.mark.parametrize(
    ("body", "sent", "named"),
    [
        ({"message": "Unrecognized request argument supplied: seed"}, ["seed", "top_p"], "seed"),
        ({"message": "Unsupported value", "param": "temperature"}, ["seed", "temperature"], "temperature"),
        (
            {"message": "'max_tokens' is not supported, use 'max_completion_tokens'", "param": "max_tokens"},
            ["max_tokens"],
            "max_tokens",
        ),
        ({"detail": [{"loc": ["body", "seed"], "msg": "no", "input": {"top_p": 1}}]}, ["top_p", "seed"], "seed"),
        ({"message": "no top_p and no seed"}, ["seed", "top_p"], "top_p"),  # one at a time, in the message's order
        ("unknown field seed", ["seed"], "seed"),
        ({"message": "no seeds here"}, ["seed"], None),
        ({"message": "maximum context length exceeded, reduce max_tokens"}, ["max_tokens"], None),
        ({"message": "bad request"}, ["seed"], None),
        (None, ["seed"], None),
    ],
)
def test_which_parameter_an_error_is_about(body: Any, sent: list[str], named: str | None) -> None:
    assert answers.refused_parameter(body, sent) == named


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "no"}, "no"),
        ({"error": "model 'x' not found"}, "model 'x' not found"),  # Ollama
        ({"error": {"message": "deep"}}, "deep"),
        ({"detail": [{"msg": "one"}, {"msg": "two"}]}, "one; two"),  # FastAPI
        ("plain", "plain"),
        ({"odd": 1, "why": [True]}, "odd: 1, why: True"),
        ({}, ""),
        (None, ""),
        ({"error": {"error": {"error": {"error": {"error": "too deep"}}}}}, "…"),
    ],
)
def test_what_an_error_document_says(body: Any, text: str) -> None:
    assert answers.complaint(body) == text


def test_a_message_is_one_line_without_control_characters() -> None:
    assert answers.one_line("a\x1b[31m\nb\tc\u202e") == "a [31m b c"
    assert answers.one_line("x" * 500, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_be_left_alone(headers: Mapping[str, str], seconds: float | None) -> None:
    assert answers.retry_after(headers, now=40.0) == seconds


# Keys and addresses


@pytest.mark.parametrize(
    ("changes", "environ", "says"),
    [
        ({}, {}, "export OPENAI_API_KEY="),
        ({"api_key_env": "OTHER_KEY"}, {"OPENAI_API_KEY": "sk-not-for-others"}, "export OTHER_KEY="),
        ({"api_key_env": "OTHER_KEY", "base_url": "http://localhost:1/v1"}, {}, "export OTHER_KEY="),
        ({}, {"OPENAI_API_KEY": "  "}, "export OPENAI_API_KEY="),
        ({}, {"OPENAI_API_KEY": "sk-two words"}, "characters that no key has"),
        ({}, {"OPENAI_API_KEY": "sk-schlüssel"}, "characters that no key has"),
        ({}, {"OPENAI_API_KEY": "sk-a\nb"}, "characters that no key has"),
        ({}, {"OPENAI_API_KEY": "sk-ok-123", "OPENAI_BASE_URL": "http://me:pass@host/v1"}, "OPENAI_BASE_URL"),
        ({"base_url": "http://host:99999999/v1"}, {}, "cannot use base_url"),
        ({"base_url": "http://[::1/v1"}, {}, "cannot use base_url"),
        ({"base_url": "http://host/v1"}, {"HTTP_PROXY": "gopher://me:pass@proxy:1"}, "cannot use base_url"),
        ({"base_url": "http://host/v1", "extra": {"top_p": float("nan")}}, {}, "models.fast.extra"),
    ],
)
def test_a_model_that_cannot_work_is_told_at_once(
    changes: Mapping[str, Any], environ: Mapping[str, str], says: str
) -> None:
    with pytest.raises(ModelError) as caught:
        connect("fast", ModelTable(model="m", **changes), environ)
    assert str(caught.value).startswith("model fast: ")
    assert says in str(caught.value)
    assert caught.value.fatal
    assert not any(value.strip() in str(caught.value) for value in environ.values() if value.strip())


@pytest.mark.parametrize(
    ("base_url", "environ", "url"),
    [
        (None, {"OPENAI_API_KEY": "sk-12345678"}, "https://api.openai.com/v1"),
        (None, {"OPENAI_BASE_URL": "http://localhost:8099/v1/"}, "http://localhost:8099/v1"),
        ("http://here/v1", {"OPENAI_BASE_URL": "http://there/v1"}, "http://here/v1"),
    ],
)
def test_where_a_model_is(base_url: str | None, environ: Mapping[str, str], url: str) -> None:
    chat: Chat = (found := connect("fast", ModelTable(model="m", base_url=base_url), environ))
    assert found.base_url == url
    assert chat.name == "fast"
    asyncio.run(chat.close())


def test_a_proxy_is_the_environments() -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "example.org,.inside"}
    assert proxy_for("https://api.openai.com/v1", environ) == "http://proxy:3128"
    assert proxy_for("http://api.openai.com/v1", environ) is None
    assert proxy_for("https://example.org/v1", environ) is None
    assert proxy_for("https://a.inside/v1", environ) is None
    for host in ("localhost", "127.0.0.2", "[::1]"):
        assert proxy_for(f"https://{host}/v1", environ) is None
    assert proxy_for("http://far/v1", {"ALL_PROXY": "all:1"}) == "http://all:1"


def chain(*errors: BaseException) -> BaseException:
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def test_why_there_is_no_connection() -> None:
    url = "https://nowhere.example/v1"
    dns = chain(RuntimeError("Connection error."), OSError("all failed"), gaierror(-2, "Name or service not known"))
    assert reason(dns, url).startswith("cannot find the host nowhere.example (DNS: Name or service not known)")
    both = ExceptionGroup("all", [ConnectionRefusedError(111, "refused"), ConnectionRefusedError(111, "refused")])
    assert reason(chain(RuntimeError(), OSError("all failed"), both), url).startswith("connection refused")
    assert reason(chain(RuntimeError(), Unacceptable("too long")), url) == "too long"
    assert reason(chain(RuntimeError("a"), OSError("the\nend.")), url) == f"lost the connection to {url}: the end"


def test_the_sdk_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, evogit.models.openai, evogit.models.checking; sys.exit('openai' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# The scripted model


def test_a_scripted_model_answers_in_turn_or_by_a_function() -> None:
    async def talk() -> None:
        chat: Chat = (scripted := Scripted("s", ["one", "two"]))
        first, second = await chat.complete(HELLO), await chat.complete(HELLO)
        assert (first.text, second.text) == ("one", "two")
        assert first == await Scripted("s", lambda _ask: "one").complete(HELLO)
        assert (first.usage.input, first.usage.output, first.seconds) == (4, 1, 0.0)
        assert scripted.asks == [HELLO, HELLO]
        with pytest.raises(ModelError, match="used up") as caught:
            await chat.complete(HELLO)
        assert caught.value.fatal
        await chat.close()

    asyncio.run(talk())
