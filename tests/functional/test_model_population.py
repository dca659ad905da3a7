"""A whole population on the bin-packing task: surgeons, coders, a breeder and tinkers beside a scripted model."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.chatserver import ChatServer
from tests.conftest import run_git
from tests.fitting import KEY, evogit, objects_with, project, prompt_of, status

POPULATION = "surgeon:2, coder:2, breeder, tinker:2"
# The first is the Sum-of-Squares rule (Csirik et al. 2006).
TERMS = ("(open_at_residual - open_at_gap * (gap > 0))", "open_at_gap", "np.sqrt(gap)", "gap * gap", "residual")


def answer(body: dict[str, Any]) -> str:
    """A model that puts some term in the place of another, differently for each prompt; now and then it talks."""
    prompt = prompt_of(body)
    rng = random.Random(json.dumps(body["messages"]))
    if rng.random() < 0.1:
        return "That looks good as it is."
    line = f"    return {rng.choice(TERMS)} * {rng.randint(1, 9)} - gap"
    if "CONFLICT 1" in prompt:
        count = len(re.findall(r"^CONFLICT \d", prompt, re.MULTILINE)) - prompt.count("CONFLICT n")
        return "\n".join(f"CONFLICT {n + 1}\n```\n{line}\n```" for n in range(max(1, count)))
    section = re.search(r"<<<<<<< section begins\n(.*)\n>>>>>>> section ends", prompt, re.DOTALL)
    if section:
        return "```python\n" + re.sub(r"    return .*", line, section[1]) + "\n```"
    old = re.findall(r"^    return .*$", prompt, re.MULTILINE)
    return f"heuristic.py\n<<<<<<< SEARCH\n{old[-1]}\n=======\n{line}\n>>>>>>> REPLACE\n"


def packing(at: Path, url: str) -> Path:
    evogit(at.parent, "new", str(at), "--task", "online-bin-packing")
    (at / ".evogit").mkdir(exist_ok=True)
    with (at / ".evogit/config.toml").open("a") as file:
        file.write(f'\n[models.fast]\nmodel = "scripted"\nbase_url = "{url}"\nprice_input = 1.0\nprice_output = 4.0\n')
    return at


def test_the_mixed_population_improves_bin_packing_and_repeats_itself(tmp_path: Path) -> None:
    champions = []
    with ChatServer(reply=answer) as server:
        for name in ("one", "two"):
            at = packing(tmp_path / name, server.url)
            evogit(at, "run", "--agents", POPULATION, "--candidates", "50", "--seed", "3", "--deterministic", "-q")
            champions.append(json.loads(evogit(at, "best", "--json")))
    assert champions[0] == champions[1]
    assert champions[0]["score"] < 3.9, "best fit, where it begins, has 4.2"
    rows = [json.loads(line) for line in evogit(at, "log", "--json", "-n", "500").splitlines()]
    assert {"surgeon", "coder", "breeder", "tinker"} <= {row["agent"].partition("-")[0] for row in rows}
    found = status(at)
    assert sum(found["outcomes"][name]["fast"].get("unparsable", 0) for name in ("coder", "surgeon")) > 0
    assert sum(found["outcomes"]["surgeon"]["fast"].values()) > 5
    # The table that allocation goes by is the journal's: a second look, and a run taken up again, see the same.
    before = json.loads(evogit(at, "stats", "--json"))["allocation"]
    assert before["models"]["coder"]["fast"]["tried"] > 5
    with ChatServer(reply=answer) as server:
        text = (at / ".evogit/config.toml").read_text()
        (at / ".evogit/config.toml").write_text(re.sub(r"http://127.0.0.1:\d+", server.url[:-3], text))
        evogit(at, "run", "--agents", POPULATION, "--candidates", "5", "--seed", "3", "--deterministic", "-q")
    after = json.loads(evogit(at, "stats", "--json"))["allocation"]
    tried = [sum(arm["tried"] for arm in table["operators"]["tinker"].values()) for table in (before, after)]
    assert 0 < tried[0] < tried[1]
    assert after["models"]["coder"]["fast"]["tried"] >= before["models"]["coder"]["fast"]["tried"]
    assert "clean" in evogit(at, "fsck")


SUM = """
def evaluate(folder, epoch=0, stage="main"):
    return float(sum(int((folder / name).read_text().split()[-1]) for name in ("left.py", "right.py")))
