"""The OpenAI-compatible adapter against a real local server: what comes of every way in which servers misbehave."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.errors import ModelError
from evogit.models.chat import Ask, Message, Reply
from evogit.models.checking import Finding, check
from evogit.models.openai import OpenAIChat, connect
from evogit.tables import ModelTable
from tests.chatserver import Answer, ChatServer

KEY = "sk-planted-7c1e0f55aa"
ENVIRON = {"OPENAI_API_KEY": KEY}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
HELLO = Ask((Message("system", "Be brief."), Message("user", "Say hello.")))
STRUCTURED = Ask((Message("user", "Say hello."),), schema=SCHEMA)
OBJECT = '{"answer": "hello"}'


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(OBJECT) as server:
        yield server


def table(server: ChatServer, **changes: Any) -> ModelTable:
    return ModelTable(**{"model": "scripted", "base_url": server.url, "timeout": 20, **changes})


def ask(server: ChatServer, *asks: Ask, retries: int = 1, **changes: Any) -> list[Reply | ModelError]:
    """What comes of each of `asks`, one after the other, of one client."""

    async def all_of_them() -> list[Reply | ModelError]:
        chat = connect("fast", table(server, **changes), ENVIRON, retries=retries, pause=0.01)
        try:
            return [await answer(chat, each) for each in asks]
        finally:
            await chat.close()

    return asyncio.run(all_of_them())


async def answer(chat: OpenAIChat, ask: Ask) -> Reply | ModelError:
    try:
        return await chat.complete(ask)
    except ModelError as error:
        return error


def failed(outcome: Reply | ModelError) -> ModelError:
    assert isinstance(outcome, ModelError), outcome
    return outcome


def replied(outcome: Reply | ModelError) -> Reply:
    assert isinstance(outcome, Reply), outcome
    return outcome


# The matrix


@dataclass(frozen=True)
class Case:
    """A misbehaviour and what must come of it. `sent` counts requests, with one retry allowed.

    `billed`: whether the server began to answer, so that the prompt may be on its bill.
    """

    fault: str
    sent: int
    says: str
    fatal: bool = False
    refused: bool = False
    wait: float | None = None
    timeout: float = 20.0
    billed: bool = False


FAILURES = (
    Case("401", 1, "HTTP 401: the key in OPENAI_API_KEY is missing or refused", fatal=True),
    Case("echo-401", 1, "bad: Bearer ***", fatal=True),
    Case("402", 1, "the account is empty", fatal=True),
    Case("403", 1, "the key in OPENAI_API_KEY may not do this", fatal=True),
    Case("404", 1, "no model 'scripted', or base_url http://127.0.0.1:", fatal=True),
    Case("redirect", 1, "redirects elsewhere", fatal=True),
    Case("429", 2, "too many requests"),
    Case("429:0.05", 2, "too many requests", wait=0.05),
    Case("429:90", 1, "too many requests", wait=90),  # longer than there is time: no retry
    Case("quota", 1, "the account's quota is spent", fatal=True),
    Case("429", 1, "no answer within 0.2 s; it last said HTTP 429", timeout=0.2),
    Case("400", 1, "the request is refused (went wrong)"),
    Case("500", 2, "the server is in trouble"),
    Case("503:0.05", 2, "HTTP 503", wait=0.05),
    Case("hang", 1, "no answer within 0.4 s", timeout=0.4, billed=True),
    Case("drip", 1, "no answer within 0.4 s", timeout=0.4, billed=True),
    Case("cut", 2, "lost the connection", billed=True),
    Case("cut-early", 2, "lost the connection"),
    Case("truncated", 2, "is base_url right?", billed=True),
    Case("html", 2, "is base_url right?", billed=True),
    Case("not-json", 2, "is base_url right?", billed=True),
    Case("list", 2, "is base_url right?", billed=True),
    Case("error-200", 1, "answered with an error: Provider returned error", billed=True),
    Case("huge", 1, "longer than 4 MiB", billed=True),
    Case("huge-500", 1, "longer than 4 MiB"),
    Case("gzip-bomb", 1, "compressed its answer", billed=True),
    Case("empty-choices", 1, "without a choice", billed=True),
    Case("no-choices", 1, "without a choice", billed=True),
    Case("null-content", 1, "an empty answer", billed=True),
    Case("blank", 1, "an empty answer", billed=True),
    Case("refusal", 1, "the model declined: I cannot help with that.", refused=True, billed=True),
    Case("content-filter", 1, "the model declined: its content filter", refused=True, billed=True),
)


OUTAGES = {"429", "429:0.05", "429:90", "500", "503:0.05", "cut", "cut-early"}
"""What no request can have brought about, beside what is fatal."""


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.fault)
def test_each_misbehaviour_is_one_clear_error(server: ChatServer, case: Case) -> None:
    server.fail_with(case.fault)
    error = failed(ask(server, HELLO, timeout=case.timeout)[0])
    text = str(error)
    assert text.startswith("model fast: ")
    assert case.says in text
    assert (error.fatal, error.refused, error.wait) == (case.fatal, case.refused, case.wait)
    assert error.outage == (case.fatal or case.fault in OUTAGES)
    assert len(server.asked) == case.sent
    assert (error.tokens[0] > 0) == case.billed
    assert len(text) < 500
    assert "\n" not in text
    assert KEY not in text + repr(error)
    assert case.refused or text.endswith("Try: evogit models check")


def test_what_passes_is_retried(server: ChatServer) -> None:
    for fault in ("500", "429:0.01", "cut", "cut-early", "truncated"):
        server.fail_with(fault, times=1)
        assert replied(ask(server, HELLO)[0]).text == OBJECT
    assert len(server.asked) == 10


def test_a_declined_or_empty_answer_is_billed(server: ChatServer) -> None:
    server.fail_with("null-content")
    given, got = failed(ask(server, HELLO)[0]).tokens
    assert given > 0
    assert got > 0


@pytest.mark.parametrize("kind", ["absent", "negative", "fraction", "text", "absurd", "true"])
def test_wrong_usage_figures_are_replaced_by_an_estimate(server: ChatServer, kind: str) -> None:
    server.fail_with(f"usage:{kind}")
    usage = replied(ask(server, HELLO)[0]).usage
    assert (usage.input, usage.output, usage.estimated) == (6, 2, True)


def test_usage_is_the_servers_where_it_can_be_true(server: ChatServer) -> None:
    server.reply = Answer("fine", prompt_tokens=21, completion_tokens=3)
    usage = replied(ask(server, HELLO)[0]).usage
    assert (usage.input, usage.output, usage.estimated) == (21, 3, False)


def test_a_cut_off_answer_says_so(server: ChatServer) -> None:
    server.reply = Answer("for i in range(", finish="length")
    assert replied(ask(server, HELLO)[0]).finish == "length"
    server.reply = Answer("", finish="length")
    assert "raise max_tokens" in str(failed(ask(server, HELLO)[0]))


def test_text_in_parts_and_lone_surrogates_can_be_written_to_a_file(server: ChatServer) -> None:
    parts = [{"type": "text", "text": "a\ud800"}, {"type": "text", "text": "b"}, None, {"type": "image"}]
    server.reply = Answer(raw=json.dumps({"choices": [{"message": {"content": parts}}]}).encode())
    text = replied(ask(server, HELLO)[0]).text
    assert text.encode() == b"a?b"


def test_a_prompt_with_a_file_name_that_is_not_utf8_can_be_sent(server: ChatServer) -> None:
    replied(ask(server, Ask((Message("user", "see caf\udce9.py"),), schema={"enum": ["\udce9"]}))[0])
    assert server.asked[0]["messages"][0]["content"] == "see caf?.py"


def test_deep_nesting_is_an_error_not_a_crash(server: ChatServer) -> None:
    server.reply = Answer(raw=b"[" * 200_000)
    assert "not a JSON object" in str(failed(ask(server, HELLO)[0]))
    for depth in (500, 900, 100_000):
        for inside in (b'{"error":', b"["):
            server.reply = Answer(raw=inside * depth + b"1" + (b"}" if inside != b"[" else b"]") * depth, status=400)
            assert "HTTP 400" in str(failed(ask(server, HELLO, temperature=0.5, retries=0)[0]))


def test_megabytes_of_error_are_told_in_a_line(server: ChatServer) -> None:
    server.reply = Answer(raw=json.dumps({"error": {"message": "\n\0temper" * 300_000}}).encode(), status=400)
    assert len(str(failed(ask(server, HELLO, temperature=0.5)[0]))) < 500


def test_nobody_listens() -> None:
    with ChatServer() as server:
        pass
    assert "connection refused at http://127.0.0.1" in str(failed(ask(server, HELLO, retries=0)[0]))


# Parameters


def test_a_refused_parameter_is_left_out_and_that_is_remembered(server: ChatServer) -> None:
    server.fail_with("refuse:temperature", "refuse:seed:422")
    outcomes = ask(server, HELLO, HELLO, temperature=0.5, extra={"seed": 1, "top_p": 0.9})
    assert [replied(outcome).text for outcome in outcomes] == [OBJECT, OBJECT]
    sent = [sorted(body.keys() - {"model", "messages"}) for body in server.asked]
    assert sent == [["seed", "temperature", "top_p"], ["seed", "top_p"], ["top_p"], ["top_p"]]


def test_max_tokens_goes_by_its_newer_name_where_the_older_is_refused(server: ChatServer) -> None:
    server.fail_with("refuse:max_tokens")
    ask(server, HELLO, HELLO, max_tokens=50)
    limits = [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in server.asked]
    assert limits == [(50, None), (None, 50), (None, 50)]
    server.requests.clear()
    server.fail_with("refuse:max_tokens", "refuse:max_completion_tokens")
    replied(ask(server, HELLO, max_tokens=50)[0])
    assert len(server.asked) == 3


def test_a_parameter_is_only_forgotten_if_that_helped(server: ChatServer) -> None:
    server.fail_with("refuse:temperature", "400", times=1)
    first, second = ask(server, HELLO, HELLO, temperature=0.5)
    failed(first)
    replied(second)
    assert [body.get("temperature") for body in server.asked] == [0.5, None, 0.5]


def test_too_long_a_prompt_does_not_lift_the_limit(server: ChatServer) -> None:
    words = "This model's maximum context length is 4096 tokens, you asked for 9000; reduce max_tokens"
    server.reply = Answer(raw=json.dumps({"error": {"message": words}}).encode(), status=400)
    assert "maximum context length" in str(failed(ask(server, HELLO, max_tokens=5000)[0]))
    assert len(server.asked) == 1


def test_parameters_of_the_agent_win_over_the_models(server: ChatServer) -> None:
    ask(server, Ask(HELLO.messages, temperature=0.0, max_tokens=7), temperature=0.9, max_tokens=99)
    (body,) = server.asked
    assert (body["temperature"], body["max_tokens"]) == (0.0, 7)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


# Structured answers


def forms(server: ChatServer) -> list[str]:
    return [(body.get("response_format") or {}).get("type", "text") for body in server.asked]


def test_a_schema_goes_as_json_schema(server: ChatServer) -> None:
    ask(server, STRUCTURED)
    assert server.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert server.asked[0]["messages"][-1]["content"] == "Say hello."


@pytest.mark.parametrize("status", [400, 422, 500, 501])
def test_a_server_without_json_schema_is_asked_for_an_object_and_that_is_remembered(
    server: ChatServer, status: int
) -> None:
    server.fail_with(f"no:json_schema:{status}")
    for outcome in ask(server, STRUCTURED, STRUCTURED):
        assert replied(outcome).text == OBJECT
    tries = 2 if status >= 500 else 1  # a 5xx may pass
    assert forms(server) == ["json_schema"] * tries + ["json_object", "json_object"]
    assert json.dumps(SCHEMA) in server.asked[-1]["messages"][-1]["content"]


def test_a_server_without_either_gets_the_schema_in_words(server: ChatServer) -> None:
    server.fail_with("no:json_schema:400", "no:json_object:400")
    ask(server, STRUCTURED, STRUCTURED, HELLO)
    assert forms(server) == ["json_schema", "json_object", "text", "text", "text"]
    assert json.dumps(SCHEMA) in server.asked[-2]["messages"][-1]["content"]
    assert server.asked[-1]["messages"][-1]["content"] == "Say hello."


def test_passing_trouble_does_not_downgrade(server: ChatServer) -> None:
    server.fail_with("500", times=1)
    ask(server, STRUCTURED, STRUCTURED)
    assert forms(server) == ["json_schema"] * 3
    server.requests.clear()
    server.fail_with("500")
    failed(ask(server, STRUCTURED, retries=0)[0])
    assert forms(server) == ["json_schema", "json_object", "text"]  # nothing to remember: none of them worked


def test_a_form_that_has_worked_outlives_trouble(server: ChatServer) -> None:
    def moody(_body: dict[str, Any]) -> str | Answer:
        return {2: Answer(fail="500"), 3: Answer(fail="400")}.get(len(server.asked), OBJECT)

    server.reply = moody
    first, second, third, fourth = ask(server, STRUCTURED, STRUCTURED, STRUCTURED, STRUCTURED, retries=0)
    replied(first)
    assert "HTTP 500" in str(failed(second))
    replied(third)  # 400: this schema may be too much for the server, so this once in a lower form
    replied(fourth)
    assert forms(server) == ["json_schema"] * 3 + ["json_object", "json_schema"]


def test_a_server_that_takes_the_format_and_ignores_it_is_found_out(server: ChatServer) -> None:
    server.reply = lambda body: OBJECT if "JSON schema" in body["messages"][-1]["content"] else "Hello there!"
    first, second = ask(server, STRUCTURED, STRUCTURED)
    assert (replied(first).text, replied(second).text) == (OBJECT, OBJECT)
    assert forms(server) == ["json_schema", "json_object", "json_object"]
    assert replied(first).usage.input > replied(second).usage.input  # what was wasted is billed


# Secrets


def test_only_what_is_needed_is_sent(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-process")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-process")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer other\nX-Team: secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    replied(ask(server, HELLO)[0])
    headers = dict(server.requests[0].headers)
    assert headers.pop("authorization") == f"Bearer {KEY}"
    for name in ("host", "user-agent", "content-length"):
        headers.pop(name)
    assert headers == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "content-type": "application/json",
    }


def test_azure_gets_its_own_header(server: ChatServer) -> None:
    replied(ask(server, HELLO, base_url=server.url.replace("/v1", "/openai/v1"))[0])
    assert server.requests[0].headers["api-key"] == KEY
    assert server.requests[0].path == "/openai/v1/chat/completions"


def test_a_redirect_does_not_carry_the_key_away(server: ChatServer) -> None:
    server.fail_with("redirect")
    ask(server, HELLO)
    assert [request.path for request in server.requests] == ["/v1/chat/completions"]


def test_an_echoed_key_is_not_in_the_reply(server: ChatServer) -> None:
    server.fail_with("echo")
    assert replied(ask(server, HELLO)[0]).text == "You sent Bearer ***"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.text(max_size=320),
    after=st.text(max_size=320),
    status=st.sampled_from([200, 400, 401, 404, 418, 422]),
    shape=st.sampled_from(["message", "error", "detail", "list", "text", "refusal", "content", "finish", "param"]),
)
def test_no_key_ever_leaves(server: ChatServer, before: str, after: str, status: int, shape: str) -> None:
    said = f"{before}{KEY}{after}"
    documents: dict[str, Any] = {
        "message": {"error": {"message": said}},
        "error": {"error": said},
        "detail": {"detail": [{"loc": ["body", said], "msg": said}]},
        "list": [{"odd": said}],
        "text": said,
        "refusal": {"choices": [{"message": {"content": None, "refusal": said}}]},
        "content": {"choices": [{"message": {"content": said}}]},
        "finish": {"choices": [{"message": {"content": "x"}, "finish_reason": said}]},
        "param": {"error": {"message": "no", "param": said, "code": said}},
    }
    server.reply = Answer(raw=json.dumps(documents[shape]).encode(), status=status)
    (outcome,) = ask(server, HELLO, retries=0)
    shown = f"{outcome} {outcome!r}"
    assert KEY not in shown
    assert KEY[:12] not in shown  # cut off in the middle is no better


# Many at a time


def test_no_more_in_flight_than_configured_and_connections_are_kept() -> None:
    async def rush(server: ChatServer) -> None:
        chat = connect("fast", table(server, max_concurrency=3), ENVIRON)
        await asyncio.gather(*(chat.complete(HELLO) for _ in range(12)))
        await chat.close()

    with ChatServer("ok", latency=0.02) as server:
        asyncio.run(rush(server))
        assert len(server.asked) == 12
        assert server.most <= 3
        assert server.connections <= 3


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_cancelled_request_gives_its_place_back(fault: str) -> None:
    async def change_ones_mind(server: ChatServer) -> Reply | ModelError:
        chat = connect("fast", table(server, max_concurrency=1), ENVIRON)
        server.fail_with(fault, times=1)
        first = asyncio.create_task(chat.complete(HELLO))
        while not server.asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # a drip is within the body by now
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        outcome = await answer(chat, HELLO)
        await chat.close()
        return outcome

    with ChatServer("ok") as server:
        assert replied(asyncio.run(change_ones_mind(server))).text == "ok"


def test_five_hundred_at_a_time_against_a_server_of_its_own() -> None:
    script = Path(__file__).parents[1] / "chatserver.py"
    command = [sys.executable, str(script), "--latency", "0.5", "--reply", "hi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def rush() -> list[Reply]:
            chat = connect("fast", ModelTable(model="m", base_url=url, max_concurrency=500), {})
            replies = await asyncio.gather(*(chat.complete(HELLO) for _ in range(500)))
            await chat.close()
            return replies

        try:
            assert [reply.text for reply in asyncio.run(rush())] == ["hi"] * 500
        finally:
            process.terminate()


# Checking


def checked(server: ChatServer, **changes: Any) -> Finding:
    return asyncio.run(check("fast", table(server, **changes), ENVIRON))


def enforcing(body: dict[str, Any]) -> str:
    kind = (body.get("response_format") or {}).get("type", "text")
    return {"json_schema": '{"word": "basalt"}', "json_object": '{"word": "hi"}', "text": "1 2 3"}[str(kind)]


def test_a_check_reports_what_a_model_can_do(server: ChatServer) -> None:
    server.reply = enforcing
    finding = checked(server)
    assert finding.ok
    assert finding.supports == ("json_schema", "json_object", "text")
    assert finding.usage_reported
    assert finding.latency > 0
    assert finding.tokens_per_second > 0
    assert (finding.name, finding.model, finding.base_url) == ("fast", "scripted", server.url)


def test_a_check_is_not_taken_in_by_a_format_that_is_ignored(server: ChatServer) -> None:
    server.reply = "Hello!"
    assert checked(server).supports == ("text",)
    server.reply = enforcing
    server.fail_with("no:json_schema:500")
    assert checked(server).supports == ("json_object", "text")


def test_a_check_that_fails_says_why_in_one_line(server: ChatServer) -> None:
    server.fail_with("echo-401")
    finding = checked(server)
    assert not finding.ok
    expected = "model fast: HTTP 401: the key in OPENAI_API_KEY is missing or refused (bad: Bearer ***)."
    assert finding.problem == expected
    missing = checked(server, api_key_env="OPENROUTER_KEY")
    assert "OPENROUTER_KEY" in missing.problem
    assert not missing.ok
