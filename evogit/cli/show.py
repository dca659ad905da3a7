"""`show` one candidate whole, `diff` two versions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json

if TYPE_CHECKING:
    from evogit.store.journal import Entry

Revision = Annotated[str | None, typer.Argument(metavar="REV", help="A commit, as Git names it.", show_default=False)]


def show(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A candidate, as Git names it, or: best.")],
    patch: Annotated[bool, typer.Option("--diff", help="Also what it changed against its first parent.")] = False,
    prompt: Annotated[bool, typer.Option("--prompt", help="Only what its model was asked.")] = False,
    reply: Annotated[bool, typer.Option("--reply", help="Only what its model answered.")] = False,
    artifacts: Annotated[
        Path | None,
        typer.Option("--artifacts", metavar="DIR", help="Write what its judge left (screenshots, …) into this folder."),
    ] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Show one candidate: parents, outcome, scores, and what its evaluator said.

    REV may also be an entry of the journal, such as that of an attempt that led to no candidate.

    Example: evogit show best --diff
    """
    from evogit.cli import artifacts as files
    from evogit.errors import UsageError
    from evogit.evolution.session import read_journals
    from evogit.store.journal import ARTIFACTS
    from evogit.store.journal import artifacts as left
    from evogit.store.objects import EMPTY_TREE

    place = here(directory, run)
    objects = place.objects()
    commit = resolve(place, revision)
    entries = [entry for entry in read_journals(objects, place.run, {}) if commit in (entry.candidate, entry.oid)]
    if not entries:
        raise UsageError(f"{revision}: no candidate of run {place.run!r}. Type: evogit log")
    found = objects.commit(commit)
    evidence: dict[str, str] = {}
    pictures: dict[str, str] = {}
    for entry in entries:
        if entry.kind != "founded" and entry.evidence != EMPTY_TREE:
            pictures |= left(objects, entry.evidence)
            for path, (_, oid) in objects.listing(entry.evidence).items():
                if not path.startswith(ARTIFACTS):
                    evidence[path] = objects.blob(oid).decode("utf-8", "replace")
    if artifacts is not None:
        if not pictures:
            raise UsageError(f"{revision}: its judge left no files")
        files.show(objects, pictures, place.directory / artifacts)
        return
    if prompt or reply:
        _print_conversation(evidence, revision, prompt=prompt, reply=reply)
        return
    if json:
        records = [{"kind": e.kind, "writer": e.writer, "sequence": e.sequence, **e.data} for e in entries]
        print_json(
            {
                "commit": commit,
                "tree": found.tree,
                "parents": list(found.parents),
                "message": found.message,
                "entries": records,
                "evidence": evidence,
                "artifacts": pictures,
            }
        )
        return
    print(f"commit {commit}\nparents {' '.join(p[:10] for p in found.parents) or 'none'}\n\n{found.message.rstrip()}\n")
    for entry in entries:
        for line in _told(entry):
            print(line)
    if pictures:
        print(f"artifacts: {files.told(objects, pictures)}\nto see them: evogit show {commit[:10]} --artifacts DIR")
    for name, text in sorted(evidence.items()):
        print(f"\n--- {name}\n{text.rstrip()}")
    if patch and found.parents:
        sys.stdout.flush()
        print_diff(place, found.parents[0], commit)


def _told(entry: Entry) -> list[str]:
    """What one journal entry says of a version, for people."""
    data = entry.data
    match entry.kind:
        case "founded":
            return ["the run began here"]
        case "judged" | "attempted" | "noted":
            return [f"{entry.kind}: {data.get('verdict', data.get('outcome', ''))} {data.get('reason', '')}".rstrip()]
        case "verified":
            return [f"verified: {'the claimed score holds' if data['holds'] else 'the claimed score does not hold'}"]
        case "decided":
            word = "promote exclusively" if data.get("exclusive") else data.get("decision", "")
            why = f": {data['reason']}" if data.get("reason") else ""
            return [f"{data.get('author') or 'somebody'} decided: {word}{why}"]
        case "seated" | "restarted":
            return [f"continuing from here: {', '.join(data['agents'])}"]
        case "goal":
            return [f"a stage of the goal, by {data.get('author') or 'somebody'}:", str(data.get("text", ""))]
    what = "validated" if data.get("epoch") == -1 else data.get("decision", "evaluated again")
    stage = f", towards the goal of {data['goal']}" if data.get("goal") else ""
    scored = f"{what}: {data['status']}, score {number(data.get('score'))}, epoch {data.get('epoch', 0)}{stage}"
    return [scored, *(f"  {name}: {number(value)}" for name, value in data.get("metrics", {}).items())]


def _print_conversation(evidence: dict[str, str], revision: str, *, prompt: bool, reply: bool) -> None:
    from evogit.errors import UsageError

    wanted = "|".join(word for word, said in (("prompt", prompt), ("reply", reply)) if said)
    found = {name: match for name in evidence if (match := re.fullmatch(rf"(.*?)({wanted})(?:-(\d+))?\.md", name))}
    if not found:
        raise UsageError(f"{revision}: no model was asked for it")
    for name in sorted(found, key=lambda name: _turn(*found[name].groups())):
        print(evidence[name].rstrip() if len(found) == 1 else f"--- {name}\n{evidence[name].rstrip()}\n")


def _turn(before: str, word: str, number: str | None) -> tuple[str, int, str]:
    """Where a text stands in its conversation: prompt.md, reply-1.md, prompt-2.md, … reply.md, the last one."""
    return before, int(number or (1 if word == "prompt" else 1 << 30)), word


def diff(
    old: Revision = None,
    new: Revision = None,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Show what changed between two versions: from the start to the best unless told otherwise.

    Example: evogit diff main best
    """
    place = here(directory, run)
    from_commit = resolve(place, old or "base")
    to_commit = resolve(place, new or "best")
    print_diff(place, from_commit, to_commit)


def resolve(place: Place, revision: str) -> str:
    """A commit's id from what Git understands, or from the words best and base."""
    from evogit.errors import UsageError

    if revision in ("best", "base"):
        population = place.population()
        champion = population.best()
        found = population.base if revision == "base" else champion.commit if champion else None
    else:
        found = place.objects().resolve(revision)
    if found is None:
        raise UsageError(f"{revision}: no such commit here. Type: evogit log")
    return found


def print_diff(place: Place, old: str, new: str) -> None:
    """Git's own diff, with the user's own colours and pager."""
    command = ["git", "--git-dir", str(place.repository.git_dir), "diff", old, new]
    if not sys.stdout.isatty():
        command[1:1] = ["--no-pager"]
    subprocess.run(command, check=False)
