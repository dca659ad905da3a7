"""Plain history as a phylogeny: a repository without a run, or one that came without its journals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from evogit.errors import UsageError
from evogit.phylogeny.history import Facts, History
from evogit.store.commitgraph import read_commits
from evogit.store.encoding import Commit
from evogit.store.graphfile import Bytes
from evogit.store.objects import Objects
from evogit.values import Oid

TAGS = "refs/tags/"
PLAIN = ("refs/heads/", "refs/remotes/", TAGS)


def plain_history(objects: Objects, revs: Sequence[str]) -> History:
    """All branches, tags and HEAD, or `revs`, with their ancestors; the living are the branches' tips, or `revs`.

    Raises:
        UsageError: no commits, or a revision that names none.
    """
    named = _named(objects)
    tips: dict[Oid, None] = {}
    for rev in revs:
        oid = objects.resolve(rev)
        if oid is None:
            raise UsageError(f"{rev}: no such commit here. Type: git log")
        tips[oid] = None
    if not revs:
        head = objects.resolve("HEAD")
        tips = dict.fromkeys([*([head] if head else []), *named])
    if not tips:
        raise UsageError("this repository has no commits yet. Commit something first: git commit")
    commits = read_commits(objects, tips)
    facts = _plain_facts(objects, commits.oids)
    history = History(commits.oids, commits.offsets, commits.targets, commits.times * 1000, facts)
    branches = [oid for oid, refs in named.items() if any(not ref.startswith(TAGS) for ref in refs)]
    number = {oid: i for oid in named if (i := history.find(oid)) is not None}
    return replace(
        history,
        living=frozenset(history.index(oid) for oid in (tips if revs else branches or tips)),
        names={i: tuple(_short(ref) for ref in named[oid]) for oid, i in number.items()},
    )


def _named(objects: Objects) -> dict[Oid, list[str]]:
    """Commits with the branches and tags that stand there. A tag may name a tree or a file; such are left out."""
    found: dict[Oid, list[str]] = {}
    for prefix in PLAIN:
        for ref in objects.refs(prefix):
            oid = objects.resolve(ref)
            if oid is not None:
                found.setdefault(oid, []).append(ref)
    return found


def _short(ref: str) -> str:
    return next(ref.removeprefix(prefix) for prefix in PLAIN if ref.startswith(prefix))


def _plain_facts(objects: Objects, oids: Bytes) -> Callable[[int], Facts]:
    held: dict[int, Facts] = {}

    def lookup(i: int) -> Facts:
        found = held.get(i)
        if found is None:
            found = held[i] = from_commit(objects.commit(bytes(oids[i]).hex()))
        return found

    return lookup


def from_commit(commit: Commit) -> Facts:
    """What a commit says of itself: also the birth certificate of a candidate whose journal is not here."""
    trailers = dict(
        line.removeprefix("EvoGit-").split(": ", 1)
        for line in commit.message.rstrip().rpartition("\n\n")[2].split("\n")
        if line.startswith("EvoGit-") and ": " in line
    )
    try:
        score: float | None = float(trailers.get("Score", ""))
    except ValueError:
        score = None
    return Facts(
        agent=trailers.get("Agent", commit.author),
        operator=trailers.get("Operator", ""),
        model=trailers.get("Model", ""),
        score=score if score is not None and math.isfinite(score) else None,
        status="ok" if score is not None else trailers.get("Score", ""),
        milliseconds=commit.time * 1000,
        summary=subject(commit),
    )


def subject(commit: Commit) -> str:
    return commit.message.strip().partition("\n")[0]
