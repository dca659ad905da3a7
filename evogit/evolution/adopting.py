"""A person's commit becomes an individual: it is evaluated, and a decision ``adopt`` says so."""

from __future__ import annotations

from collections.abc import Sequence

from evogit.evolution.scoring import Scoring
from evogit.evolution.session import Session
from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import Entry
from evogit.store.objects import Objects
from evogit.values import Evaluation, Oid

LOOKED_AT = 10_000  # commits between an adopted one and those the run knows


def known_ancestors(objects: Objects, phylogeny: Phylogeny, commit: Oid) -> tuple[Oid, ...]:
    """The nearest ancestors of `commit` that the run knows, in the order they are met; none for a foreign history."""
    found: list[Oid] = []
    pending, seen = list(objects.commit(commit).parents), {commit}
    while pending and len(seen) < LOOKED_AT:
        oid = pending.pop(0)
        if oid in seen:
            continue
        seen.add(oid)
        if oid in phylogeny:
            found.append(oid)
        elif objects.has(oid):
            pending += objects.commit(oid).parents
    return tuple(found)


async def adopt(
    session: Session, scoring: Scoring, commit: Oid, *, author: str, reason: str, epoch: int, branch: str = ""
) -> tuple[Entry, Evaluation]:
    """Evaluate `commit`, and journal that it is an individual from now on, or that it failed.

    Raises:
        EvaluationError: the evaluator itself cannot work.
    """
    tree = session.objects.commit(commit).tree
    evaluation = await scoring.score(commit, tree, "human", epoch)
    data = {
        "decision": "adopt",
        "author": author,
        "reason": reason,
        "host": session.host,
        "tree": tree,
        "parents": list(known_ancestors(session.objects, session.population.phylogeny, commit)),
        "status": evaluation.status,
    }
    if branch:
        data["branch"] = branch
    said = "adopted" if evaluation.ok else f"not adopted ({evaluation.status})"
    entry = session.journal.append("decided", f"{said} {commit[:10]} by {author}: {reason}", data, candidate=commit)
    session.population.apply(entry)
    return entry, evaluation


def outside(session: Session, commit: Oid) -> Sequence[str]:
    """Paths in which `commit` differs from the run's first version although agents may not change them."""
    tree = session.objects.commit(commit).tree
    return sorted(path for path in session.objects.diff(session.base_tree, tree) if not session.editable(path))
