"""Exchange a run with a remote: others' journals come here, this host's journals and branches go there.

Others' individuals are not fetched: each stands where its journal says, and its commit hangs on that journal, so the
answer to "what is new" has a line a writer and not one an agent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evogit.errors import StoreError
from evogit.evolution.population import Population, fold
from evogit.evolution.renaming import own_writers, rename
from evogit.evolution.session import living_refs, read_journals, stream_journals
from evogit.store import refs
from evogit.store.objects import Objects
from evogit.store.remote import Remote
from evogit.store.repository import Repository, turn
from evogit.values import Oid

TRIES = 3  # pushes, when somebody else was faster

WAITING = "another process of this host exchanges this run now: waiting for it"

GROWN = ("fetch first", "non-fast-forward")
"""Git's words for a ref that has something there which is not here. A server may refuse for reasons of its own."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange did: entries that came, refs that went, and what did not fit, as lines for a person.

    `copied`: another copy of this repository writes under this host's name. `notes` are no complaints.
    """

    entries: int
    pushed: tuple[str, ...]
    complaints: tuple[str, ...]
    copied: bool = False
    notes: tuple[str, ...] = ()


def _silent(_: str) -> None:
    pass


def exchange(repository: Repository, run: str, remote: Remote, say: Callable[[str], None] = _silent) -> Exchanged:
    """One exchange by hand: trade, give a copied repository a name of its own, settle others' branches.

    `say` hears a line for a person if another exchange of this host has to be waited for.

    Raises:
        Unreachable: the remote did not answer. What was fetched before stays.
    """
    with turn(repository, run, lambda: say(WAITING)):
        return _exchange(repository, run, remote)


def _exchange(repository: Repository, run: str, remote: Remote) -> Exchanged:
    before = repository.objects().refs(refs.journals(run))
    done = _trade(repository, run, remote, {})
    complaints, notes = list(done.complaints), []
    if done.copied and (renamed := rename(repository, run, remote)):
        notes, done = [renamed], _trade(repository, run, remote, {})
        complaints = list(done.complaints)
    objects = repository.objects()
    tips = {ref.removeprefix(refs.journals(run)): oid for ref, oid in before.items()}
    entries = len(read_journals(objects, run, tips)) if objects.refs(refs.journals(run)) != before else 0
    if entries:
        complaints += settle(objects, run, fold(stream_journals(objects, run, {})), repository.host())
    return Exchanged(entries, done.pushed, tuple(complaints), done.copied, tuple(notes))


def trade(
    repository: Repository, run: str, remote: Remote, pushed: dict[str, Oid], say: Callable[[str], None] = _silent
) -> Exchanged:
    """Fetch everybody's journals, push what is new here. `pushed` remembers what was pushed to this remote before.

    Nothing is settled: where others' individuals stand is for who has folded their journals. `entries` is not counted.
    `say` is as for `exchange`.

    Raises:
        Unreachable: the remote did not answer. What was fetched before stays.
    """
    with turn(repository, run, lambda: say(WAITING)):
        return _trade(repository, run, remote, pushed)


def _trade(repository: Repository, run: str, remote: Remote, pushed: dict[str, Oid]) -> Exchanged:
    host = repository.host()
    came = remote.fetch(run, own_writers(repository.objects(), run, host))
    misfits = came.misfits
    complaints = [f"{ref} at {remote.name} does not continue what is here: nothing of it was taken" for ref in misfits]
    moved: list[str] = []
    refused: dict[str, str] = {}
    for _ in range(TRIES):
        objects = repository.objects()
        shared, own = _to_push(objects, run, host)
        pushed |= {ref: shared[ref] for ref in came.moved if ref in shared}
        news = {ref: oid for ref, oid in shared.items() if pushed.get(ref) != oid}
        wanted = {ref: oid for ref, oid in own.items() if pushed.get(ref) != oid}
        if not wanted and not news:
            refused = {}
            break
        known = all(ref in pushed for ref in wanted) and not refused
        there = pushed if known else remote.advertised(f"{refs.individual(run, host, '')}*") if wanted else {}
        complaints += [] if known else _keep_strangers(objects, run, remote, there)
        leased = {ref: (there.get(ref), oid) for ref, oid in wanted.items() if there.get(ref) != oid}
        sent = remote.push(news, leased)
        moved += sent.moved
        refused = {ref: why for ref, why in sent.refused.items() if ref not in misfits}
        pushed |= {ref: oid for ref, oid in (news | wanted).items() if ref not in sent.refused}
        if not refused:
            break
        came = remote.fetch(run, own_writers(objects, run, host))
    mine = {refs.journal(run, writer) for writer in own_writers(repository.objects(), run, host)}
    copied = {ref for ref, why in refused.items() if ref in mine and any(word in why for word in GROWN)}
    for ref, why in refused.items():
        text = remote.has_lost(why) or f"{remote.name} refused {ref}: {why}"
        if ref in copied:
            text += ". Another copy of this repository writes under the same name, so this journal stays here"
        elif "unpack" in why:
            text += ". Is an object missing or damaged, here or there? Type: git fsck; then: evogit fsck --repair"
        complaints.append(text)
    return Exchanged(0, tuple(dict.fromkeys(moved)), tuple(dict.fromkeys(complaints)), bool(copied))


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


def _to_push(objects: Objects, run: str, host: str) -> tuple[dict[str, Oid], dict[str, Oid]]:
    """What hosts exchange as fast-forwards, and this host's own individuals.

    Everybody's journals are among the first: who meets two remotes carries between them.
    """
    prefixes = tuple(pattern.removesuffix("*") for pattern in refs.shared(run))
    found = objects.refs(*prefixes, mine := refs.individual(run, host, ""))
    own = {ref: oid for ref, oid in found.items() if ref.startswith(mine)}
    return {ref: oid for ref, oid in found.items() if ref not in own}, own


def _keep_strangers(objects: Objects, run: str, remote: Remote, there: Mapping[str, Oid]) -> list[str]:
    """Before a branch of an agent here is pushed over what somebody put there: keep that, as a person's version."""
    said = []
    for ref, oid in there.items():
        agent = refs.agent_of(ref, run)
        if agent is not None and not objects.has(oid):
            kept = f"{refs.people(run)}{agent[1]}-{oid[:10]}"
            remote.bring(ref, kept)
            said.append(f"somebody moved {refs.branch_of(ref)} at {remote.name}: kept as {refs.branch_of(kept)}")
    return said
