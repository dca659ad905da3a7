"""The task web-app from end to end: real npm, ESLint, Vite and Chromium, and a scripted model that writes pages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright

from evogit import catalog, needs
from evogit.errors import SandboxError
from evogit.evaluation import sandbox
from evogit.evaluation.trying import protected
from evogit.packages import InstallError, installed
from tests.chatserver import ChatServer
from tests.webpages import is_judging, judged, pages, reply, told

CACHE = Path(__file__).parents[2] / ".cache/web-app"
NPMRC = Path(os.environ["EVOGIT_TEST_REAL_HOME"]) / ".npmrc"
"""The registry that is in use here, which a test's own home knows nothing of."""
TRIALS = Path(__file__).parents[2] / "tasks/web-app/trials"
PAGE = """\
export default function App() {{
{before}  return (
    <main>
      <h1>EvoGit</h1>
{inside}    </main>
  );
}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.longest, pytest.mark.timeout(900)]


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are installed, once for all tests; skips where the task cannot run at all."""
    task = catalog.load_task("web-app", None)
    missing = [need for need in task.needs if needs.look(need).present is False]
    if missing or shutil.which("npm") is None:
        pytest.skip(f"web-app needs {', '.join(missing or ['npm'])}, which is not installed")
    try:
        sandbox.probe("bubblewrap")
    except SandboxError as error:
        pytest.skip(f"web-app needs bubblewrap: {error}")
    if NPMRC.is_file():
        monkeypatch.setenv("npm_config_userconfig", str(NPMRC))
    monkeypatch.setenv("npm_config_cache", str(CACHE / "npm"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock", timeout=600):
        try:
            installed(task, {**protected(task, task.seed), **task.files}, CACHE / "evogit")
        except InstallError as error:
            pytest.skip(f"the packages of web-app cannot be installed here: {error}")


def evogit(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evogit", *arguments],
        cwd=at,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OPENAI_API_KEY": "sk-planted"},
    )


def said(*arguments: str, at: Path) -> str:
    done = evogit(*arguments, at=at)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def app(before: str = "", inside: str = "", head: str = "") -> dict[str, str]:
    return {"src/App.jsx": head + PAGE.format(before=before, inside=inside)}


ATTEMPTS: dict[str, dict[str, str]] = {
    "lint": app(before="  const left = 1;\n"),
    "build": app(head='import Hero from "./Hero.jsx";\n', inside="      <Hero />\n"),
    "page": app(
        head='import { useEffect } from "react";\n',
        before='  useEffect(() => {\n    Promise.reject(new Error("the news did not come"));\n  }, []);\n',
        inside='      <p className="w-[600px]">Code that evolves in the repository you have.</p>\n',
    ),
}
"""What a model gets wrong before it gets the first stage right."""
STAGES = tuple(int(stage) for stage in os.environ.get("EVOGIT_WEB_STAGES", "2 4").split())
"""Of the goal, each a run of its own: `EVOGIT_WEB_STAGES="1 2 3 4"` takes no short cut, and twice as long."""


def opened_stage(at: Path, stage: int) -> None:
    """As a person goes on: more is asked for, and the agents are told what it is."""
    toml = at / ".evogit/tasks/web-app/task.toml"
    toml.write_text(re.sub(r"(?m)^stage = \d$", f"stage = {stage}", toml.read_text()))
    (at / "stage.md").write_text(f"{told(stage)}\n")
    said("goal", "edit", "--file", "stage.md", at=at)
    (at / "stage.md").unlink()


@pytest.mark.usefixtures("ready")
def test_a_page_grows_stage_by_stage_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    """From the seed to the whole page: an author, a critic, the score as gate, and a run for each stage of the goal."""
    replies = [pages(files) for files in ATTEMPTS.values()]
    replies += [reply(stage, since) for since, stage in zip((0, *STAGES), STAGES, strict=False)]
    written = iter(replies)
    with ChatServer(reply=lambda body: judged(str(body["messages"])) if is_judging(body) else next(written)) as server:
        at = tmp_path / "site"
        said("new", "site", "--task", "web-app", "--set", f"stage={STAGES[0]}", at=tmp_path)
        with (at / ".evogit/config.toml").open("a") as config:
            config.write(
                f'\n[models.fast]\nmodel = "scripted"\nbase_url = "{server.url}"\nmax_tokens = 9000\ntimeout = 30\n'
            )
        for stage in STAGES:
            first = stage == STAGES[0]
            if not first:
                opened_stage(at, stage)
            said(
                *("run", "--agents", "author:1, critic", "--candidates", str(len(ATTEMPTS) + 1 if first else 1)),
                *("--sandbox", "bubblewrap", "--deterministic", "-q"),
                at=at,
            )
    names = [*ATTEMPTS, *(f"stage {stage}" for stage in STAGES)]
    rows = [json.loads(line) for line in said("log", "--json", at=at).splitlines()]
    found: dict[str, dict[str, Any]] = {
        name: json.loads(said("show", row["commit"], "--json", at=at))
        for name, row in zip(names, sorted(rows, key=lambda row: row["step"]), strict=True)
    }
    feedback = {name: each["evidence"].get("feedback.txt", "") for name, each in found.items()}
    assert "'left' is assigned a value but never used" in feedback["lint"]
    assert 'Could not resolve "./Hero.jsx"' in feedback["build"]
    assert "the console says: Error: the news did not come" in feedback["page"]
    assert "at 375 px the page is" in feedback["page"]
    decisions = {name: each["entries"][0]["decision"] for name, each in found.items()}
    assert decisions == {"lint": "threshold", "build": "failed", "page": "worse"} | {
        f"stage {stage}": "accepted" for stage in STAGES
    }
    assert [found[f"stage {stage}"]["entries"][0]["score"] for stage in STAGES] == [1.0] * len(STAGES)
    assert feedback["stage 4"].strip() == "28 of 28 checks hold at stage 4"
    judgements = json.loads(said("stats", "--json", at=at))["spent"]["role"]["judge"]["calls"]
    assert judgements >= 2 * len(STAGES)
    best = json.loads(said("best", "--json", at=at))
    assert best["score"] == 1.0
    seen_by_a_person(at, best["commit"])
    opened(at)


VIEWS = {f"page-{width}-{theme}.webp" for width in (375, 768, 1440) for theme in ("dark", "light")}


def seen_by_a_person(at: Path, commit: str) -> None:
    """The screenshots are in the journal, and `show` and `review` lead to them."""
    written = said("show", commit, "--artifacts", "seen", at=at).splitlines()
    assert {Path(line).name for line in written[:-1]} == VIEWS
    assert all((at / "seen" / name).read_bytes().startswith(b"RIFF") for name in VIEWS)
    assert "page-375-dark.webp" in said("show", commit, at=at)
    items = json.loads(said("review", "--list", "--json", at=at))
    assert set(items[0]["artifacts"]) == VIEWS
    terminal: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, ["-m", "evogit", "-C", str(at), "review"], dimensions=(40, 200), encoding="utf-8", timeout=90,
        env={**os.environ, "TERM_PROGRAM": "WezTerm", "TERM": "xterm"},
    )  # fmt: skip
    terminal.expect_exact("press v")
    terminal.send("v")
    terminal.expect_exact("\x1b]1337;File=name=")
    terminal.expect(r"\r\n(/\S+page-768-light\.webp)\r\n")
    assert isinstance(terminal.match, re.Match)
    assert Path(terminal.match[1]).is_file()
    terminal.expect_exact("any key goes back")
    terminal.send(" ")
    terminal.expect_exact("q quit")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()


def opened(at: Path) -> None:
    """The page shows the screenshots of the best version."""
    said("export", "-o", "page.html", at=at)
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((at / "page.html").as_uri())
        page.click("#rows tr:has-text('best') button")
        page.wait_for_selector("#panel .pictures img")
        widths = page.eval_on_selector_all("#panel .pictures img", "all => all.map(i => i.naturalWidth)")
        browser.close()
    assert sorted(widths) == [375, 375, 768, 768, 1440, 1440]


@pytest.mark.usefixtures("ready")
def test_the_check_is_not_taken_in_by_hostile_pages(tmp_path: Path) -> None:
    """With the trials that the run above has not shown; two in one, as they change different files."""
    task = tmp_path / "web-app"
    shutil.copytree(TRIALS.parent, task, ignore=shutil.ignore_patterns("trials"))
    shutil.copytree(TRIALS / "hostile-hidden", task / "trials/hostile-hidden")
    for name in ("hostile-pretends", "hostile-builds"):
        shutil.copytree(TRIALS / name, task / "trials/hostile-both", dirs_exist_ok=True)
    done = evogit("tasks", "check", "web-app", "--short", "--json", at=tmp_path)
    found = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0, [each for each in found.values() if each["state"] == "failed"]
    for name in ("hidden", "both"):
        assert "does not beat the seed: score 0.2" in found[f"trials/hostile-{name}"]["text"]
    assert found["noise"]["text"].startswith("none")
