"""The home page as a model would write it, stage by stage of the goal: what each reply says, and a critic that reads.

The last stage is the task's reference; the earlier ones are it without what comes later.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

TASK = Path(__file__).parents[1] / "tasks/web-app"
LATER = {"Features": 2, "Code": 2, "Community": 3, "Footer": 3}
"""Component → the stage of the goal that asks for it."""
PAPER = "https://arxiv.org/abs/2506.02049"


def written(stage: int) -> dict[str, str]:
    """Path → text of the whole page at a stage of the goal, 1 to 4; at 0 the seed's."""
    place = TASK / ("trials/reference" if stage else "seed")
    paths = [place / "index.html", *sorted((place / "src").iterdir())]
    files = {path.relative_to(place).as_posix(): path.read_text() for path in paths}
    for component, first in LATER.items() if stage else ():
        if stage < first:
            del files[f"src/{component}.jsx"]
    if 0 < stage < 4:
        files["src/App.jsx"] = _app(files["src/App.jsx"], stage)
        files["src/Header.jsx"] = _header(files["src/Header.jsx"], stage)
        del files["src/useTheme.js"]
    if stage == 1:
        files["src/Hero.jsx"] = _hero(files["src/Hero.jsx"])
        files["src/News.jsx"] = files["src/News.jsx"].replace("#features", PAPER)
    return files


def _app(text: str, stage: int) -> str:
    gone = [name for name, first in LATER.items() if stage < first] + ["useTheme"]
    lines = [line for line in text.splitlines(keepends=True) if not re.search(rf"\b(?:{'|'.join(gone)})\b", line)]
    return "".join(lines).replace(" theme={theme} flip={flip}", "")


def _hero(text: str) -> str:
    """In one column, and leading to nothing that is not there yet."""
    text = text.replace(" lg:grid-cols-2", "").replace("#features", "#picture")
    text = text.replace("#code", PAPER).replace("Start a first run", "Read the paper")
    return text.replace(
        '<Tree className="w-full" />',
        '<div id="picture" className="scroll-mt-24">\n        <Tree className="w-full" />\n      </div>',
    )


def _header(text: str, stage: int) -> str:
    text = text.replace("import { Logo, Moon, Sun }", "import { Logo }").replace("{ theme, flip }", "")
    text = re.sub(r' *<button type="button" onClick=\{flip\}.*?</button>\n', "", text, count=1, flags=re.DOTALL)
    if stage < 3:
        text = text.replace('  ["#community", "Community"],\n', "")
    if stage < 2:
        text = text.replace('["#features", "Features"]', '["#hero", "Start"]')
        text = text.replace('["#code", "Example"]', '["#picture", "Picture"]')
    return text


def reply(stage: int, since: int) -> str:
    """Whole files, as the agent `author` writes them: what is new or other at `stage` than at stage `since`."""
    before, files = written(since), written(stage)
    return pages({path: text for path, text in files.items() if before.get(path) != text})


def pages(files: dict[str, str]) -> str:
    return "\n".join(f"{path}\n```\n{text.rstrip()}\n```\n" for path, text in files.items())


def judged(prompt: str) -> str:
    """A critic that goes by what the evaluations said of both versions: the one of which more checks hold."""
    held = [int(count) for count in re.findall(r"(\d+) of \d+ checks hold", prompt)]
    verdict = "same" if len(held) < 2 or held[0] == held[1] else "first" if held[0] > held[1] else "second"
    return json.dumps({"reason": "more of what the goal asks for is there and works", "verdict": verdict})


def is_judging(body: dict[str, Any]) -> bool:
    return "You compare two versions" in str(body.get("messages"))


def told(stage: int) -> str:
    """The stage of the goal in the task's own words."""
    goal = (TASK / "goal.md").read_text()
    found = re.search(rf"^{stage}\. (.*?)(?=^\d\. |^Always:)", goal, re.MULTILINE | re.DOTALL)
    assert found is not None
    return " ".join(found[1].split())
