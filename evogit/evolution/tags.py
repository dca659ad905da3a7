"""Decisions that were said by plain Git tags: ``evogit/<run>/prune/too-slow`` and the like go into the journal once.

A tag says its decision once: deleting it takes nothing back, a later tag ``restore/…`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evogit.errors import StoreError
from evogit.evolution.decisions import Decisions
from evogit.evolution.session import Session
from evogit.store import refs
from evogit.store.objects import Objects
from evogit.store.tags import read_tag
from evogit.values import Oid

VERBS = {"promote": "promote", "exclusive": "promote", "prune": "prune", "restore": "restore", "pin": "pin"}
"""The third part of a tag's name → the decision it says."""


def unread(objects: Objects, run: str, decisions: Decisions) -> list[tuple[str, Oid]]:
    """Tags of a run that no journal has yet, with what they point at: (name without ``refs/tags/``, object)."""
    named = ((ref.removeprefix("refs/tags/"), oid) for ref, oid in objects.refs(refs.tags(run)).items())
    return [(name, oid) for name, oid in named if not decisions.read(name, oid)]


def read_tags(session: Session, refused: set[tuple[str, Oid]]) -> Iterator[str]:
    """Write new tags into the session's journal. What cannot be read is said once, and added to `refused`."""
    for name, oid in unread(session.objects, session.plan.run, session.population.decisions):
        if (name, oid) in refused:
            continue
        complaint = _transcribe(session, name, oid)
        if complaint:
            refused.add((name, oid))
            yield f"tag {name} is no decision: {complaint}"


def _transcribe(session: Session, name: str, oid: Oid) -> str:
    """Journal one tag. Empty, or why not."""
    word = name.split("/")[2]
    verb = VERBS.get(word)
    if verb is None:
        return f"{word!r} is none of {', '.join(VERBS)}"
    try:
        tag = read_tag(session.objects, oid)
    except StoreError as error:
        return str(error)
    if tag is None:
        return "it names no commit"
    population = session.population
    if tag.commit not in population.phylogeny:
        branch = f"evogit/{session.plan.run}/human/NAME"
        return f"{tag.commit[:10]} is no candidate of run {session.plan.run!r}. Push it to {branch} to have it adopted"
    if verb == "prune" and tag.commit == population.base:
        return "it is where the run began"
    data: dict[str, Any] = {
        "decision": verb,
        "author": tag.author or "a Git tag",
        "reason": tag.message,
        "host": session.host,
        "tag": name,
        "object": oid,
    }
    if verb == "promote":
        data["name"] = refs.slug(name.split("/", 3)[-1])
    if verb == "restore" and tag.commit in population.fate.extinct:
        data["revives"] = True
    if word == "exclusive":
        data["exclusive"] = True
    subject = f"{word} {tag.commit[:10]} by {data['author']}: {tag.message or name}"
    population.apply(session.journal.append("decided", subject, data, candidate=tag.commit))
    return ""
