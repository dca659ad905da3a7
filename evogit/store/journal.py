"""The journal: one append-only branch per writer, an entry per evaluation or decision.

An entry is a commit. Its parents are the writer's previous entry and, where there is one, the candidate it speaks of;
its tree holds the evidence; its message is a readable subject, an empty line, then a JSON document. The union of all
journals is a grow-only set, ordered by hybrid logical clock (Kulkarni et al. 2014), then writer, then sequence number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evogit.errors import StoreError
from evogit.store import refs
from evogit.store.objects import EMPTY_TREE, FILE, Identity, Objects
from evogit.store.packs import TREE
from evogit.values import Oid

KINDS = frozenset(
    {"founded", "evaluated", "attempted", "judged", "noted", "decided", "goal", "seated", "restarted", "verified"}
)

ARTIFACTS = "artifacts/"
"""Where an entry's tree has the files that a judge returned as evidence."""


LIMIT = 253_402_300_800_000  # the year 10000 in milliseconds: Git writes no later date
"""Of an entry's clock and sequence number: the fold keeps them in 64 bits."""


@dataclass(frozen=True, order=True, slots=True)
class Clock:
    """A hybrid logical clock: milliseconds since 1970 and a counter that orders what the milliseconds do not."""

    milliseconds: int
    count: int = 0

    def next(self, now: int) -> Clock:
        """The stamp of the next event, `now` being the wall clock in milliseconds; it never goes back."""
        return Clock(now) if now > self.milliseconds else Clock(self.milliseconds, self.count + 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry as read. `data` is its JSON document without the fields that stand beside it."""

    oid: Oid
    writer: str
    sequence: int
    clock: Clock
    kind: str
    data: Mapping[str, Any]
    candidate: Oid | None = None
    previous: Oid | None = None
    evidence: Oid = EMPTY_TREE

    @property
    def order(self) -> tuple[Clock, str, int]:
        return (self.clock, self.writer, self.sequence)


class Place(NamedTuple):
    """Where an entry stands in the order of all, and its id in bytes: what is kept of those that wait to be read."""

    milliseconds: int
    ticks: int
    """The count of its clock."""
    writer: str
    sequence: int
    oid: bytes


def compose(kind: str, subject: str, writer: str, sequence: int, clock: Clock, data: Mapping[str, Any]) -> str:
    document = {
        "kind": kind,
        "writer": writer,
        "sequence": sequence,
        "clock": [clock.milliseconds, clock.count],
        **data,
    }
    subject = " ".join(subject.split()) or kind
    return f"{subject[:200]}\n\n{json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(', ', ': '))}\n"


def parse(oid: Oid, tree: Oid, parents: Sequence[Oid], message: str) -> Entry:
    """Read an entry back. Raises `StoreError` if the commit is not a journal entry."""
    try:
        document = json.loads(message.partition("\n\n")[2])
        clock = Clock(int(document["clock"][0]), int(document["clock"][1]))
        writer, sequence = str(document["writer"]), int(document["sequence"])
        kind = str(document["kind"])
        if not all(0 <= number < LIMIT for number in (clock.milliseconds, clock.count, sequence)):
            raise ValueError("a number is out of range")
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise StoreError(f"{oid} is not a journal entry ({repr(error)[:200]}). Run: evogit fsck") from error
    data = {k: v for k, v in document.items() if k not in ("kind", "writer", "sequence", "clock")}
    previous = parents[0] if sequence > 0 and parents else None
    rest = parents[1:] if sequence > 0 else parents
    return Entry(oid, writer, sequence, clock, kind, data, rest[0] if rest else None, previous, tree)


def read(objects: Objects, tip: Oid, after: Oid | None = None, *, lenient: bool = False) -> Iterator[Entry]:
    """A writer's entries from `tip` back to, not including, `after` (or its first), newest first.

    Raises:
        StoreError: a commit is missing, or is no entry; where `lenient`, what is no entry is passed over.
    """
    at: Oid | None = tip
    while at is not None and at != after:
        commit = objects.commit(at)
        try:
            entry = parse(at, commit.tree, commit.parents, commit.message)
        except StoreError:
            if not lenient:
                raise
            at = commit.parents[0] if commit.parents else None
            continue
        yield entry
        at = entry.previous


_HEAD = re.compile(
    r'\{"kind": "\w+", "writer": "([^"\\]*)", "sequence": (\d{1,15}), "clock": \[(\d{1,15}), (\d{1,15})\]'
)
"""How `compose` begins an entry's document."""


def places(objects: Objects, tip: Oid, after: Oid | None = None) -> Iterator[Place]:
    """Where a writer's entries stand, newest first, as `read` finds them where it is lenient; few are parsed for it."""
    at: Oid | None = tip
    while at is not None and at != after:
        commit = objects.commit(at)
        previous = commit.parents[0] if commit.parents else None
        head = _HEAD.match(commit.message, commit.message.find("\n\n") + 2)
        if head is not None:
            writer, sequence, milliseconds, ticks = head[1], int(head[2]), int(head[3]), int(head[4])
        else:
            try:
                entry = parse(at, commit.tree, commit.parents, commit.message)
            except StoreError:
                at = previous
                continue
            writer, sequence, (milliseconds, ticks) = entry.writer, entry.sequence, astuple(entry.clock)
        yield Place(milliseconds, ticks, writer, sequence, bytes.fromhex(at))
        at = previous if sequence > 0 else None


def at_place(objects: Objects, place: Place) -> Entry | None:
    """The entry there, if it is one."""
    oid = place.oid.hex()
    commit = objects.commit(oid)
    try:
        return parse(oid, commit.tree, commit.parents, commit.message)
    except StoreError:
        return None


def artifacts(objects: Objects, evidence: Oid) -> dict[str, Oid]:
    """What a judge left as evidence in an entry's tree: name → blob. Raises `StoreError` if it is not there."""
    listing = objects.listing(evidence) if evidence != EMPTY_TREE else {}
    return {path.removeprefix(ARTIFACTS): oid for path, (_, oid) in listing.items() if path.startswith(ARTIFACTS)}


@dataclass(slots=True)
class Journal:
    """The one writer of one journal branch. Entries become durable, and then visible, at `publish`.

    Refs that depend on entries (an agent's individual) are queued with `move` and set after the journal's own ref, so
    that a kill between the two leaves a journal that says where the ref should be, never the other way round.
    """

    objects: Objects
    run: str
    writer: str
    now: Callable[[], int]
    """Milliseconds since 1970."""
    clock: Clock = Clock(0)
    tip: Oid | None = None
    sequence: int = 0
    _published: Oid | None = None
    _moves: dict[str, tuple[Oid | None, Oid]] = field(default_factory=dict)
    _keeps: list[Path] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return refs.journal(self.run, self.writer)

    def resume(self) -> None:
        """Continue where this writer stopped."""
        self.tip = self._published = self.objects.ref(self.ref)
        if self.tip is not None:
            last = next(read(self.objects, self.tip))
            self.sequence, self.clock = last.sequence + 1, max(self.clock, last.clock)

    def observe(self, clock: Clock) -> None:
        """Never stamp an entry earlier than one that was seen."""
        self.clock = max(self.clock, clock)

    def tick(self) -> Clock:
        self.clock = self.clock.next(self.now())
        return self.clock

    def append(
        self,
        kind: str,
        subject: str,
        data: Mapping[str, Any],
        *,
        clock: Clock | None = None,
        candidate: Oid | None = None,
        evidence: Mapping[str, bytes] | Oid = EMPTY_TREE,
    ) -> Entry:
        """Add an entry; it is not durable before `publish`."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind of entry {kind!r}")
        clock = clock or self.tick()
        if isinstance(evidence, str):
            tree = evidence
        else:
            tree = self.objects.put_tree({path: (data, FILE) for path, data in evidence.items() if data})
        if tree == EMPTY_TREE:
            self.objects.put(TREE, b"")
        message = compose(kind, subject, self.writer, self.sequence, clock, data)
        who = Identity(self.writer, f"{self.writer}@evogit.invalid", clock.milliseconds // 1000)
        parents = [p for p in (self.tip, candidate) if p]
        oid = self.objects.put_commit(tree, parents, who, message)
        entry = Entry(oid, self.writer, self.sequence, clock, kind, dict(data), candidate, self.tip, tree)
        self.tip, self.sequence = oid, self.sequence + 1
        return entry

    def move(self, ref: str, old: Oid | None, new: Oid) -> None:
        """Queue a ref's move for the next `publish`; moves of one ref between two publications become one."""
        self._moves[ref] = (self._moves[ref][0] if ref in self._moves else old, new)

    def publish(self) -> dict[str, StoreError]:
        """Make everything appended durable and visible. Returns the moves that failed, by ref.

        Raises:
            StoreError: the disk is full, or somebody else wrote this journal.
        """
        keep = self.objects.flush()
        if keep:
            self._keeps.append(keep)
        if self.tip is not None and self.tip != self._published:
            self.objects.move(self.ref, self._published, self.tip)
            self._published = self.tip
        failed: dict[str, StoreError] = {}
        for ref, (old, new) in self._moves.items():
            try:
                self.objects.move(ref, old, new)
            except StoreError as error:
                failed[ref] = error
        self._moves.clear()
        for path in self._keeps:
            path.unlink(missing_ok=True)
        self._keeps.clear()
        return failed
