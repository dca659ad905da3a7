"""Mend a run's record after a crash or a bad disk: rebuild what can be rebuilt, name what cannot.

Refs come from journals; unreadable journals from the newest entry that can be read; objects from remotes, clones or
bundles. Entries behind a gap are written again into a journal of their own, so that what was acknowledged stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evogit.errors import RunBusy, StoreError
from evogit.evolution.fsck import unscored
from evogit.evolution.population import Population, fold
from evogit.evolution.session import living_refs
from evogit.store import packrescue, refs, salvage
from evogit.store.journal import Entry, Journal, parse
from evogit.store.objects import EMPTY_TREE, Objects
from evogit.store.packs import TREE
from evogit.store.repository import Repository, busy
from evogit.values import Oid


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that was mended ("repaired"), that would be ("planned"), or that cannot be ("lost")."""

    state: Literal["repaired", "planned", "lost"]
    text: str


@dataclass
class Repair:
    """Mends one run. With `dry` nothing is written, and what follows from a first step cannot all be foreseen."""

    repository: Repository
    run: str
    sources: Sequence[str]
    """Remotes, clones or bundles that may have what is missing here."""
    dry: bool = False
    acts: list[Act] = field(default_factory=list)

    def mend(self) -> list[Act]:
        """Everything in its order: locks, caches, packs, objects, journals, individuals.

        Raises:
            RunBusy: a process on this host holds the run.
        """
        if busy(self.repository, self.run) and not self.dry:
            raise RunBusy(f"a process on this host holds run {self.run!r}: repair it when that has ended")
        for path in salvage.stale_locks(self.repository, self.run):
            self._do(f"removed {self._name(path)}, left by a process that was killed")
            if not self.dry:
                path.unlink(missing_ok=True)
        for path in salvage.caches(self.repository):
            self._do(f"removed {self._name(path)}, a damaged cache that Git makes again")
            if not self.dry:
                path.unlink(missing_ok=True)
        if self._packs() and self.dry:
            return self.acts  # what is missing then, nobody can know before
        self._objects()
        self._journals()
        self._individuals()
        self._unrecorded()
        return self.acts

    def _do(self, text: str) -> None:
        self.acts.append(Act("planned" if self.dry else "repaired", text))

    def _name(self, path: object) -> str:
        return str(path).removeprefix(f"{self.repository.common_dir}/")

    # Objects

    def _packs(self) -> bool:
        """Damaged packs are rebuilt of what can be read of them; whether there were any."""
        found = packrescue.damaged_packs(self.repository)
        for pack in found:
            done = "" if self.dry else packrescue.mend_pack(self.repository, self.run, pack)
            self._do(
                f"{self._name(pack)}: {done or 'it or its index is damaged: would be rebuilt of what can be read'}"
            )
        return bool(found)

    def _tips(self) -> dict[str, Oid]:
        objects = self.repository.objects()
        prefixes = refs.journals(self.run), refs.individuals(self.run), refs.tags(self.run)
        return {ref: oid for prefix in prefixes for ref, oid in objects.refs(prefix).items()}

    def _objects(self) -> None:
        """Corrupt files are set aside, then everything missing is looked for elsewhere."""
        wanted = salvage.damaged(self.repository, self._tips().values())
        for path in salvage.corrupt_loose(self.repository, wanted):
            if self.dry:
                self._do(f"would set {self._name(path)} aside: it is corrupt")
            else:
                self._do(
                    f"set corrupt {self._name(path)} aside as {salvage.set_aside(self.repository, self.run, path)}"
                )
        objects = self.repository.objects()
        if EMPTY_TREE in wanted and not self.dry:
            objects.put(TREE, b"")
            salvage.flush(objects)
        gone = salvage.missing(self.repository, wanted)
        for source in self.sources if not self.dry else ():
            gone = self._borrow(source, gone)
        if gone and self.dry and self.sources:
            self._do(f"would look for {len(gone)} missing objects at {', '.join(self.sources)}")
        for oid in sorted(gone):
            self.acts.append(Act("lost", f"object {oid} is missing; a clone or a bundle may have it: --from PLACE"))

    def _borrow(self, source: str, gone: set[Oid]) -> set[Oid]:
        """Copy what is missing from `source`, and what only then is seen to be missing; what is missing still."""
        if not gone:
            return gone
        came: set[Oid] = set()
        try:
            with salvage.lender(self.repository, source, self.run) as theirs:
                while new := salvage.borrow(self.repository, theirs, gone) - came:
                    came |= new
                    gone = salvage.missing(self.repository, salvage.damaged(self.repository, self._tips().values()))
        except StoreError as error:
            self.acts.append(Act("lost", str(error)))
        if came:
            self._do(f"copied {len(came)} missing objects from {source}")
        return gone

    # Journals

    def _journals(self) -> None:
        """Each journal ends at an entry that can be read down to its first."""
        objects = self.repository.objects()
        prefix = refs.journals(self.run)
        broken = {ref for ref in salvage.broken_refs(self.repository, self.run) if ref.startswith(prefix)}
        tips = objects.refs(prefix)
        bad = {ref for ref in broken | tips.keys() if ref in broken or not _whole(objects, tips[ref])}
        if not bad:
            return
        entries = {entry.oid: entry for entry in self._entries(objects)}
        for ref in sorted(bad):
            self._journal(ref, None if ref in broken else tips[ref], entries)

    def _entries(self, objects: Objects) -> Iterator[Entry]:
        """Every entry in the object store, whether a ref leads there or not."""
        for oid in salvage.commits(self.repository):
            try:
                commit = objects.commit(oid)
                entry = parse(oid, commit.tree, commit.parents, commit.message)
            except StoreError:
                continue
            yield entry

    def _journal(self, ref: str, tip: Oid | None, entries: dict[Oid, Entry]) -> None:
        writer = ref.removeprefix(refs.journals(self.run))
        mine = sorted((e for e in entries.values() if e.writer == writer), key=lambda e: e.sequence)
        good, whole = set[Oid](), []
        for entry in mine:
            if entry.sequence == 0 or entry.previous in good:
                good.add(entry.oid)
                whole.append(entry)
        rest = [entry for entry in mine if entry.oid not in good]
        was = f"stood at {tip[:10]}" if tip else "was empty"
        if not whole:
            self.acts.append(Act("lost", f"{ref} {was}, and no entry of it can be read"))
        else:
            last = whole[-1]
            self._do(f"{ref} {was}, which cannot be read: cut back to entry {last.sequence} ({last.oid[:10]})")
        if not self.dry:
            if tip is not None:
                self._save(f"{writer}-tip", [{"ref": ref, "was": tip}])
            (self.repository.common_dir / ref).unlink(missing_ok=True)
            objects = self.repository.objects()
            if whole and objects.ref(ref) != whole[-1].oid:
                objects.move(ref, objects.ref(ref), whole[-1].oid)
        if rest:
            self._again(writer, rest)

    def _again(self, writer: str, rest: list[Entry]) -> None:
        """Entries behind a gap: said again, with their clocks, in a journal of their own."""
        name = f"{writer}-s{rest[0].oid[:6]}"
        self._do(
            f"{len(rest)} entries of {writer} behind a gap ({rest[0].sequence} to {rest[-1].sequence}) now in {name}"
        )
        if self.dry:
            return
        self._save(writer, [{"entry": e.oid, "sequence": e.sequence, "kind": e.kind, **e.data} for e in rest])
        objects = self.repository.objects()
        journal = Journal(objects, self.run, name, lambda: 0)
        for entry in rest:
            commit = objects.commit(entry.oid)
            evidence = entry.evidence if objects.has(entry.evidence) else EMPTY_TREE
            there = entry.candidate is not None and objects.has(entry.candidate)
            if entry.kind == "evaluated" and not there:
                self.acts.append(Act("lost", f"candidate {str(entry.candidate)[:10]} of entry {entry.oid[:10]}"))
                continue
            subject, candidate = commit.message.partition("\n")[0], entry.candidate if there else None
            journal.append(entry.kind, subject, entry.data, clock=entry.clock, candidate=candidate, evidence=evidence)
        journal.publish()

    def _save(self, name: str, rows: list[dict[str, object]]) -> None:
        """What was cut off, readable, in the run's folder of lost things."""
        folder = self.repository.run_folder(self.run) / "lost"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    # Individuals

    def _individuals(self) -> None:
        """Branches of agents that name nothing, or nothing that is here, go back to where the journals say."""
        objects, prefix = self.repository.objects(), refs.individuals(self.run)
        broken = [
            r for r in salvage.broken_refs(self.repository, self.run) if not r.startswith(refs.journals(self.run))
        ]
        living = {ref: oid for ref, oid in objects.refs(prefix).items() if ref not in broken}
        bad = [*broken, *(ref for ref, oid in living.items() if not _readable(objects, oid))]
        population = self._population(objects) if bad else None
        for ref in bad:
            name = refs.agent_of(ref, self.run)
            place = _place(objects, population, name) if population is not None and name is not None else None
            if place is None:
                text = "an agent begins again at the start" if name else "restore it from a clone"
                text = f"{ref} names nothing that is here and no journal knows where it stood: removed; {text}"
                self.acts.append(Act("planned" if self.dry else "repaired" if name else "lost", text))
            else:
                self._do(f"{ref} names nothing that is here: set to {place[:10]}, as its journal says")
            if self.dry:
                continue
            path = self.repository.common_dir / ref
            if path.is_file():
                salvage.set_aside(self.repository, self.run, path)
            now = self.repository.objects()
            if place is not None:
                now.move(ref, now.ref(ref), place)
            elif now.ref(ref) is not None and not _readable(now, now.ref(ref) or ""):
                now.delete(ref)

    def _unrecorded(self) -> None:
        """An individual whose record is lost becomes a version of a person's: the next run evaluates and adopts it.

        Its agent goes back to the newest version that is on record.
        """
        objects = self.repository.objects()
        living = living_refs(objects, self.run)
        if not living:
            return
        population = self._population(objects)
        for (host, agent), commit in unscored(objects, population, living).items():
            place = _place(objects, population, (host, agent))
            if place is None or place == commit:
                continue  # evogit run evaluates where everybody begins
            ref, kept = refs.individual(self.run, host, agent), f"{refs.people(self.run)}{agent}-{commit[:10]}"
            self._do(
                f"{refs.branch_of(ref)}: the record of {commit[:10]} is lost. It is kept as {refs.branch_of(kept)}, "
                f"which evogit run evaluates and adopts; the agent goes on from {place[:10]}"
            )
            if not self.dry:
                if objects.ref(kept) is None:
                    objects.move(kept, None, commit)
                objects.move(ref, commit, place)

    def _population(self, objects: Objects) -> Population:
        found: list[Entry] = []
        for tip in objects.refs(refs.journals(self.run)).values():
            found += _chain(objects, tip)
        return fold(sorted(found, key=lambda entry: entry.order))


def _chain(objects: Objects, tip: Oid) -> list[Entry]:
    """A journal's entries from `tip`, as far as they can be read."""
    found: list[Entry] = []
    at: Oid | None = tip
    while at is not None:
        try:
            commit = objects.commit(at)
            found.append(parse(at, commit.tree, commit.parents, commit.message))
        except StoreError:
            break
        at = found[-1].previous
    return found


def _whole(objects: Objects, tip: Oid) -> bool:
    chain = _chain(objects, tip)
    return bool(chain) and chain[-1].sequence == 0


def _readable(objects: Objects, oid: Oid) -> bool:
    try:
        return objects.has(objects.commit(oid).tree)
    except StoreError:
        return False


def _place(objects: Objects, population: Population, name: tuple[str, str]) -> Oid | None:
    """Where an agent stands by its journal, if that is here; else where the run began."""
    seat = population.seats.get(name)
    for oid in (seat.commit if seat else None, population.base):
        if oid is not None and _readable(objects, oid):
            return oid
    return None
