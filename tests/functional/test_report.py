"""The morning report on a finished run: numbers that agree with the log, as Markdown, HTML and JSON."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from evogit.cli.report import apart, tables
from evogit.review.morning import Improvement, Morning
from tests.functional.test_decisions import evogit, finished, ran, rows, said

__all__ = ["finished", "ran"]


def test_the_report_agrees_with_the_log(ran: Path) -> None:
    found = said(ran, "report", "--since", "2000-01-01")
    log = rows(ran)
    assert found["candidates"] == len(log)
    assert found["accepted"] == sum(row["decision"] == "accepted" for row in log)
    best = said(ran, "best")
    assert found["improvements"][-1]["score"] == best["score"] == found["after"]
    scores = [each["score"] for each in found["improvements"]]
    assert all(each["before"] is not None for each in found["improvements"])
    assert len(set(scores)) == len(scores)
    assert scores == sorted(scores) or scores == sorted(scores, reverse=True)
    assert sum(worker["improvements"] for worker in found["workers"]) == len(scores)
    assert [item["why"] for item in found["waiting"]][:1] == ["new best"]
    later = said(ran, "report", "--since", "2999-01-01")
    assert (later["candidates"], later["improvements"], later["before"]) == (0, [], best["score"])


def test_people_read_it(ran: Path) -> None:
    evogit(ran, "prune", "best", "-m", "a | b <script>alert(1)</script>")
    evogit(ran, "guide", "Shorter, please")
    text = evogit(ran, "report", "--since", "2000-01-01", "-o", "r.md")
    assert "improvements" in text
    shown = (ran / "r.md").read_text()
    for title in ("## What improved", "## By whom, at what cost", "## What waits for review", "## The graph"):
        assert title in shown
    assert "a \\| b \\<script\\>" in shown
    assert "guide: Shorter, please" in shown
    evogit(ran, "report", "--since", "2000-01-01", "--format", "html", "-o", "r.html")
    page = (ran / "r.html").read_text()
    assert "<script" not in page
    assert "a | b &lt;script&gt;" in page
    picture = page[page.index("<svg") : page.index("</svg>") + 6]
    assert ET.fromstring(picture).tag.endswith("svg")


@pytest.mark.parametrize("option", [("--since", "tomorrow-ish"), ("--format", "pdf")])
def test_mistakes(ran: Path, option: tuple[str, str]) -> None:
    assert option[0] in evogit(ran, "report", *option, code=2)


def test_a_champion_that_never_led_says_why_it_is_one() -> None:
    made = Improvement("a" * 40, 0, 1.7, 4.5, "tinker", "wrap", "", "n.py:1 wrap", validated=True)
    night = Morning(0, 4.5, 1.7, 2, 1, (replace(made, score=1.6, validated=False), made), (), 0, 0.0, (), ())
    _, _, improved, _ = tables(night)[0]
    assert [row[2] for row in improved] == ["4.5 → 1.6", "1.7, best by validation"]


def test_scores_that_differ_look_different() -> None:
    assert apart(2.185821, 2.185823) == ("2.185821", "2.185823")
    assert apart(1.0, 2.0) == ("1", "2")
    assert apart(None, 1.5) == ("–", "1.5")
    assert apart(3.0, 3.0) == ("3", "3")
