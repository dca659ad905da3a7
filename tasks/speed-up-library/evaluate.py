"""Hold a changed library against the original: the same output for every document, its tests, and the time it takes.

Candidate and original are measured in the same way, each in a process of its own that is ended before the other begins.
"""

from __future__ import annotations

import json
import random
import re
import secrets
import statistics
import time
from pathlib import Path
from typing import Any

from allowed import check
from documents import broken, document, respelt

SIZES = (1500, 2500, 4000, 6000)
"""Characters, at least, of the documents that one process is timed with, each alone."""
EACH = 2  # documents of each size
TURNS = 6  # of a round: each document that often, with other words each time
ROUNDS = 8  # where the parameters say nothing
SLOWER = 1.05  # what is so much slower after a quarter of the rounds is measured no better
WARM = [document(random.Random(number), 1000) for number in range(3)]
BOUND = 20.0  # seconds that one answer may take

DRIVER = """
import os, sys
sys.path[0:0] = [os.path.join(os.getcwd(), PLACE)] if PLACE else []
import mistune

def render(texts):
    return [mistune.html(text) for text in texts]
"""
WAYS = ("html", "plain", "plugins", "hard", "ast", "markdown", "rst", "fenced", "colons")
EVERY = """
from mistune.directives import RSTDirective, FencedDirective, Admonition, TableOfContents, Image, Figure
from mistune.renderers.markdown import MarkdownRenderer
from mistune.renderers.rst import RSTRenderer

ALL = ["strikethrough", "footnotes", "table", "url", "task_lists", "def_list", "abbr", "mark", "insert", "superscript",
       "subscript", "math", "ruby", "spoiler"]

def directives(kind):
    return kind([Admonition(), TableOfContents(), Image(), Figure()])

def made(name):
    make = mistune.create_markdown
    if name == "html":
        return mistune.html
    if name == "plain":
        return make()
    if name == "plugins":
        return make(escape=False, plugins=ALL)
    if name == "hard":
        return make(hard_wrap=True, plugins=[*ALL, "speedup"])
    if name == "ast":
        return make(renderer="ast", plugins=ALL)
    if name == "markdown":
        return make(renderer=MarkdownRenderer())
    if name == "rst":
        return make(renderer=RSTRenderer())
    kind = {"fenced": FencedDirective, "colons": RSTDirective}[name]
    return make(escape=False, plugins=["table", directives(kind)])

def several(name, texts):
    parse = made(name)
    found = []
    for text in texts:
        try:
            found.append(parse(text))
        except Exception as error:
            found.append(["raises", error.__class__.__name__])
    return found
"""


def same(folder: Path, candidate: Any) -> dict:
    """How many documents come out otherwise than from the original; the first of them is the feedback."""
    check(folder)
    rng = random.Random(secrets.randbits(64))
    known = examples(folder / "tests/fixtures")
    drawn = {way: rng.sample(known, 60) + [fuzzed(rng, known) for _ in range(30)] for way in WAYS}
    wanted = rendered(candidate, "original", drawn)
    found = rendered(candidate, "", drawn)
    wrong = [
        (way, text, want, got)
        for way, texts in drawn.items()
        for text, want, got in zip(texts, wanted[way], found[way], strict=True)
        if not alike(got, want)
    ]
    total = sum(map(len, drawn.values()))
    return {"score": len(wrong), "metrics": {"documents": total}, "feedback": difference(*wrong[0]) if wrong else ""}


def alike(got: object, want: object) -> bool:
    """Equal, and of the same types all through."""
    return repr(got) == repr(want)


def rendered(candidate: Any, place: str, drawn: dict[str, list[str]]) -> dict[str, list]:
    begin(candidate, place, EVERY)
    found = {way: candidate.call("driver:several", way, texts, deadline=BOUND) for way, texts in drawn.items()}
    candidate.restart()
    for way, texts in drawn.items():
        if not isinstance(found[way], list) or len(found[way]) != len(texts):
            raise ValueError(f"{way}: not one answer for each document")
    return found


def begin(candidate: Any, place: str, more: str = "") -> None:
    """A fresh process with the library that stands in `place`."""
    candidate.restart()
    candidate.define("driver", DRIVER.replace("PLACE", repr(place)) + more)


def examples(fixtures: Path) -> list[str]:
    """The documents of the library's own tests."""
    found = [case["markdown"] for case in json.loads((fixtures / "commonmark.json").read_text())]
    for path in sorted(fixtures.glob("*.txt")):
        parts = re.findall(r"^`{32} example\n(.*?)\n\.\n.*?^`{32}$", path.read_text(), re.DOTALL | re.MULTILINE)
        found += [part.replace("\u2192", "\t") for part in parts]
    return found


