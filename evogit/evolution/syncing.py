"""Exchange a run with a remote: others' journals come here, this host's journals and branches go there.

Others' individuals are not fetched: each stands where its journal says, and its commit hangs on that journal, so the
answer to "what is new" has a line a writer and not one an agent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evogit.errors import StoreError
from evogit.evolution.population import Population, fold
from evogit.evolution.session import living_refs, read_journals
from evogit.store import refs
from evogit.store.objects import Objects
from evogit.store.remote import Remote
from evogit.store.repository import Repository
from evogit.values import Oid

TRIES = 3  # pushes, when somebody else was faster


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange did: entries that came, refs that went, and what did not fit, as lines for a person."""

    entries: int
    pushed: tuple[str, ...]
    complaints: tuple[str, ...]


def own_writers(objects: Objects, run: str, host: str) -> list[str]:
    """Writers of this host that have a journal here."""
    names = (ref.removeprefix(refs.journals(run)) for ref in objects.refs(refs.journals(run)))
    return [name for name in names if re.fullmatch(rf"{re.escape(host)}-r?\d+", name)]


def exchange(repository: Repository, run: str, remote: Remote) -> Exchanged:
    """Fetch, settle others' branches where their journals say, then push what is this host's.

    Raises:
        Unreachable: the remote did not answer. What was fetched before stays.
    """
    objects, host = repository.objects(), repository.host()
    before = objects.refs(refs.journals(run))
    misfits = remote.fetch(run, own_writers(objects, run, host))
    complaints = [f"{ref} at {remote.name} does not continue what is here: nothing of it was taken" for ref in misfits]
    objects = repository.objects()
    tips = {ref.removeprefix(refs.journals(run)): oid for ref, oid in before.items()}
    entries = len(read_journals(objects, run, tips)) if objects.refs(refs.journals(run)) != before else 0
    if entries:
        complaints += settle(objects, run, fold(read_journals(objects, run, {})), host)
    pushed: list[str] = []
    refused: dict[str, str] = {}
    for _ in range(TRIES):
        sent = remote.push(_fast(objects, run), _leased(objects, run, host, remote))
        pushed += sent.moved
        refused = {ref: why for ref, why in sent.refused.items() if ref not in misfits}
        if not refused:
            break
        remote.fetch(run, own_writers(objects, run, host))
    mine = {refs.journal(run, writer) for writer in own_writers(objects, run, host)}
    for ref, why in refused.items():
        text = f"{remote.name} refused {ref}: {why}"
        if ref in mine:
            text += ". Another copy of this repository writes under the same name, so this journal stays here"
        complaints.append(text)
    return Exchanged(entries, tuple(dict.fromkeys(pushed)), tuple(complaints))


def settle(objects: Objects, run: str, population: Population, host: str) -> list[str]:
    """Move the branches of other hosts' individuals to where their journals say. What could not be moved."""
    found, complaints = living_refs(objects, run), []
    for name, seat in population.seats.items():
        at = found.get(name)
        if name[0] == host or at == seat.commit:
            continue
        try:
            objects.move(refs.individual(run, *name), at, seat.commit)
        except StoreError as error:
            complaints.append(str(error))
    return complaints


def _fast(objects: Objects, run: str) -> list[str]:
    """Patterns that have something here to push. Everybody's journals: who meets two remotes carries between them."""
    return [pattern for pattern in refs.shared(run) if objects.refs(pattern.removesuffix("*"))]


def _leased(objects: Objects, run: str, host: str, remote: Remote) -> dict[str, tuple[Oid | None, Oid]]:
    """This host's individuals that stand elsewhere there than here: ref → (there, here)."""
    prefix = refs.individual(run, host, "")
    here = objects.refs(prefix)
    there = remote.advertised(f"{prefix}*") if here else {}
    return {ref: (there.get(ref), oid) for ref, oid in here.items() if there.get(ref) != oid}
