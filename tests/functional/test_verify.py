"""`verify`: claims measured again, the sealed holdout, and that nobody but a reviewer ever sees it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from evogit.catalog import load_task
from evogit.cli.measure import measuring
from evogit.cli.place import here
from evogit.evolution.population import write_evaluation
from evogit.evolution.session import Plan, Session, opened, read_journals, recorded_task, sitting
from evogit.store.objects import Identity
from evogit.store.repository import find
from evogit.values import Evaluation
from tests.conftest import run_git
from tests.functional.test_cli import evogit

WHO = Identity("Somebody", "somebody@example.com", 1_700_000_000)
TASK = """
direction = "maximize"
evolve = ["program.py"]
[evaluation]
function = "judge.py:evaluate"
deadline = 10
[evaluation.holdout]
function = "holdout/judge.py:evaluate"
deadline = 10
"""
# Each input's square is asked for; the score is how many are right.
JUDGE = """
import importlib.util, json
from pathlib import Path

def evaluate(folder, inputs=None):
    inputs = inputs or json.loads((Path(__file__).parent / "inputs.json").read_text())
    spec = importlib.util.spec_from_file_location("candidate", folder / "program.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return float(sum(module.square(x) == x * x for x in inputs))
"""
HOLDOUT = """
import json
from pathlib import Path
from judge import evaluate as judge

def evaluate(folder):
    return judge(folder, json.loads((Path(__file__).parent / "unseen.json").read_text()))
"""
START = "def square(x):\n    return 4\n"
HONEST = "def square(x):\n    return x * x\n"
KNOWS = "def square(x):\n    return {1: 1, 3: 9, 5: 25}.get(x, 4)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose own task has a holdout, committed with everything in it."""
    root = tmp_path / "project"
    task = root / ".evogit/tasks/squares"
    (task / "holdout").mkdir(parents=True)
    (task / "task.toml").write_text(TASK)
    (task / "goal.md").write_text("Squares.\n")
    (task / "judge.py").write_text(JUDGE)
    (task / "inputs.json").write_text("[1, 2, 3, 5]")
    (task / "holdout/judge.py").write_text(HOLDOUT)
    (task / "holdout/unseen.json").write_text("[2, 7, 11, 13, 17]")
    (root / "program.py").write_text(START)
    run_git("init", "-q", "-b", "main", cwd=root)
    run_git("add", "-A", cwd=root)
    run_git("commit", "-q", "-m", "start", cwd=root)
    return root


def claimed(root: Path, code: str, score: float | None = None) -> str:
    """A version with a recorded score: what its evaluation says, or what it is made to say."""
    with opened(find(root), Plan("main", (), task=load_task("squares", root))) as session:
        session.journal.publish()
        tree = session.objects.edit(session.base_tree, {"program.py": code.encode()})
        commit = session.objects.put_commit(tree, [session.base], WHO, "a version\n")
        if score is None:
            asyncio.run(_score(root, session, commit, tree))
        else:
            data = write_evaluation(Evaluation("ok", score), timed=False)
            data |= {"tree": tree, "digest": session.digest, "host": session.host, "agent": "cheat"}
            session.journal.append("evaluated", "a claim", data, candidate=commit)
        session.journal.publish()
    return commit


async def _score(root: Path, session: Session, commit: str, tree: str) -> None:
    async with measuring(here(root, None), session, jobs=1) as (_, scoring):
        await scoring.score(commit, tree, "somebody", 0)


def verified(root: Path, commit: str, *words: str) -> tuple[int, dict[str, Any]]:
    done = evogit("verify", commit, "--repeats", "2", "--json", *words, at=root)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def test_an_honest_claim_holds_and_is_journaled(project: Path) -> None:
    commit = claimed(project, HONEST)
    before = evogit("status", "--json", at=project).stdout
    code, found = verified(project, commit)
    assert (code, found["holds"]) == (0, True), found
    assert found["claims"][0]["scores"] == [4.0, 4.0]
    assert found["holdout"]["kept"] == {"mean": 4.0, "half": 0.0}
    entry = next(e for e in read_journals(find(project).objects(), "main", {}) if e.kind == "verified")
    assert entry.candidate == commit
    assert entry.data["holds"]
    assert "verified: the claimed score holds" in evogit("show", commit, at=project).stdout
    assert "clean" in evogit("fsck", at=project).stdout
    told = [json.loads(text) for text in (before, evogit("status", "--json", at=project).stdout)]
    assert told[0]["best"] == told[1]["best"]
    assert told[0]["candidates"] == told[1]["candidates"]


def test_what_knows_the_training_inputs_is_exposed_by_the_holdout(project: Path) -> None:
    commit = claimed(project, KNOWS)
    done = evogit("verify", commit, "--repeats", "2", at=project)
    assert done.returncode == 1
    assert "score: claimed 4, measured 4: holds" in done.stdout
    assert "the gain is not there on the holdout" in done.stdout
    assert "gap: the holdout is 3 worse than the score" in done.stdout
    assert "does NOT hold" in done.stdout


APART = """
import json
from pathlib import Path

def evaluate(folder, candidate):
    inputs = json.loads((Path(__file__).parent / "unseen.json").read_text())
    return float(sum(candidate.call("program.py:square", x) == x * x for x in inputs))
"""
# What fools a judge that lets its candidate into its own process, however often it measures.
FOOLS = {
    "patches the judge": "import builtins\nbuiltins.sum = lambda *a: 1e9\n" + START,
    "changes what it is asked": (
        "import sys\ndef square(x):\n    frame = sys._getframe(1)\n    while 'inputs' not in frame.f_locals:\n"
        "        frame = frame.f_back\n    frame.f_locals['inputs'][:] = [2] * 4\n    return x * x\n"
    ),
    "equals everything": (
        "class Yes:\n    def __eq__(self, other):\n        return True\ndef square(x):\n    return Yes()\n"
    ),
}


@pytest.mark.parametrize("what", FOOLS)
def test_what_fools_a_careless_judge_is_exposed_by_a_careful_holdout(project: Path, what: str) -> None:
    (project / ".evogit/tasks/squares/holdout/judge.py").write_text(APART)
    code, found = verified(project, claimed(project, FOOLS[what]))
    assert found["claims"][0]["claimed"] >= 4.0
    assert found["claims"][0]["holds"], "the judge is fooled every time"
    assert (code, found["holdout"]["holds"]) == (1, False), found


@pytest.mark.parametrize(("code", "score"), [(START, 4.0), ("import nothing_there\n", 2.0)])
def test_a_false_claim_does_not_hold(project: Path, code: str, score: float) -> None:
    found, told = verified(project, claimed(project, code, score))
    assert (found, told["claims"][0]["holds"]) == (1, False), told


def test_noise_that_the_task_does_not_tell_of_is_told(project: Path) -> None:
    judge = project / ".evogit/tasks/squares/judge.py"
    judge.write_text("import os\n" + JUDGE.replace("    return float(", "    return os.urandom(1)[0] / 1000 + float("))
    _, told = verified(project, claimed(project, HONEST, 4.0), "--repeats", "4")
    assert len(set(told["claims"][0]["scores"])) > 1
    assert "noisy = true" in told["note"]


def test_a_version_that_was_never_scored_claims_nothing(project: Path) -> None:
    claimed(project, HONEST)
    run_git("commit", "-q", "--allow-empty", "-m", "same tree", cwd=project)
    (project / "program.py").write_text("x = 1\n")
    run_git("commit", "-q", "-am", "other", cwd=project)
    done = evogit("verify", "HEAD", at=project)
    assert done.returncode == 2
    assert "claims no score" in done.stderr


def test_another_holdout_is_recorded_and_changes_no_score(project: Path) -> None:
    commit = claimed(project, HONEST)
    (project / ".evogit/tasks/squares/holdout/unseen.json").write_text("[4]")
    claimed(project, START)
    with sitting(find(project), "main") as session:
        assert session.population.result(session.objects.commit(commit).tree, 0) is not None
        assert recorded_task(session.objects, session.population).sealed["holdout/unseen.json"] == b"[4]"
    assert verified(project, commit)[1]["holdout"]["scores"] == [1.0, 1.0]


SPY = (
    "import os\ndef square(x):\n"
    "    for top in (os.getcwd(), os.path.dirname(__file__), '/tmp', '/dev/shm', os.environ['HOME']):\n"
    "        for place, folders, files in os.walk(top):\n"
    "            if 'unseen.json' in files or 'holdout' in folders: return x * x\n"
    "    import sys\n"
    "    for path in sys.path:\n"
    "        if os.path.exists(os.path.join(path, 'holdout')): return x * x\n"
    "    return 4\n"
)


def test_candidates_never_see_the_holdout(project: Path) -> None:
    _, found = verified(project, claimed(project, SPY))
    assert found["claims"][0]["scores"] == [1.0, 1.0], "the folder, the task and the tree were searched"
    assert found["holdout"]["scores"] == [5.0, 5.0], "the search does find it where it is"


def test_prompts_and_coding_programs_never_see_the_holdout(project: Path) -> None:
    (project / ".evogit/config.toml").write_text('[population]\nagents = [{name = "spy", count = 1}]\n')
    agents = project / ".evogit/agents"
    agents.mkdir()
    look = "find . -path ./.git -prune -o -type f -print; grep -rl '11, 13' . ; cat > /dev/null"
    (agents / "spy.md").write_text(
        f'---\noperator: command\noptions:\n  command: ["sh", "-c", "{look}; echo \'# x\' >> program.py"]\n---\n'
        "{{ goal }}\n"
    )
    run_git("add", "-A", cwd=project)
    run_git("commit", "-q", "-m", "agents", cwd=project)
    done = evogit("run", "--task", "squares", "--candidates", "1", "-q", at=project)
    assert done.returncode == 0, done.stderr
    entries = [e for e in read_journals(find(project).objects(), "main", {}) if e.kind != "founded"]
    objects = find(project).objects()
    said = [
        objects.blob(oid).decode("utf-8", "replace")
        for entry in entries
        for _, oid in objects.listing(entry.evidence).values()
    ]
    assert any("./program.py" in text for text in said), "the program did look"
    assert not any("unseen" in text or "holdout" in text or "11, 13" in text for text in said), said