def fuzzed(rng: random.Random, known: list[str]) -> str:
    text = document(rng, 300) if rng.random() < 0.7 else "\n".join(rng.sample(known, 3))
    return broken(rng, text) if rng.random() < 0.7 else text


def difference(way: str, text: str, want: object, got: object) -> str:
    parts = (f"rendered as {way}, this document", text, "should become", str(want), "and becomes", str(got))
    return "\n".join(part[:1500] for part in parts)


def tests(folder: Path, candidate: Any) -> dict:
    """How many of the library's own tests fail."""
    check(folder)
    expected = 941
    done = candidate.run(["python", "-m", "unittest", "discover", "-s", "tests", "-t", "."], deadline=50.0)
    said = done.errors.decode("utf-8", "replace")
    ran = re.search(r"^Ran (\d+) tests? in ", said, re.MULTILINE)
    wrong = (
        sum(int(count) for count in re.findall(r"(?:failures|errors|skipped)=(\d+)", said.splitlines()[-1]))
        if said
        else 0
    )
    missing = expected - int(ran[1]) if ran else expected
    if done.status == 0 and not missing and not wrong and said.rstrip().endswith("OK"):
        return {"score": 0, "metrics": {"tests": expected}}
    return {
        "score": max(1, wrong + max(0, missing)),
        "feedback": said[:4000] or f"exit status {done.status}, nothing said",
    }


def speed(folder: Path, candidate: Any, stage: str = "speed", parameters: dict | None = None) -> dict:
    """The candidate's processor time for some documents over the original's: of each document the best of all rounds.

    Other programs make a process slower for a while, never faster, so the shortest of several times is what the work
    itself takes (Chen and Revels 2016). A document keeps its form from turn to turn and gets other words, so that
    nothing can be answered from memory. Work that is done in other processes does not show in processor time, but takes
    time by this process's clock all the same: what is saved there counts no more than twice.
    """
    check(folder)
    rng = random.Random(secrets.randbits(64))
    rounds = int((parameters or {}).get("rounds", ROUNDS)) * (2 if stage == "validation" else 1)
    drawn = [document(rng, size) for size in SIZES * EACH]
    used: dict[str, list[float]] = {place: [BOUND] * len(drawn) for place in ("original", "")}
    wall = {place: list(times) for place, times in used.items()}
    for number in range(rounds):
        texts = [respelt(rng, text) for _ in range(TURNS) for text in drawn]
        order = ("original", "") if number % 2 else ("", "original")
        found = {place: timed(candidate, place, texts) for place in order}
        compare(texts, [each[2] for each in found["original"]], [each[2] for each in found[""]])
        for place, times in found.items():
            for at, (processor, clock, _) in enumerate(times):
                form = at % len(drawn)
                used[place][form] = min(used[place][form], processor)
                wall[place][form] = min(wall[place][form], clock)
        ratio, by_the_clock = (sum(best[""]) / sum(best["original"]) for best in (used, wall))
        if stage == "speed" and number + 1 >= rounds / 4 and ratio > SLOWER:
            break
    quarters = statistics.quantiles([a / b for a, b in zip(used[""], used["original"], strict=True)], n=4)
    metrics = {"by_the_clock": by_the_clock, "lower_quartile": quarters[0], "upper_quartile": quarters[2]}
    metrics["rounds"] = number + 1
    return {"score": max(ratio, by_the_clock / 2), "metrics": metrics}


def compare(texts: list[str], wanted: list, got: Any) -> None:
    """Raises ValueError for what did not come out as from the original."""
    if not isinstance(got, list) or len(got) != len(texts):
        raise ValueError("not one answer for each document")
    for text, want, answer in zip(texts, wanted, got, strict=True):
        if not alike(answer, want):
            raise ValueError(difference("html", text, want, answer))


def timed(candidate: Any, place: str, texts: list[str]) -> list[tuple[float, float, Any]]:
    """For each text, of which it has seen none: seconds of processor time, by the clock, and its answer.

    Nothing else of the candidate's runs: what it began earlier is ended, so it cannot be in the original's way.
    """
    begin(candidate, place)
    candidate.call("driver:render", WARM, deadline=BOUND)
    found = []
    for text in texts:
        used, began = candidate.used(), time.clock_gettime(time.CLOCK_MONOTONIC)
        answer = candidate.call("driver:render", [text], deadline=BOUND)
        wall = time.clock_gettime(time.CLOCK_MONOTONIC) - began
        only = answer[0] if isinstance(answer, list) and len(answer) == 1 else None
        found.append((candidate.used() - used, wall, only))
    candidate.restart()
    return found
