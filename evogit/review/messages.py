"""The words a landed version takes along: a commit's message, and the text of a pull request. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STEPS = 15  # that are named
METRICS = 8


@dataclass(frozen=True, slots=True)
class Deed:
    """One accepted step on the way to the version."""

    summary: str
    agent: str
    operator: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Story:
    """All that is told of a landed version. `authors` are "name <address>", who did most first."""

    run: str
    task: str
    goal: str
    champion: str
    before: float | None
    after: float | None
    metrics_before: Mapping[str, float]
    metrics_after: Mapping[str, float]
    deeds: Sequence[Deed]
    authors: Sequence[str]
    candidates: int
    agents: int
    cost: float
    verified: str
    minimized: str = ""
    merged: str = ""


def subject(story: Story) -> str:
    """The goal's first line, cut to what a subject may be long."""
    first = next((line.strip("# ").strip() for line in story.goal.splitlines() if line.strip("# ").strip()), "")
    first = (first.partition(". ")[0] or f"Improve {story.task}").rstrip(".")
    return first if len(first) <= 72 else first[:71].rsplit(" ", 1)[0] + "…"


def commit_message(story: Story) -> str:
    """Subject, what changed in numbers, the agents' own summaries, how to see it again, and trailers."""
    rows = [f"{name}: {_number(old)} -> {_number(new)}" for name, old, new in _numbers(story)]
    lines = [subject(story), "", *rows, ""]
    lines += [f"Steps ({len(story.deeds)} accepted, of {story.candidates} candidates of run {story.run}):"]
    lines += [f"- {deed.summary} ({_by(deed)})" for deed in _named(story)]
    lines += _left_out(story)
    lines += ["", *_facts(story), f"To see it again: {_again(story)}", ""]
    lines += [f"EvoGit-Run: {story.run}", f"EvoGit-Champion: {story.champion}"]
    lines += [f"Co-authored-by: {author}" for author in story.authors]
    return "\n".join(lines) + "\n"


def pull_request(story: Story) -> str:
    """The same for reviewers on a forge, as Markdown."""
    lines = [f"# {_escaped(subject(story))}", "", "| | before | after |", "| --- | --- | --- |"]
    lines += [f"| {_escaped(name)} | {_number(old)} | {_number(new)} |" for name, old, new in _numbers(story)]
    paid = f", at a cost of {story.cost:.4f}" if story.cost else ""
    lines += ["", f"Found by the run `{story.run}`: {story.candidates} candidates of {story.agents} agents{paid}."]
    lines += [*_facts(story), "", "## Steps", ""]
    lines += [f"- {_escaped(deed.summary)} ({_by(deed)})" for deed in _named(story)]
    lines += [*_left_out(story), "", "## See it again", "", "```console"]
    lines += [f"$ {command}" for command in _again(story).split("; ")]
    lines += ["```", ""]
    return "\n".join(lines)


def _numbers(story: Story) -> list[tuple[str, float | None, float | None]]:
    rows = [("score", story.before, story.after)]
    names = [name for name, value in story.metrics_after.items() if story.metrics_before.get(name) != value]
    return rows + [(name, story.metrics_before.get(name), story.metrics_after[name]) for name in names[:METRICS]]


def _named(story: Story) -> Sequence[Deed]:
    return story.deeds if len(story.deeds) <= STEPS else story.deeds[-STEPS:]


def _left_out(story: Story) -> list[str]:
    count = len(story.deeds) - STEPS
    return [f"- … and {count} earlier ones"] if count > 0 else []


def _facts(story: Story) -> list[str]:
    return [line for line in (story.verified, story.minimized, story.merged) if line]


def _again(story: Story) -> str:
    short = story.champion[:10]
    return f"evogit verify {short} --run {story.run}; evogit replay {short} --lineage --run {story.run}"


def _by(deed: Deed) -> str:
    score = f", {_number(deed.score)}" if deed.score is not None else ""
    return " ".join(filter(None, (deed.agent, deed.operator))) + score


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value + 0.0:.6g}"


def _escaped(text: str) -> str:
    """Words of agents and files as plain text in Markdown."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text
