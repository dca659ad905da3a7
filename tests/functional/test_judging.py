"""Tasks that a critic decides, alone or next to a score: real runs against a scripted judge."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.chatserver import Answer, ChatServer
from tests.conftest import run_git
from tests.fitting import EVALUATE, evogit, project, prompt_of, status, write

JUDGED = EVALUATE.replace('return {"score": -float(wrong), ', "return {")


def test_a_task_without_a_number_is_decided_by_the_critic_in_both_orders(tmp_path: Path) -> None:
    """A judge that always prefers what it sees first is no judge; one that knows decides."""

    def answer(body: dict[str, Any], *, biased: bool) -> str:
        prompt = prompt_of(body)
        if "two versions" not in prompt:
            return write(body)
        off = [int(n) for n in re.findall(r"off by (\d+)", prompt)]
        verdict = "first" if biased or off[0] < off[1] else "second"
        return json.dumps({"reason": "closer to the goal", "verdict": verdict})

    accepted = []
    for biased in (True, False):
        with ChatServer(reply=functools.partial(answer, biased=biased)) as server:
            at = project(tmp_path / str(biased), server.url, task='judge = "decides"', evaluate=JUDGED)
            evogit(at, "run", "--agents", "coder:2, critic", "--candidates", "12", "--deterministic", "-q")
        accepted.append(status(at)["accepted"])
    assert accepted[0] == 0
    assert accepted[1] > 0
    best = status(at)["best"]["commit"]
    assert best != run_git("rev-parse", "HEAD", cwd=at)
    assert "judged: better closer to the goal" in evogit(at, "show", best)
    assert "clean" in evogit(at, "fsck")


def test_a_judged_task_without_a_critic_says_what_to_type(tmp_path: Path) -> None:
    at = project(tmp_path, "http://127.0.0.1:9/v1", task='judge = "decides"')
    assert 'add critic to the agents, as --agents "coder:4, critic"' in evogit(at, "run", "--agents", "tinker", code=2)


START = -205
"""The score of the seed."""


def judge(body: dict[str, Any]) -> str:
    """Writes code, and as a critic prefers what is closer to the goal."""
    off = [int(n) for n in re.findall(r"off by (\d+)", prompt_of(body))]
    if "two versions" not in prompt_of(body):
        return write(body)
    verdict = "same" if off[0] == off[1] else "first" if off[0] < off[1] else "second"
    return json.dumps({"reason": "closer to the goal", "verdict": verdict})


def test_among_equal_scores_the_critic_decides(tmp_path: Path) -> None:
    flat = EVALUATE.replace('"score": -float(wrong)', '"score": 1.0')
    with ChatServer(reply=judge) as server:
        at = project(tmp_path, server.url, task='judge = "ties"', evaluate=flat)
        evogit(at, "run", "--agents", "coder:2, critic", "--candidates", "12", "--deterministic", "-q")
    found = status(at)
    assert 0 < found["accepted"] < found["candidates"]
    assert json.loads(evogit(at, "stats", "--json"))["spent"]["role"]["judge"]["calls"] == 2 * found["candidates"]


def test_where_scores_differ_the_tie_breaker_is_not_asked(tmp_path: Path) -> None:
    with ChatServer(reply=judge) as server:
        at = project(tmp_path, server.url, task='judge = "ties"')
        evogit(at, "run", "--agents", "coder:1, critic", "--candidates", "3", "--deterministic", "-q", "--seed", "2")
    scores = [json.loads(line)["score"] for line in evogit(at, "log", "--json").splitlines()]
    asked = json.loads(evogit(at, "stats", "--json"))["spent"]["role"].get("judge", {"calls": 0})["calls"]
    assert len(set(scores)) == 3
    assert asked == 0


def test_a_verdict_in_one_order_only_is_none_and_both_answers_are_billed_to_the_critic(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(body: dict[str, Any]) -> str:
        if "two versions" not in prompt_of(body):
            return write(body)
        asked.append(prompt_of(body))
        return judge(body) if len(asked) == 1 else "Perhaps."

    agents = tmp_path / ".evogit/agents"
    agents.mkdir(parents=True)
    text = (Path(__file__).parents[2] / "agents/critic.md").read_text()
    (agents / "critic.md").write_text(text.replace("temperature: 0", "temperature: 0\nrepairs: 0"))
    with ChatServer(reply=answer) as server:
        at = project(tmp_path, server.url, task='judge = "decides"')
        evogit(at, "run", "--agents", "coder:1, critic", "--candidates", "1", "--deterministic", "-q")
    found = status(at)
    assert found["accepted"] == 0
    assert found["outcomes"]["critic"] == {"fast": {"unparsable": 1}}
    assert "unparsable" not in found["outcomes"]["coder"]["fast"]
    spent = json.loads(evogit(at, "stats", "--json"))["spent"]
    assert spent["role"]["judge"]["calls"] == spent["agent"]["critic"]["calls"] == len(asked) == 2


def test_a_judged_run_ends_when_its_critic_is_gone(tmp_path: Path) -> None:
    """Nothing could be accepted any more, and the coders would go on being paid."""
    with ChatServer(reply=write) as server, ChatServer(reply=lambda _: Answer(fail="401")) as broken:
        other = f'[models.broken]\nmodel = "scripted"\nbase_url = "{broken.url}"\n'
        at = project(tmp_path, server.url, task='judge = "decides"', model=other)
        agents = "coder:2:fast, critic:1:broken"
        out = evogit(at, "run", "--agents", agents, "--candidates", "50", "--plain", code=1)
        assert len(server.requests) <= 6
    assert "model broken leaves the run" in out


@pytest.mark.parametrize("answered", [1, 6])
def test_what_a_critic_said_before_the_run_ended_is_billed(tmp_path: Path, answered: int) -> None:
    """Whatever it was in the middle of: one order, a rival, the champion."""
    asked: list[str] = []

    def answer(body: dict[str, Any]) -> str | Answer:
        if "two versions" not in prompt_of(body):
            return write(body)
        asked.append(prompt_of(body))
        return judge(body) if len(asked) <= answered else Answer(judge(body), delay=100)

    with ChatServer(reply=answer) as server:
        at = project(tmp_path, server.url, task='judge = "decides"')
        evogit(at, "run", "--agents", "coder:2, critic", "--seconds", "4", "-q")
    spent = json.loads(evogit(at, "stats", "--json"))["spent"]["role"]
    assert len(asked) > answered
    assert spent["judge"]["calls"] == len(asked)
    assert sum(each["calls"] for each in spent.values()) == len(server.asked)


def test_the_score_is_a_gate_before_the_critic_and_decides_alone_without_one(tmp_path: Path) -> None:
    """The critic sees nothing that scores worse; what it refuses is not accepted, however well it scores."""

    def refuse(body: dict[str, Any], *, odd: bool) -> str:
        prompt = prompt_of(body)
        if "two versions" not in prompt:
            return write(body)
        off = [int(n) for n in re.findall(r"off by (\d+)", prompt)]
        better, worse = ("first", "second") if off[0] < off[1] else ("second", "first")
        return json.dumps({"reason": "as I like", "verdict": worse if odd and min(off) % 2 else better})

    for odd in (True, False):
        with ChatServer(reply=functools.partial(refuse, odd=odd)) as server:
            at = project(tmp_path / str(odd), server.url, task='judge = "gated"')
            evogit(at, "run", "--agents", "coder:2, critic", "--candidates", "10", "--deterministic", "-q")
        rows = [json.loads(line) for line in evogit(at, "log", "--json").splitlines()]
        accepted = [row["score"] for row in rows if row["decision"] == "accepted"]
        assert accepted
        assert not odd or all(score % 2 == 0 for score in accepted)
        best = status(at)["best"]["score"]
        assert best == max(accepted)
        promising = [row["score"] for row in rows if row["score"] % 2 and row["score"] > START]
        assert promising, "no version that the critic could refuse"
        assert odd or best == max(row["score"] for row in rows)
    scores = {row["commit"]: row["score"] for row in rows}
    shown = [json.loads(evogit(at, "show", row["commit"], "--json")) for row in rows]
    judged = [(each["commit"], e["than"]) for each in shown for e in each["entries"] if e["kind"] == "judged"]
    assert all(scores[one] >= scores.get(other, START) for one, other in judged)
    assert len(set(judged)) == len(judged), "the critic was asked twice about the same two versions"
    assert {row["commit"] for row in rows} > {one for one, _ in judged}
    with ChatServer(reply=write) as server:
        at = project(tmp_path / "alone", server.url, task='judge = "gated"')
        evogit(at, "run", "--agents", "coder:2", "--candidates", "10", "--deterministic", "-q")
    rows = [json.loads(line) for line in evogit(at, "log", "--json").splitlines()]
    assert status(at)["best"]["score"] == max(row["score"] for row in rows)
