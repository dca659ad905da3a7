"""Language-model agents in a run: real processes, real Git, a real HTTP server whose answers are scripted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chatserver import Answer, ChatServer
from tests.conftest import run_git
from tests.fitting import EVALUATE, KEY, evogit, objects_with, project, prompt_of, status, write


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
        out = evogit(at, "run", "--run", "other", "--agents", "coder", "--max-cost-per-day", "0.01", "--plain")
        assert "cost of the day" in out, "another run of the repository has spent it"
        assert len(server.requests) <= asked + 4


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


@pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="needs bubblewrap")
def test_a_program_whose_model_was_out_of_reach_is_tried_again(tmp_path: Path) -> None:
    down = False
    with ChatServer(reply=lambda _: Answer(fail="404") if down else "5") as server:
        at = project(tmp_path, server.url, evaluate=ASKS, task='model = "fast"')
        evogit(at, "run", "--agents", "tinker:1", "--candidates", "1", "--deterministic", "-q")
        (at / "program.py").write_text("def answer(x):\n    return 9\n")
        run_git("commit", "-qam", "nine", cwd=at)
        down = True
        refused = json.loads(evogit(at, "adopt", "HEAD", "--json", code=1).partition("\nwarning")[0])
        evogit(at, "run", "--candidates", "2", "--seed", "5", "--deterministic", "-q")
        down = False
        found = json.loads(evogit(at, "adopt", "HEAD", "--json"))
        evogit(at, "fsck")
    assert (refused["status"], found["status"], found["score"]) == ("unanswered", "ok", 4.0)
    assert status(at)["rejected"]["unanswered"] == 2


def test_what_a_person_said_reaches_the_prompts_and_pruned_code_does_not_come_back(tmp_path: Path) -> None:
    with ChatServer(
        reply=lambda _: "program.py\n<<<<<<< SEARCH\n    return 0\n=======\n    return 7\n>>>>>>> REPLACE"
    ) as server:
        at = project(tmp_path, server.url)
        evogit(at, "run", "--agents", "coder:1", "--candidates", "1", "--deterministic", "-q")
        assert status(at)["accepted"] == 1
        evogit(at, "prune", "best", "-m", "a constant")
        kept = json.loads(evogit(at, "guide", "no constants please", "--agent", "coder", "--json"))
        taken = json.loads(evogit(at, "guide", "use lambda", "--json"))
        evogit(at, "guide", "--withdraw", taken["id"])
        evogit(at, "guide", "only for dials", "--agent", "dial")
        (at / "stage.md").write_text("Now compute it exactly.\n")
        stage = json.loads(evogit(at, "goal", "edit", "--file", str(at / "stage.md"), "--json"))
        asked = len(server.asked)
        evogit(at, "run", "--agents", "coder:1", "--candidates", "1", "--deterministic", "--seconds", "8", "-q")
        prompts = [prompt_of(body) for body in server.asked[asked:]]
    assert prompts
    assert all("no constants please" in prompt and "Now compute it exactly." in prompt for prompt in prompts)
    assert not any("use lambda" in prompt or "only for dials" in prompt for prompt in prompts)
    found = status(at)
    assert found["outcomes"]["coder"]["fast"]["pruned"] > 0
    assert found["accepted"] == 1
    assert found["agents"][0]["commit"] == run_git("rev-parse", "HEAD", cwd=at)
    assert found["guidance"] == ["no constants please", "only for dials"]
    assert kept["holds"] is True
    attempt = run_git("log", "-20", "--format=%B", f"refs/evogit/main/journal/{'local-0'}", cwd=at)
    assert f'"goal": "{stage["entry"][:10]}"' in attempt


def test_a_dry_run_names_the_agents_it_cannot_estimate(tmp_path: Path) -> None:
    with ChatServer(reply=write) as server:
        at = project(tmp_path, server.url)
        found = json.loads(evogit(at, "run", "--agents", "breeder:1, tinker:1, fixer", "--dry-run", "--json"))
        told = evogit(at, "run", "--agents", "breeder:1, tinker:1", "--dry-run")
        assert server.asked == []
    assert set(found["not_estimated"]) == {"breeder", "fixer"}
    assert found["agents"] == []
    assert "not in this estimate" in told
    assert "nothing to pay" not in told
    assert "nothing to pay" in evogit(at, "run", "--agents", "tinker:1", "--dry-run")


def test_what_was_paid_for_a_candidate_is_on_record_even_if_the_run_ends_in_its_evaluation(tmp_path: Path) -> None:
    slow = "import time\n" + EVALUATE.replace(
        "    space = {}",
        "    time.sleep(60 * ('return 0\\n' not in (folder / 'program.py').read_text()))\n    space = {}",
    )
    with ChatServer(reply=write) as server:
        at = project(tmp_path, server.url, evaluate=slow)
        definition = at / ".evogit/tasks/fit/task.toml"
        definition.write_text(definition.read_text().replace("deadline = 5", "deadline = 100"))
        evogit(at, "run", "--agents", "coder:2", "--seconds", "3", "-q")
        asked = len(server.asked)
    spent = json.loads(evogit(at, "stats", "--json"))["spent"]
    assert status(at)["candidates"] == 0
    assert asked > 0
    assert spent["model"]["fast"]["calls"] == asked
    assert "clean" in evogit(at, "fsck")
