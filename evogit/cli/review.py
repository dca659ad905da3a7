"""`review`: walk through what deserves a look, one screen each, and decide with a key."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli import decide as deciding
from evogit.cli.adopt import adopted, told
from evogit.cli.editor import edited
from evogit.cli.keys import read_key
from evogit.cli.place import Directory, Json, Place, RunName, here, interactive, print_json
from evogit.cli.show import print_diff

if TYPE_CHECKING:
    from evogit.evolution.lineage import Record
    from evogit.review.agenda import Item
    from evogit.review.dossier import Dossier

VERBS = {"p": "promote", "x": "prune", "i": "pin"}


def review(
    listing: Annotated[bool, typer.Option("--list", help="Only list what deserves a look.")] = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Walk through what deserves a look: the new best, the most different, fast risers, stuck lineages.

    One screen each, and a key decides. Agents go on meanwhile; decisions reach them within seconds.
    Not on a terminal: evogit review --list --json
    """
    from evogit.errors import UsageError

    place = here(directory, run)
    if not listing and not json and not interactive():
        raise UsageError("no terminal here. Type: evogit review --list, or --list --json")
    walk = Walk(place)
    if json:
        print_json([walk.dossier(item).document for item in walk.items])
    elif not walk.items:
        print("nothing deserves a look: everything of note has been decided on")
    elif listing:
        for item in walk.items:
            print(f"{item.commit[:10]}  {item.why}: {item.because}")
    else:
        walk.go()


@dataclass
class Walk:
    """One review. Every decision is made at once; `undone` ones are taken back by a decision of their own."""

    place: Place
    at: int = 0
    said: str = ""
    items: list[Item] = field(init=False)
    _record: Record = field(init=False)
    _undo: list[tuple[int, str, str]] = field(default_factory=list)
    """Item, what was done, and the commit or guidance it was done to."""

    def __post_init__(self) -> None:
        self._read()
        from evogit.review.agenda import agenda

        self.items = agenda(self._record)

    def _read(self) -> None:
        from evogit.evolution.lineage import read_run

        self._record = read_run(self.place.objects(), self.place.run)

    def dossier(self, item: Item) -> Dossier:
        from evogit.review.dossier import dossier

        return dossier(self.place.objects(), self._record, item)

    def go(self) -> None:
        """Until the last item is passed or the person quits."""
        from evogit.cli.reviewscreen import screen

        while self.at < len(self.items):
            item = self.items[self.at]
            size = shutil.get_terminal_size()
            lines = screen(
                self.dossier(item), self.at + 1, len(self.items), width=size.columns, now=time.time(), said=self.said
            )
            print("\033[2J\033[H" + "\n".join(lines), flush=True)
            self.said = ""
            if not self._press(read_key(), item):
                break
        print(self.said or "that was all")

    def _press(self, key: str, item: Item) -> bool:
        """Do what `key` says; False to quit."""
        from evogit.errors import EvoGitError

        try:
            if key in VERBS:
                self._decide(VERBS[key], item)
            elif key == "g":
                self._guide(item)
            elif key == "e":
                self._edit(item)
            elif key == "v":
                self._view(item)
            elif key in ("d", "D"):
                self._diff(item, promoted=key == "D")
            elif key in ("s", " ", "\r", "\n"):
                self.at += 1
            elif key == "u":
                self._take_back()
            elif key == "q":
                self.said = "the rest can wait: evogit review goes on where it matters"
                return False
            else:
                self.said = f"{key!r} does nothing here"
        except EvoGitError as error:
            self.said = f"error: {error}"
        return True

    def _decide(self, verb: str, item: Item) -> None:
        from evogit.evolution.session import sitting
        from evogit.review.deciding import Wish, decide

        reason = ask(f"{verb}: why (empty: no reason)? ")
        with sitting(self.place.repository, self.place.run) as session:
            outcome = decide(session, Wish(verb, item.commit, deciding.author(self.place), reason))
        self.said = "; ".join(deciding.told(outcome)[:2])
        self._undo.append((self.at, verb, item.commit))
        self._read()
        self.at += 1

    def _guide(self, item: Item) -> None:
        from evogit.evolution.session import sitting
        from evogit.review import deciding as words

        text = ask("tell whoever works on it and its descendants (empty: nothing): ")
        if not text:
            self.said = "nothing was said"
            return
        with sitting(self.place.repository, self.place.run) as session:
            entry = words.guide(session, text, author=deciding.author(self.place), on=item.commit)
        self._undo.append((self.at, "guide", entry.oid))
        self.said = f"said: {text}"

    def _edit(self, item: Item) -> None:
        """An edit of one's own, of the files that the version changed, becomes an individual if it passes."""
        from evogit.errors import UsageError
        from evogit.evolution.session import sitting
        from evogit.review.contributing import from_files
        from evogit.store.repository import person

        objects = self.place.objects()
        listing = objects.listing(objects.commit(item.commit).tree)
        paths = [change.path for other in self.dossier(item).against[:1] for change in other.changes]
        files = {path: objects.blob(listing[path][1]) for path in paths if path in listing}
        if not files:
            raise UsageError("it changes no file that could be edited")
        changed = edited(self.place, files)
        if not changed:
            self.said = "the editor saved nothing new"
            return
        print("evaluating …", flush=True)
        who = person(self.place.repository, int(time.time()))
        with sitting(self.place.repository, self.place.run) as session:
            commit = from_files(session, changed, item.commit, who, "")
            found = asyncio.run(adopted(self.place, session, commit, who.name, ""))
        self.said = "; ".join(told(found)[:2])
        if found["status"] == "ok":
            self._undo.append((self.at, "adopt", commit))
            self._read()

    def _diff(self, item: Item, *, promoted: bool) -> None:
        from evogit.errors import UsageError

        others = self.dossier(item).against
        if promoted and len(others) < 2:
            raise UsageError("nothing is promoted yet")
        print_diff(self.place, others[-1 if promoted else 0].commit, item.commit)
        print("\nany key goes back", flush=True)
        read_key()

    def _view(self, item: Item) -> None:
        """What the judge left: written beside the repository's own files, and drawn if the terminal can."""
        from evogit.cli import artifacts
        from evogit.errors import UsageError

        found = self.dossier(item).artifacts
        if not found:
            raise UsageError("its judge left nothing to look at")
        folder = self.place.repository.run_folder(self.place.run) / "artifacts" / item.commit[:10]
        artifacts.show(self.place.objects(), found, folder)
        print("\nany key goes back", flush=True)
        read_key()

    def _take_back(self) -> None:
        from evogit.evolution.session import sitting
        from evogit.review import deciding as words

        if not self._undo:
            self.said = "nothing to undo"
            return
        self.at, verb, what = self._undo.pop()
        with sitting(self.place.repository, self.place.run) as session:
            by = deciding.author(self.place)
            if verb == "guide":
                words.withdraw(session, what, author=by)
            else:
                undone = "prune" if verb == "adopt" else "restore"
                words.decide(session, words.Wish(undone, what, by, f"{verb} undone in review"))
        self.said = f"{verb} {what[:10]} is undone"
        self._read()


def ask(question: str) -> str:
    """A line from the person."""
    print(f"\n{question}", end="", flush=True)
    try:
        return input().strip()
    except EOFError:
        return ""
