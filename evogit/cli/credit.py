"""`credit` who gave which lines, `bisect` where a metric changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.place import Directory, Json, Place, RunName, fitted, here, number, print_json
from evogit.cli.selection import commit, history_of
from evogit.cli.stats import table

if TYPE_CHECKING:
    from evogit.phylogeny.credit import Line, Share
    from evogit.phylogeny.history import History

Revision = Annotated[
    str | None, typer.Argument(metavar="[COMMIT]", help="A version (default: best, or HEAD).", show_default=False)
]
KEPT = 20


def credit(
    revision: Revision = None,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="Only these files (default: all that changed).")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Every line beside the commit it comes from.")] = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Say which lines and words of a version come from which commit, and so which agent, operator and model earned it.

    Example: evogit credit best --lines
    """
    from evogit.errors import UsageError
    from evogit.phylogeny import credit as crediting

    place = here(directory, run)
    history, i = _asked(place, run, revision)
    objects = place.objects()
    chosen = list(dict.fromkeys(paths or crediting.changed_paths(history, objects, i)))
    found = crediting.blame(history, objects, i, chosen)
    if paths and not found:
        raise UsageError(f"{', '.join(paths)}: no such text file in {history.oid(i)[:10]}. Type: evogit credit")
    words = crediting.blame(history, objects, i, chosen, words=True)
    rows = crediting.shares(history, found, words)
    sums = {by: crediting.totals(history, rows, by) for by in ("operator", "agent", "model")}
    if json:
        print_json(
            {
                "commit": history.oid(i),
                "commits": [_share(history, row) for row in rows],
                **{f"{by}s": [asdict(total) for total in some] for by, some in sums.items()},
                "lines": [{"path": at.path, "line": at.number, "commit": history.oid(at.commit)} for at in found],
            }
        )
        return
    if lines:
        _print_lines(place, history, i, found)
        return
    _print_shares(history, i, rows, len(chosen))
    for by, some in sums.items():
        if some:
            print(f"\nby {by}")
            cells = [[t.name, str(t.words), str(t.lines), str(t.commits), _signed(t.gain)] for t in some]
            for line in table([["", "words", "lines", "commits", "gain"], *cells]):
                print(f"  {line}")


def bisect(
    revision: Revision = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="What to look at.")] = "score",
    first_parent: Annotated[
        bool, typer.Option("--first-parent", help="Only the line of first parents, not all ancestors.")
    ] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many steps.")] = 10,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Find the ancestors at which a metric rose or fell most; every step was measured, so nothing is run.

    Example: evogit bisect best --metric excess
    """
    from evogit.errors import EvoGitError, UsageError
    from evogit.phylogeny import bisecting

    place = here(directory, run)
    history, i = _asked(place, run, revision)
    known = bisecting.metrics_of(history, i)
    if metric not in known:
        raise UsageError(f"--metric {metric}: not measured on this lineage. There are: {', '.join(known)}")
    found = bisecting.bisect(history, i, metric, first_parent=first_parent)
    if not found.changes:
        raise EvoGitError(
            f"{metric}: no two versions on the way to {history.oid(i)[:10]} were measured. Type: evogit run"
        )
    rows: list[dict[str, Any]] = [
        {
            "commit": history.oid(step.commit),
            "parent": history.oid(step.parent),
            "before": step.before,
            "after": step.after,
            "change": step.change,
            "agent": history.facts(step.commit).agent,
            "operator": history.facts(step.commit).operator,
            "summary": history.facts(step.commit).summary,
        }
        for step in found.changes[:limit]
    ]
    if json:
        counts = {"steps": found.steps, "unknown": found.unknown}
        print_json({"commit": history.oid(i), "metric": metric, **counts, "changes": rows})
        return
    unknown = f", {found.unknown} of them not measured alike" if found.unknown else ""
    print(f"{metric} on the way to {history.oid(i)[:10]}: {found.steps} steps{unknown}")
    for row in rows:
        values = f"{number(row['before']):>12} → {number(row['after']):<12} {_signed(row['change']):>10}"
        print(fitted(f"{row['commit'][:10]}  {values}  {row['agent']:<14} {row['operator']:<12} {row['summary']}"))


def _asked(place: Place, run: str | None, revision: str | None) -> tuple[History, int]:
    """The history, and the commit asked for in it: the best unless told otherwise, HEAD in plain history."""
    from evogit.errors import EvoGitError

    history, name = history_of(place, run)
    if revision is None and name and history.best is None:
        raise EvoGitError(f"run {place.run!r} has no scored version yet. Type: evogit run")
    return history, commit(place, history, revision or ("best" if name else "HEAD"))


def _share(history: History, row: Share) -> dict[str, Any]:
    facts = history.facts(row.commit)
    return {
        "commit": history.oid(row.commit),
        "lines": row.lines,
        "words": row.words,
        "gain": row.gain,
        "start": row.commit == history.base,
        "agent": facts.agent,
        "host": facts.host,
        "operator": facts.operator,
        "model": facts.model,
        "summary": facts.summary,
    }


def _print_shares(history: History, i: int, rows: list[Share], files: int) -> None:
    new = [row for row in rows if row.commit != history.base]
    of_all, of_new = ([sum(getattr(row, unit) for row in some) for unit in ("words", "lines")] for some in (rows, new))
    where = f"{files} {'changed ' if history.base is not None else ''}{'file' if files == 1 else 'files'}"
    if history.base is None:
        print(f"{history.oid(i)[:10]}: {of_all[0]} words and {of_all[1]} lines in {where}")
    else:
        came = f"{of_new[0]} of {of_all[0]} words and {of_new[1]} of {of_all[1]} lines"
        print(f"{history.oid(i)[:10]}: {came} in {where} came since the start")
    for row in rows[:KEPT]:
        facts = history.facts(row.commit)
        who = "the start" if row.commit == history.base else f"{facts.agent:<14} {facts.operator:<12} {facts.summary}"
        sizes = f"{row.words:>5} words  {row.lines:>4} lines  {_signed(row.gain):>10}"
        print(fitted(f"{history.oid(row.commit)[:10]}  {sizes}  {who}"))
    if len(rows) > KEPT:
        print(f"and {len(rows) - KEPT} more (all of them: --json)")


def _print_lines(place: Place, history: History, i: int, found: list[Line]) -> None:
    objects = place.objects()
    listing = objects.listing(objects.commit(history.oid(i)).tree)
    path, text = "", [""]
    for line in found:
        if line.path != path:
            path = line.path
            text = objects.blob(listing[path][1]).decode("utf-8", "replace").split("\n")
            print(path)
        facts = history.facts(line.commit)
        who = "the start" if line.commit == history.base else f"{facts.agent} {facts.operator}"
        print(fitted(f"{history.oid(line.commit)[:10]}  {who:<28.28} {line.number:>5}  {text[line.number - 1]}"))


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.6g}"
