"""A copied repository takes a name of its own: two machines that write under one name would lose each other's entries.

Entries that only this copy has are written once more under the new name, with their clocks, candidates and evidence;
then the old name's journal is taken as the other copy pushed it. Nothing is lost and nothing is forced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evogit.errors import RunBusy
from evogit.store import journal as journals
from evogit.store import refs
from evogit.store.journal import Entry, Journal
from evogit.store.objects import Objects
from evogit.store.remote import Remote
from evogit.store.repository import Repository, RunLock
from evogit.values import Oid

POINTERS = ("entry", "because")
"""Keys whose value is another entry's id."""


def own_writers(objects: Objects, run: str, host: str) -> list[str]:
    """Writers of this host that have a journal here."""
    names = (ref.removeprefix(refs.journals(run)) for ref in objects.refs(refs.journals(run)))
    return [name for name in names if re.fullmatch(rf"{re.escape(host)}-r?\d+", name)]


def rename(repository: Repository, run: str, remote: Remote) -> str | None:
    """Give this host another name and its own entries with it; what was done, for a person. None while it evolves.

    Raises:
        Unreachable: the remote did not answer; nothing has changed.
    """
    locks = [RunLock(repository, run), RunLock(repository, run, "reviewers")]
    held: list[RunLock] = []
    try:
        for lock in locks:
            lock.acquire(alongside=False)
            held.append(lock)
    except RunBusy:
        return None
    else:
        return _rename(repository, run, remote)
    finally:
        for lock in held:
            lock.release()


def _rename(repository: Repository, run: str, remote: Remote) -> str | None:
    objects, old = repository.objects(), repository.host()
    theirs = {}
    for writer in own_writers(objects, run, old):
        kept = f"refs/evogit/{run}/theirs/{writer}"
        if remote.bring(refs.journal(run, writer), kept):
            theirs[writer] = kept
    objects = repository.objects()
    split: dict[str, tuple[Oid, list[Entry]]] = {}
    for writer, kept in theirs.items():
        tip, here = objects.ref(kept), objects.ref(refs.journal(run, writer))
        objects.delete(kept)
        if tip is None or here is None:
            continue
        ours = _only_here(objects, here, tip)
        if ours or tip != here:
            split[writer] = (tip, ours)
    if not any(ours for _, ours in split.values()):
        return None
    new = repository.take_new_name()
    count = 0
    for writer, (tip, ours) in split.items():
        journal = Journal(objects, run, f"{new}{writer.removeprefix(old)}", lambda: 0)
        journal.resume()
        _write_again(journal, ours, old, new)
        journal.publish()
        objects.move(refs.journal(run, writer), objects.ref(refs.journal(run, writer)), tip)
        count += len(ours)
    for ref, commit in objects.refs(refs.individual(run, old, "")).items():
        agent = refs.agent_of(ref, run)
        if agent is not None:
            objects.move(refs.individual(run, new, agent[1]), None, commit)
    return (
        f"another copy of this repository writes as {old}, so this one is {new} from now on, with its {count} entries"
    )


def _only_here(objects: Objects, here: Oid, there: Oid) -> list[Entry]:
    """Entries of the journal at `here` that the one at `there` has not, the oldest first."""
    other = {entry.oid for entry in journals.read(objects, there)}
    found = []
    for entry in journals.read(objects, here):
        if entry.oid in other:
            break
        found.append(entry)
    return found[::-1]


def _write_again(journal: Journal, entries: list[Entry], old: str, new: str) -> None:
    ids: dict[Oid, Oid] = {}
    for entry in entries:
        message = journal.objects.commit(entry.oid).message
        data: Mapping[str, Any] = {
            key: ids.get(value, value) if key in POINTERS and isinstance(value, str) else value
            for key, value in entry.data.items()
        }
        data = {**data, "copy_of": entry.oid} | ({"host": new} if data.get("host") == old else {})
        again = journal.append(
            entry.kind,
            message.partition("\n")[0],
            data,
            clock=entry.clock,
            candidate=entry.candidate,
            evidence=entry.evidence,
        )
        ids[entry.oid] = again.oid
