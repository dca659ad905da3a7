"""The desk: resting, leaving, what is held and billed, with a clock of the test's own and scripted models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

import pytest

from evogit.errors import ModelError
from evogit.evolution.budget import Budget, Meter
from evogit.models.chat import Ask, Message, Reply
from evogit.models.desk import GIVE_UP, LONGEST_REST, Desk, OutOfMoney, Resting, Unanswered
from evogit.models.pricing import estimate_tokens
from evogit.models.scripted import Scripted
from evogit.tables import ModelTable

HELLO = Ask((Message("user", "hello"),), max_tokens=10)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def down(_: Ask) -> str:
    raise ModelError("model fast: HTTP 503")


class Late(Scripted):
    """Fails only after a while, so that all who ask are in flight together."""

    async def complete(self, ask: Ask) -> Reply:
        await asyncio.sleep(0.01)
        return await super().complete(ask)


def desk_of(script: Callable[[Ask], str], clock: Clock, *, most: int = 8, patient: bool = False) -> Desk:
    chat = Scripted("fast", script, delay=0.001)
    table = ModelTable(model="scripted", max_concurrency=most, price_input=1.0, price_output=2.0)
    return Desk({"fast": chat}, {"fast": table}, clock, patient=patient)


async def all_of(desk: Desk, count: int) -> Sequence[object]:
    asks = (desk.ask("fast", HELLO, "propose") for _ in range(count))
    return await asyncio.gather(*asks, return_exceptions=True)


def test_one_outage_is_one_failure_however_many_were_in_flight() -> None:
    clock = Clock()
    desk = desk_of(down, clock, most=50)
    desk.chats = {"fast": Late("fast", down)}
    results = asyncio.run(all_of(desk, 50))
    assert all(isinstance(result, Unanswered) for result in results)
    assert (desk.health("fast").failures, desk.health("fast").until) == (1, 1.0)
    assert not desk.gone(["fast"])


def test_who_waits_in_line_for_a_model_that_fails_does_not_ask_it() -> None:
    desk = desk_of(down, Clock(), most=2)
    results = asyncio.run(all_of(desk, 20))
    chat = desk.chats["fast"]
    assert isinstance(chat, Scripted)
    assert len(chat.asks) <= 3
    assert sum(isinstance(result, Resting) for result in results) >= 17


@pytest.mark.parametrize("patient", [False, True])
def test_rests_double_and_a_model_that_never_answers_leaves_a_run_without_an_end(patient: bool) -> None:
    clock = Clock()
    desk = desk_of(down, clock, patient=patient)
    rests = []
    for _ in range(GIVE_UP):
        asyncio.run(all_of(desk, 1))
        rests.append(desk.health("fast").until - clock.now)
        clock.now = desk.health("fast").until + 1
    assert rests[: GIVE_UP - 1] == [min(LONGEST_REST, 2.0**n) for n in range(GIVE_UP - 1)]
    assert desk.gone(["fast"]) is not patient


def test_an_answer_forgives_what_was() -> None:
    clock = Clock()
    desk = desk_of(lambda ask: "ok" if clock.now > 5 else down(ask), clock)
    told: list[str] = []
    desk.notice = told.append
    for clock.now in (0.0, 2.0, 6.0):
        asyncio.run(all_of(desk, 1))
    assert desk.health("fast").failures == 0
    assert [text.split(":")[0] for text in told] == ["model fast rests for 1 s", "model fast answers again"]


def test_nobody_waits_for_a_resting_model_once_the_run_ends() -> None:
    desk = desk_of(down, Clock())

    async def wait() -> None:
        await all_of(desk, 1)
        asyncio.get_running_loop().call_later(0.01, desk.end)
        await desk.until_awake(["fast"])

    with pytest.raises(ModelError, match="the run ends"):
        asyncio.run(wait())


def test_what_is_held_counts_the_schema_and_the_longest_reply() -> None:
    desk = desk_of(lambda _: "ok", Clock())
    schema = {"type": "object", "properties": {"search": {"enum": ["a line of the file"] * 50}}}
    plain, _ = desk.forecast("fast", HELLO)
    tokens, money = desk.forecast("fast", Ask(HELLO.messages, max_tokens=10, schema=schema))
    assert tokens == plain + estimate_tokens(json.dumps(schema))
    assert money == pytest.approx((tokens - 10 + 2 * 10) / 1e6)


def test_a_limit_holds_while_many_ask_at_once_and_what_never_left_is_free() -> None:
    desk = desk_of(lambda _: "four letters more", Clock(), most=1)
    meter = Meter(Budget(tokens=60), "maximize", Clock())
    desk.purse = meter
    results = asyncio.run(all_of(desk, 30))
    assert any(isinstance(result, OutOfMoney) for result in results)
    assert 0 < meter.tokens <= 60

    async def cancelled() -> None:
        desk.purse = Meter(Budget(), "maximize", Clock())
        tasks = [asyncio.create_task(desk.ask("fast", HELLO, "propose")) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(cancelled())
    assert len(desk.lost) <= 1, "only the one that had the slot was sent"
