"""Language-model agents in a run: real processes, real Git, a real HTTP server whose answers are scripted."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chatserver import Answer, ChatServer
from tests.conftest import run_git

KEY = "sk-planted-9f8e7d6c5b4a"

SEED = "def answer(x):\n    return 0\n\n\ndef helper(x):\n    return x\n"

EVALUATE = """
def evaluate(folder, epoch=0, stage="main"):
    space = {}
    exec((folder / "program.py").read_text(), space)
    wrong = sum(abs(space["answer"](x) - (3 * x + 7)) for x in range(10))
    return {"score": -float(wrong), "feedback": f"off by {wrong}"}
"""


def evogit(at: Path, *arguments: str, code: int = 0, key: str = KEY) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "evogit", "-C", str(at), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OPENAI_API_KEY": key},
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "bug in EvoGit" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def project(root: Path, url: str, *, evaluate: str = EVALUATE, task: str = "", model: str = "") -> Path:
    folder = root / ".evogit/tasks/fit"
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(
        'direction = "maximize"\nevolve = ["*.py"]\n'
        f'[evaluation]\nfunction = "evaluate.py:evaluate"\ndeadline = 5\n{task}\n'
    )
    (folder / "goal.md").write_text("Compute 3x + 7.\n")
    (folder / "evaluate.py").write_text(evaluate)
    (root / ".evogit/config.toml").write_text(
        f'[run]\ntask = "fit"\n[models.fast]\nmodel = "scripted"\nbase_url = "{url}"\nmax_tokens = 500\n'
        f"price_input = 1.0\nprice_output = 4.0\ntimeout = 10\n{model}\n"
    )
    (root / "program.py").write_text(SEED)
    run_git("init", "-q", cwd=root)
    run_git("add", "-A", cwd=root)
    run_git("commit", "-qm", "start", cwd=root)
    return root


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def write(body: dict[str, Any]) -> str:
    """A model that knows the three formats and guesses the two numbers, differently for each prompt."""
    prompt = prompt_of(body)
    rng = random.Random(json.dumps(body["messages"]))
    expression = f"{rng.randint(0, 4)} * x + {rng.randint(0, 9)}"
    if "CONFLICT 1" in prompt:
        return f"CONFLICT 1\n```\n    return {expression}\n```"
    section = re.search(r"<<<<<<< section begins\n(.*)\n>>>>>>> section ends", prompt, re.DOTALL)
    if section:
        return "```python\n" + re.sub(r"return .*", f"return {expression}", section[1], count=1) + "\n```"
    found = re.search(r"^    return (.*)$", prompt, re.MULTILINE)
    old = found[1] if found else "nothing"
    return f"program.py\n<<<<<<< SEARCH\n    return {old}\n=======\n    return {expression}\n>>>>>>> REPLACE\n"


def status(at: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evogit(at, "status", "--json"))
    return found


def objects_with(at: Path, text: str) -> list[str]:
    """Objects of the repository, and files beside them, that hold `text`."""
    listed = run_git("cat-file", "--batch-check", "--batch-all-objects", cwd=at).splitlines()
    found = [line.split()[0] for line in listed if text in run_git("cat-file", "-p", line.split()[0], cwd=at)]
    return found + [str(p) for p in at.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def test_a_mixed_population_is_deterministic_and_its_conversations_are_on_record(tmp_path: Path) -> None:
    ids = []
    with ChatServer(reply=write) as server:
        for name in ("one", "two"):
            at = project(tmp_path / name, server.url)
            population = "surgeon:2, coder:2, breeder, tinker:2, fixer"
            evogit(at, "run", "--agents", population, "--candidates", "40", "--seed", "5", "--deterministic", "-q")
            ids.append(run_git("for-each-ref", "--format=%(refname) %(objectname)", cwd=at))
    assert ids[0] == ids[1]
    found = status(at)
    assert found["best"]["score"] > -105
    assert found["outcomes"]["coder"]["fast"]["ok"] > 0
    assert found["tokens"] > 1000
    assert found["cost"] > 0
    row = json.loads(evogit(at, "log", "--json", "--agent", "coder", "-n", "1").splitlines()[0])
    assert "Compute 3x + 7." in evogit(at, "show", row["commit"], "--prompt")
    assert "<<<<<<< SEARCH" in evogit(at, "show", row["commit"], "--reply")
    assert "EvoGit-Model: scripted" in run_git("log", "-1", "--format=%B", row["commit"], cwd=at)
    assert objects_with(at, KEY) == []
    assert any(KEY in request.headers.get("authorization", "") for request in server.requests)
    assert "clean" in evogit(at, "fsck")
    spent = json.loads(evogit(at, "stats", "--json"))["spent"]
    assert set(spent["model"]) == {"fast"}
    assert {"propose"} <= set(spent["role"])
    assert sum(r["cost"] for r in spent["agent"].values()) == pytest.approx(spent["model"]["fast"]["cost"])


def test_a_prompt_tells_the_parent_s_feedback_and_what_failed_on_these_lines(tmp_path: Path) -> None:
    with ChatServer(reply=write) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:2", "--candidates", "25", "--deterministic", "-q")
        prompts = [prompt_of(body) for body in server.asked]
    assert all("off by" in prompt for prompt in prompts)
    assert any("did not help; try something else:\n- program.py:2" in prompt for prompt in prompts)
    assert any("the best so far has" in prompt for prompt in prompts)


def test_every_outcome_is_counted_and_never_looks_like_progress(tmp_path: Path) -> None:
    replies = [
        "Sure! Here is a better idea, but no code.",
        "program.py\n<<<<<<< SEARCH\n    return 99\n=======\n    return 1\n>>>>>>> REPLACE",
        "../other.py\n<<<<<<< SEARCH\n=======\nx = 1\n>>>>>>> REPLACE",
        "program.py\n<<<<<<< SEARCH\n    return 0\n=======\n    return (\n>>>>>>> REPLACE",
        "program.py\n<<<<<<< SEARCH\n    return 0\n=======\n    return 0\n>>>>>>> REPLACE",
        "I'm sorry, I cannot help with that.",
    ]
    turns: list[int] = []

    def answer(_body: dict[str, Any]) -> str:
        turns.append(1)
        return replies[((len(turns) - 1) // 2) % len(replies)]

    with ChatServer(reply=answer) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:1", "--candidates", "1", "--deterministic", "-q")
    found = status(at)
    counted = found["outcomes"]["coder"]["fast"]
    wanted = {"unparsable", "not-found", "forbidden-path", "syntax-error", "no-op", "refused"}
    assert wanted <= set(counted)
    assert found["accepted"] == 0
    assert found["candidates"] == 0
    assert "replies to coder from fast:" in evogit(at, "status")


def test_a_reply_is_mended_when_the_model_is_shown_its_error(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        told = body["messages"][-1]["content"]
        line = "0" if "return 0" in told and "Did you mean" in told else "00"
        head = "program.py\n<<<<<<< SEARCH\ndef answer(x):\n"
        return f"{head}    return {line}\n=======\ndef answer(x):\n    return 7\n>>>>>>> REPLACE"

    with ChatServer(reply=answer) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:1", "--candidates", "1", "--deterministic", "-q")
    assert status(at)["accepted"] == 1
    assert json.loads(evogit(at, "stats", "--json"))["spent"]["role"]["mend"]["calls"] == 1


def test_the_fixer_repairs_a_child_that_failed(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        if "The failure:" in prompt_of(body):
            assert "NameError" in prompt_of(body)
            return "program.py\n<<<<<<< SEARCH\n    return y\n=======\n    return 3 * x\n>>>>>>> REPLACE"
        return "program.py\n<<<<<<< SEARCH\n    return 0\n=======\n    return y\n>>>>>>> REPLACE"

    with ChatServer(reply=answer) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:1, fixer", "--candidates", "2", "--deterministic", "-q")
    rows = [json.loads(line) for line in evogit(at, "log", "--json").splitlines()]
    assert [(row["operator"], row["decision"]) for row in rows] == [
        ("repair", "accepted"),
        ("search-replace", "failed"),
    ]
    assert rows[0]["parents"] == [rows[1]["commit"]]


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


def test_the_scribe_s_notes_reach_later_prompts(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        if "Write the notes anew" in prompt_of(body):
            assert "→" in prompt_of(body)
            return "- multiply x before adding\n- never return a constant"
        return write(body)

    agents = tmp_path / ".evogit/agents"
    agents.mkdir(parents=True)
    text = (Path(__file__).parents[2] / "agents/scribe.md").read_text()
    (agents / "scribe.md").write_text(text.replace("every: 50", "every: 5"))
    with ChatServer(reply=answer) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:2, scribe", "--candidates", "15", "--deterministic", "-q")
        prompts = [prompt_of(body) for body in server.asked]
    assert any("What was learned so far:\n- multiply x before adding" in prompt for prompt in prompts)
    assert status(at)["notes"][-1].startswith("multiply x")


def test_a_limit_on_money_is_never_passed_and_counts_what_is_in_flight(tmp_path: Path) -> None:
    with ChatServer(
        reply=lambda body: Answer(write(body), prompt_tokens=400, completion_tokens=100, delay=0.05)
    ) as server:
        at = project(tmp_path, server.url)
        out = evogit(at, "run", "--agents", "coder:8", "--max-cost", "0.01", "--seconds", "60", "--plain")
        assert out.splitlines()[-3].startswith("cost: ")
        assert 0 < status(at)["cost"] <= 0.01
        asked = len(server.requests)
        out = evogit(at, "run", "--agents", "coder:8", "--max-cost-per-day", "0.01", "--seconds", "60", "--plain")
        assert "cost of the day" in out
        assert len(server.requests) <= asked + 2


def test_a_dry_run_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    with ChatServer(reply=write) as server:
        at = project(tmp_path, server.url)
        before = run_git("for-each-ref", cwd=at)
        found = json.loads(
            evogit(at, "run", "--agents", "coder:2, tinker:2", "--candidates", "100", "--dry-run", "--json")
        )
        assert server.requests == []
    assert run_git("for-each-ref", cwd=at) == before
    row = found["agents"][0]
    assert row["prompt"] > 100
    assert row["cost"] == pytest.approx((row["prompt"] + 4 * row["reply"]) / 1e6)
    assert found["cost"] == pytest.approx(row["cost"] / 2 * 100)


def test_a_failing_model_is_rested_and_the_others_go_on(tmp_path: Path) -> None:
    with ChatServer(reply=write) as good, ChatServer(reply=write) as bad:
        bad.fail_with("401")
        more = f'[models.bad]\nmodel = "scripted"\nbase_url = "{bad.url}"\n'
        at = project(tmp_path, good.url, model=more)
        out = evogit(at, "run", "--agents", "coder:2:fast, surgeon:2:bad", "--candidates", "10", "--plain")
    assert "model bad leaves the run" in out
    assert KEY not in out
    assert status(at)["candidates"] >= 10
    assert len(bad.requests) <= 4


def test_a_run_whose_only_model_is_gone_ends_and_says_so(tmp_path: Path) -> None:
    with ChatServer(reply=write) as server:
        server.fail_with("404")
        at = project(tmp_path, server.url)
        out = evogit(at, "run", "--agents", "coder:3", "--candidates", "10", "--plain", code=1)
        assert len(server.requests) <= 6
    assert "evogit models check" in out


def test_a_key_that_is_not_set_is_told_before_anything_begins(tmp_path: Path) -> None:
    at = project(tmp_path, "http://127.0.0.1:9/v1", model='api_key_env = "NO_SUCH_KEY"')
    assert "export NO_SUCH_KEY=" in evogit(at, "run", "--agents", "coder", "--candidates", "1", code=1)


def test_an_agent_without_a_model_says_how_to_give_it_one(tmp_path: Path) -> None:
    at = project(tmp_path, "http://127.0.0.1:9/v1")
    (at / ".evogit/config.toml").write_text('[run]\ntask = "fit"\n')
    assert "[models.NAME] with model and base_url" in evogit(at, "run", "--agents", "coder", code=2)


def test_the_same_patch_is_not_evaluated_twice(tmp_path: Path) -> None:
    with ChatServer(
        reply="program.py\n<<<<<<< SEARCH\n    return x\n=======\n    return x + 1\n>>>>>>> REPLACE"
    ) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:2", "--candidates", "2", "--deterministic", "-q")
    assert status(at)["candidates"] == 1
    assert status(at)["rejected"]["duplicate"] > 5


def test_a_person_s_guidance_reaches_the_prompts(tmp_path: Path) -> None:
    """A `guide` decision in anybody's journal counts; reviewing itself comes later."""
    from evogit.store.journal import Journal
    from evogit.store.repository import find

    with ChatServer(reply=write) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:1", "--candidates", "2", "--seed", "1", "-q")
        journal = Journal(find(at).objects(), "main", "reviewer-0", lambda: 1)
        journal.append("decided", "guide", {"decision": "guide", "text": "Think of straight lines.", "agent": "coder"})
        journal.publish()
        server.requests.clear()
        evogit(at, "run", "--agents", "coder:1", "--candidates", "2", "--seed", "2", "-q")
        assert all("- Think of straight lines." in prompt_of(body) for body in server.asked)


