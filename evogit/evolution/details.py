"""What a page shows of one commit: its message, its diff, and the evidence its journal entry kept."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Iterable, Mapping

from evogit.errors import StoreError
from evogit.phylogeny.formats.html import LONGEST_TEXT, Detail, Look
from evogit.store import journal, refs
from evogit.store.objects import EXECUTABLE, FILE, Entry, Objects
from evogit.values import Oid

LONGEST_FILE = 400_000
"""Bytes; of larger files only that they changed is told."""
MOST_FILES = 40
PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
"""What a page shows. No SVG: it is a document with links of its own."""


def look_in(objects: Objects, run: str | None) -> Look:
    """Details from the repository; with a run, also what its journals kept. Missing objects leave fields empty."""
    evidence = _evidence_of(objects, run) if run else {}

    def look(oid: Oid) -> Detail:
        try:
            commit = objects.commit(oid)
        except StoreError:
            return Detail()
        texts = _evidence(objects, evidence.get(oid))
        pictures = _pictures(objects, evidence.get(oid))
        try:
            before = objects.commit(commit.parents[0]).tree if commit.parents else commit.tree
            changed = diff(objects, before, commit.tree)
        except StoreError:  # a shallow clone ends somewhere
            changed = ""
        return Detail(commit.message, changed, pictures=pictures, **texts)

    return look


def _evidence_of(objects: Objects, run: str) -> dict[Oid, Oid]:
    """Candidate → the evidence of its birth. Reads no JSON where it need not: a run has 100,000 entries."""
    found: dict[Oid, Oid] = {}
    for tip in objects.refs(refs.journals(run)).values():
        at: Oid | None = tip
        while at is not None:
            commit = objects.commit(at)
            if len(commit.parents) == 2:
                # Quotes inside a text would be escaped, so these are the document's own.
                if '"kind": "evaluated"' in commit.message and '"decision": "' in commit.message:
                    found[commit.parents[1]] = commit.tree
                at = commit.parents[0]
            else:  # the first entry, or one that speaks of no candidate
                entry = journal.parse(at, commit.tree, commit.parents, commit.message)
                if entry.kind == "evaluated" and entry.candidate:
                    found[entry.candidate] = entry.evidence
                at = entry.previous
    return found


def _evidence(objects: Objects, tree: Oid | None) -> Mapping[str, str]:
    found = {"feedback": "", "prompt": "", "reply": "", "output": ""}
    if tree is None:
        return found
    try:
        for path, (_, oid) in sorted(objects.listing(tree).items()):
            if path.startswith(journal.ARTIFACTS):
                continue
            kind = next((kind for kind in ("feedback", "prompt", "reply") if path.startswith(kind)), "output")
            text = objects.blob(oid)[: 4 * LONGEST_TEXT].decode("utf-8", "replace")
            found[kind] += f"{path}\n{text}\n" if kind == "output" else text
    except StoreError:
        pass
    return found


def _pictures(objects: Objects, tree: Oid | None) -> Mapping[str, str]:
    """Pictures that a judge left, name → an address that holds the picture itself."""
    try:
        left = journal.artifacts(objects, tree) if tree is not None else {}
        kinds = {name: PICTURES.get(name.rpartition(".")[2].lower()) for name in sorted(left)}
        return {
            name: f"data:{kind};base64,{base64.b64encode(objects.blob(left[name])).decode()}"
            for name, kind in kinds.items()
            if kind is not None
        }
    except StoreError:
        return {}


def diff(objects: Objects, old: Oid, new: Oid) -> str:
    """A unified diff of two trees, for people: no modes, no renames, of large or binary files only the names."""
    after = objects.diff(old, new)
    before = objects.diff(new, old)
    out: list[str] = []
    room = LONGEST_TEXT
    for path in sorted(after)[:MOST_FILES]:
        if room <= 0:
            break
        piece = _file(objects, path, before.get(path), after[path])
        room -= len(piece)
        out.append(piece)
    left = len(after) - len(out)
    return "".join(out) + (f"… and {left:,} more files\n" if left else "")


def _file(objects: Objects, path: str, old: Entry | None, new: Entry | None) -> str:
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    head = f"--- {f'a/{shown}' if old else '/dev/null'}\n+++ {f'b/{shown}' if new else '/dev/null'}\n"
    left, right = _lines(objects, old), _lines(objects, new)
    if left is None or right is None:
        return f"{head}Binary, large or not a file\n"
    # Candidates change little of a long file; what is the same at both ends need not be compared.
    start = _alike(left, right)
    end = _alike(reversed(left[start:]), reversed(right[start:]))
    skipped, tail = max(0, start - 3), max(0, end - 3)
    hunks = difflib.unified_diff(left[skipped : len(left) - tail], right[skipped : len(right) - tail], n=3)
    lines = []
    for line in list(hunks)[2:]:
        lines.append(_moved(line, skipped) if line.startswith("@@") else line)
    return head + "".join(lines)


def _alike(left: Iterable[str], right: Iterable[str]) -> int:
    """How many lines are the same from the beginning."""
    count = 0
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _moved(line: str, by: int) -> str:
    """A hunk's head with its line numbers counted from the file's first line."""
    words = line.split(" ")
    for at in (1, 2):
        sign, (first, comma, length) = words[at][0], words[at][1:].partition(",")
        words[at] = f"{sign}{int(first) + by}{comma}{length}"
    return " ".join(words)


def _lines(objects: Objects, entry: Entry | None) -> list[str] | None:
    if entry is None:
        return []
    if entry[0] not in (FILE, EXECUTABLE):
        return None
    data = objects.blob(entry[1])
    if len(data) > LONGEST_FILE or b"\0" in data[:8000]:
        return None
    # Only line feeds end lines, as Git sees it; str.splitlines knows ten other ways.
    return [f"{line}\n" for line in data.decode("utf-8", "replace").removesuffix("\n").split("\n")] if data else []