"""


def test_what_git_can_merge_costs_no_token(tmp_path: Path) -> None:
    """Coders change two files; only where both parents changed the same one is there anything to ask."""

    def edit(body: dict[str, Any]) -> str:
        prompt = prompt_of(body)
        if "CONFLICT 1" in prompt:
            return "CONFLICT 1\n```\nVALUE = 5\n```\nCONFLICT 2\n```\nVALUE = 6\n```"
        rng = random.Random(json.dumps(body["messages"]))
        name = rng.choice(["left.py", "right.py"])
        old = re.findall(rf"^{name}\n```\n(.*)\n```", prompt, re.MULTILINE)
        new = f"VALUE = {rng.randint(1, 10**6)}"
        return f"{name}\n<<<<<<< SEARCH\n{old[0]}\n=======\n{new}\n>>>>>>> REPLACE"

    with ChatServer(reply=edit) as server:
        at = project(tmp_path, server.url, evaluate=SUM)
        for name in ("left.py", "right.py"):
            (at / name).write_text("VALUE = 0\n")
        task = at / ".evogit/tasks/fit/task.toml"
        task.write_text(task.read_text().replace('["*.py"]', '["left.py", "right.py"]'))
        run_git("add", "-A", cwd=at)
        run_git("commit", "-qm", "two files", cwd=at)
        evogit(at, "run", "--agents", "coder:2, breeder:2", "--candidates", "16", "--deterministic", "-q")
    rows = [json.loads(line) for line in evogit(at, "log", "--json", "-n", "100").splitlines()]
    clean = [row for row in rows if row["operator"] == "cross" and "(clean)" in row["summary"]]
    assert clean
    assert all(not row.get("calls") and not row.get("model") and len(row["parents"]) == 2 for row in clean)
    decided = [row for row in rows if row["operator"] == "cross" and row not in clean]
    assert all(row["calls"] for row in decided)


def test_the_key_is_in_no_object_file_output_child_or_argument(tmp_path: Path) -> None:
    home = Path(os.environ["HOME"])
    with ChatServer(reply=answer) as server:
        at = packing(tmp_path / "packing", server.url)
        command = [sys.executable, "-m", "evogit", "-C", str(at), "run", "--agents", POPULATION, "--candidates", "60"]
        environ = {**os.environ, "OPENAI_API_KEY": KEY, "TMPDIR": str(tmp_path)}
        log = tmp_path / "output.txt"
        with (
            log.open("wb") as output,
            subprocess.Popen([*command, "--plain"], stdout=output, stderr=subprocess.STDOUT, env=environ) as running,
        ):
            seen = watch(psutil.Process(running.pid))
        assert running.returncode == 0, log.read_text()
        assert any(f"Bearer {KEY}" == request.headers["authorization"] for request in server.requests)
    assert len(seen) >= 2, "the evaluator's processes are children"
    assert {name: text[:300] for name, text in seen.items() if KEY in text} == {}
    assert objects_with(at, KEY) == []
    for folder in (tmp_path, home):
        assert [p for p in folder.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == []


def watch(process: psutil.Process) -> dict[str, str]:
    """Every process below `process` while it runs: arguments and environment; of itself the arguments.

    One that has its parent's arguments is a copy that is about to start something, and holds what the parent holds.
    """
    seen: dict[str, str] = {}
    own = process.cmdline()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(psutil.Error):
            seen["itself"] = " ".join(own)
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    arguments = child.cmdline()
                    if arguments != own:  # read first: whoever has other arguments has another environment by now
                        environment = [f"{name}={value}" for name, value in child.environ().items()]
                        seen[f"{child.pid} {child.name()}"] = " ".join([*arguments, *environment])
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(0.02)
            break
    return seen
