"""Plain history as a phylogeny: a repository without a run, or one that came without its journals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from evogit.errors import UsageError
from evogit.phylogeny.history import Facts, History
from evogit.store.commitgraph import read_commits
from evogit.store.graphfile import Bytes
from evogit.store.objects import Commit, Objects
from evogit.values import Oid

PLAIN = ("refs/heads/", "refs/remotes/", "refs/tags/")


def plain_history(objects: Objects, revs: Sequence[str]) -> History:
    """All branches, tags and HEAD, or `revs`, with their ancestors; the living are the branches' tips.

    Raises:
        UsageError: no commits, or a revision that names none.
    """
    tips: dict[Oid, None] = {}
    for rev in revs:
        oid = objects.resolve(rev)
        if oid is None:
            raise UsageError(f"{rev}: no such commit here. Type: git log")
        tips[oid] = None
    if not revs:
        found = [name for prefix in PLAIN for name in objects.refs(prefix)]
        tips = {oid: None for name in ("HEAD", *found) if (oid := objects.resolve(name)) is not None}
    if not tips:
        raise UsageError("this repository has no commits yet. Commit something first: git commit")
    commits = read_commits(objects, tips)
    history = History(
        commits.oids, commits.offsets, commits.targets, commits.times * 1000, _plain_facts(objects, commits.oids)
    )
    heads = tips if revs else objects.refs("refs/heads/").values() or tips
    return History(
        history.oids,
        history.parent_offsets,
        history.parent_targets,
        history.times,
        history.lookup,
        living=frozenset(history.index(oid) for oid in heads),
    )


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
