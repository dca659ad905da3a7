"""One candidate's way: plan, propose, check, evaluate, decide. Everything but the waiting is here and pure enough."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evogit.catalog import Task
from evogit.evolution.ledger import write_calls
from evogit.evolution.population import write_evaluation
from evogit.evolution.selection import Individual, Plan
from evogit.evolution.versions import Versions, unified
from evogit.phylogeny.graph import Phylogeny
from evogit.store.journal import ARTIFACTS
from evogit.store.objects import Identity, Objects
from evogit.store.refs import slug
from evogit.values import Evaluation, Oid, Proposal, Version
from evogit.variation.request import Background, Pool, Request
from evogit.variation.size import size


@dataclass(frozen=True, slots=True)
class Birth:
    """Where and when a candidate was made: for its trailers and its journal entry."""

    run: str
    host: str
    agent: str
    definition: str
    step: int
    milliseconds: int
    goal: str = ""
    """The stage of the goal that holds: its journal entry's first digits."""


def request(
    objects: Objects,
    versions: Versions,
    phylogeny: Phylogeny,
    plan: Plan,
    operator: str,
    task: Task,
    pool: list[Individual],
    rng: random.Random,
    background: Callable[[], Background],
    agent: str = "",
    model: str = "",
) -> Request:
    """What a variation needs to make one child of `plan`'s parents."""
    receiver = versions.version(plan.receiver.commit, plan.receiver.tree, plan.receiver.score)
    relatives = Pool([versions.version(i.commit, i.tree, i.score) for i in pool])
    if plan.mate is None:
        return Request(
            receiver, operator, rng, task.vocabulary, pool=relatives, background=background, agent=agent, model=model
        )
    mate = versions.version(plan.mate.commit, plan.mate.tree, plan.mate.score)
    shared = phylogeny.common_ancestor(plan.receiver.commit, plan.mate.commit)
    base, ours, theirs = between(objects, versions, receiver.tree, mate.tree, shared)
    return Request(
        receiver, operator, rng, task.vocabulary, mate, base, ours, theirs, relatives, background, agent, model
    )


def between(
    objects: Objects, versions: Versions, receiver: Oid, mate: Oid, shared: Oid | None
) -> tuple[Version | None, frozenset[str], frozenset[str]]:
    """The common ancestor as a version, and the paths in which each of two trees differs from it."""
    if shared is None:
        changed = versions.changed(receiver, mate)
        return None, changed, changed
    tree = objects.commit(shared).tree
    return versions.version(shared, tree, None), versions.changed(tree, receiver), versions.changed(tree, mate)


def recipe(made: Request, proposal: Proposal, by: str, seed: int) -> dict[str, Any]:
    """What `evogit replay` needs beside what an entry says anyway; `by` is the agent's kind.

    Ids are long: only what was drawn on is named.
    """
    found = {**proposal.recipe, "by": by, "seed": seed}
    if made.pool.drawn:
        found["pool"] = [version.commit for version in made.pool]
    if made.mate is not None and made.base is not None:
        found["base"] = made.base.commit
    return found


def grown(objects: Objects, versions: Versions, base: Oid, tree: Oid) -> int:
    """How much larger `tree` is than `base`, in syntax nodes of its editable files. Costs what the two differ in."""
    paths = versions.changed(base, tree)
    if not paths:
        return 0
    before, after = objects.listing(base), objects.listing(tree)
    old = {path: objects.blob(before[path][1]) for path in paths if path in before}
    new = {path: objects.blob(after[path][1]) for path in paths if path in after}
    return size(new, sorted(new)) - size(old, sorted(old))


def patch_id(versions: Versions, old: Oid, new: Oid) -> str:
    """The change between two trees whatever its line numbers and white space (``git patch-id``): 16 hex digits."""
    before, after = (versions.version("", tree, None).files for tree in (old, new))
    digest = hashlib.sha256()
    for path in sorted(versions.changed(old, new)):
        for line in unified(path, before, after):
            if not line.startswith("@@"):
                digest.update("".join(line.split()).encode("utf-8", "replace") + b"\n")
    return digest.hexdigest()[:16]