def test_models_check_tells_what_works_and_what_does_not(tmp_path: Path) -> None:
    with ChatServer(reply='{"answer": 4}') as server:
        more = '[models.nowhere]\nmodel = "x"\nbase_url = "http://127.0.0.1:9/v1"\n[models.keyless]\nmodel = "x"\n'
        at = project(tmp_path, server.url, model=more + 'api_key_env = "NO_SUCH_KEY"\n')
        out = evogit(at, "models", "check", code=1)
    assert "fast: ok" in out
    assert "tokens/s" in out
    assert "nowhere: model nowhere: connection refused at http://127.0.0.1:9/v1" in out
    assert "export NO_SUCH_KEY=" in out


ASKS = """
import json, os, urllib.request


def evaluate(folder, epoch=0, stage="main"):
    body = {"model": os.environ["EVOGIT_MODEL"], "messages": [{"role": "user", "content": "Say a number."}]}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        said = json.load(answer)["choices"][0]["message"]["content"]
    space = {}
    exec((folder / "program.py").read_text(), space)
    return {"score": float(said) - abs(space["answer"](1) - 10), "feedback": os.environ["OPENAI_API_KEY"]}
"""


@pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="needs bubblewrap")
def test_a_program_under_evaluation_asks_its_model_and_is_billed(tmp_path: Path) -> None:
    with ChatServer(reply="5") as server:
        at = project(tmp_path, server.url, evaluate=ASKS, task='model = "fast"\nmodel_requests = 2')
        evogit(at, "run", "--agents", "tinker:2", "--candidates", "4", "--deterministic", "-q")
    assert all(KEY in request.headers["authorization"] for request in server.requests)
    assert status(at)["best"]["score"] <= 5.0
    roles = json.loads(evogit(at, "stats", "--json"))["spent"]["role"]
    assert set(roles) == {"candidate"}
    assert roles["candidate"]["cost"] > 0
    assert "evogit" in evogit(at, "show", "base")
    assert objects_with(at, KEY) == []