def candidate(
    objects: Objects, birth: Birth, proposal: Proposal, tree: Oid, evaluation: Evaluation, served: str = ""
) -> Oid:
    """The candidate's commit: real parents, real tree, the summary, and the birth certificate as trailers."""
    trailers = [f"EvoGit-Run: {birth.run}", f"EvoGit-Agent: {birth.agent}", f"EvoGit-Operator: {proposal.operator}"]
    if proposal.model:
        trailers.append(f"EvoGit-Model: {served or proposal.model}")
    if proposal.donor:
        trailers.append(f"EvoGit-Donor: {proposal.donor}")
    score = evaluation.status if evaluation.score is None else repr(evaluation.score)
    trailers.append(f"EvoGit-Score: {score}")
    who = Identity(birth.agent, f"{birth.agent}@{slug(birth.host)}.evogit.invalid", birth.milliseconds // 1000)
    subject = " ".join(proposal.summary.split())[:72] or proposal.operator
    return objects.put_commit(tree, proposal.parents, who, subject + "\n\n" + "\n".join(trailers) + "\n")


def record(
    birth: Birth, proposal: Proposal, tree: Oid, digest: str, evaluation: Evaluation, decision: str, *, timed: bool
) -> dict[str, Any]:
    """The JSON document of the candidate's ``evaluated`` entry."""
    data = write_evaluation(evaluation, timed=timed) | {
        "tree": tree,
        "digest": digest,
        "parents": list(proposal.parents),
        "host": birth.host,
        "agent": birth.agent,
        "definition": birth.definition,
        "operator": proposal.operator,
        "step": birth.step,
        "decision": decision,
        "summary": proposal.summary,
    }
    if proposal.model:
        data["model"] = proposal.model
    if proposal.donor:
        data["donor"] = proposal.donor
    if birth.goal:
        data["goal"] = birth.goal
    if proposal.recipe:
        data["recipe"] = dict(proposal.recipe)
    return data | spoken(proposal)


def spoken(proposal: Proposal) -> dict[str, Any]:
    """What the journal keeps of a proposal that a model or a program made."""
    data: dict[str, Any] = {}
    if proposal.calls:
        data["calls"] = write_calls(proposal.calls)
    if proposal.touched:
        data["touched"] = {path: [list(r) for r in ranges] for path, ranges in proposal.touched.items() if ranges}
    return data


def attempt(birth: Birth, parent: Oid, operator: str, reason: str, summary: str, proposal: Proposal) -> dict[str, Any]:
    """The JSON document of an ``attempted`` entry: a model was asked, and nothing was worth evaluating."""
    data = {
        "outcome": reason,
        "parents": [parent],
        "host": birth.host,
        "agent": birth.agent,
        "definition": birth.definition,
        "operator": operator,
        "step": birth.step,
        "summary": summary[:500],
    }
    seen = ({"model": proposal.model} if proposal.model else {}) | ({"goal": birth.goal} if birth.goal else {})
    return data | seen | spoken(proposal)


def shown(evaluation: Evaluation) -> str:
    """The score in a subject line, or why there is none."""
    return evaluation.status if evaluation.score is None else f"{evaluation.score:.6g}"


def evidence(proposal: Proposal | None, evaluation: Evaluation) -> dict[str, bytes]:
    """The files of an entry's tree, as far as there is any."""
    files = {
        "feedback.txt": evaluation.feedback.encode("utf-8", "replace"),
        "stdout.txt": evaluation.stdout,
        "stderr.txt": evaluation.stderr,
    }
    files |= {f"{ARTIFACTS}{name}": data for name, data in evaluation.artifacts.items()}
    return {**(proposal.evidence if proposal else {}), **{name: data for name, data in files.items() if data}}
