"""`report`: what a person wants to know in the morning, as Markdown or as one HTML page."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evogit.cli.place import Directory, Json, RunName, here, number, print_json
from evogit.cli.selection import moment

if TYPE_CHECKING:
    from evogit.phylogeny.picture import Picture
    from evogit.review.morning import Morning

NODES = 60  # shown in the page's picture
IMPROVEMENTS = 20  # the latest are listed


def report(
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="From then on: yesterday, today, 12h, 3d, or 2025-06-01T12:00 (UTC).")
    ] = "yesterday",
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="md or html.")] = "md",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The file (default: standard output).")
    ] = None,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> None:
    """Tell what improved since a moment, by whom, at what cost, and what waits for review, with the graph.

    Example: evogit report --since yesterday --format html -o morning.html
    """
    from evogit.errors import EvoGitError, UsageError
    from evogit.evolution.lineage import read_run
    from evogit.evolution.session import read_journals
    from evogit.phylogeny.folding import at_most, draw, remarkable
    from evogit.phylogeny.selecting import Selection, select
    from evogit.review.morning import morning

    if form not in ("md", "html"):
        raise UsageError(f"--format {form}: md or html")
    from_ = moment(since, time.time())
    place = here(directory, run)
    record = read_run(place.objects(), place.run)
    found = morning(record, read_journals(place.objects(), place.run, {}), from_)
    if json:
        print_json(asdict(found) | {"run": place.run})
        return
    history = record.history
    selected = select(history, Selection())
    shown = at_most(history, selected, NODES) if form == "html" else remarkable(history, selected)
    picture = draw(history, selected, shown, run=place.run, task=str(record.population.founded.get("task", "")))
    text = page(found, picture) if form == "html" else markdown(found, picture)
    data = text.encode(errors="replace")
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        (place.directory / output).write_bytes(data)
    except OSError as error:
        raise EvoGitError(f"{place.directory / output}: cannot be written: {error.strerror}") from error
    print(f"{place.directory / output}: {len(found.improvements)} improvements, {len(found.waiting)} wait for review")


def headline(found: Morning) -> str:
    """The whole night in two sentences."""
    what = f"{found.candidates:,} candidates, {found.accepted:,} accepted"
    bill = f"{found.tokens:,} tokens, cost {found.cost:.4f}" if found.tokens else "no model was asked"
    if not found.improvements:
        best = f"Nothing improved: the best is {number(found.after)}."
    else:
        best = "The best went from {} to {}.".format(*apart(found.before, found.after))
    return f"{best} {what}; {bill}."


def tables(found: Morning) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]], str]]:
    """The report's sections: title, columns, rows, and what is said where there are none."""
    improved: list[tuple[str, ...]] = [
        (
            _clock(i.milliseconds),
            i.commit[:10],
            f"{number(i.score)}, best by validation" if i.validated else " → ".join(apart(i.before, i.score)),
            i.agent,
            i.operator,
            i.summary,
        )
        for i in found.improvements[-IMPROVEMENTS:]
    ]
    workers: list[tuple[str, ...]] = [
        (w.name, f"{w.candidates}", f"{w.accepted}", f"{w.improvements}", f"{w.tokens}", f"{w.cost:.4f}")
        for w in found.workers
    ]
    waiting: list[tuple[str, ...]] = [(item.commit[:10], item.why, item.because) for item in found.waiting]
    look = " (type: evogit review)" if waiting else ""
    more = len(found.improvements) - len(improved)
    title = f"What improved (the last {len(improved)} of {len(improved) + more})" if more else "What improved"
    return [
        (title, ("when", "commit", "score", "agent", "operator", "summary"), improved, "Nothing did."),
        (
            "By whom, at what cost",
            ("agent", "candidates", "accepted", "improvements", "tokens", "cost"),
            workers,
            "Nobody worked.",
        ),
        ("What was decided", ("decision",), [(text,) for text in found.decided], "Nothing."),
        (f"What waits for review{look}", ("commit", "why", "because"), waiting, "Nothing. Type: evogit review"),
    ]


def apart(one: float | None, other: float | None) -> tuple[str, str]:
    """Two scores for people, with as many digits as it takes to tell them apart."""
    if one is not None and other is not None and one != other:
        for digits in range(6, 18):
            shown = f"{one + 0.0:.{digits}g}", f"{other + 0.0:.{digits}g}"
            if shown[0] != shown[1]:
                return shown
    return number(one), number(other)


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _title(found: Morning, picture: Picture) -> str:
    return f"Run {picture.run}, {picture.task}, since {_clock(found.since)} UTC"


def markdown(found: Morning, picture: Picture) -> str:
    """The report for a mail or a forge. What a model wrote is one line of text and no markup."""
    from evogit.phylogeny.smartlog import UNICODE, plain, render

    lines = [f"# {_cell(_title(found, picture))}", "", headline(found), ""]
    for title, columns, rows, none in tables(found):
        lines += [f"## {title}", ""]
        if rows:
            lines += [_row(columns), _row(["---"] * len(columns)), *(_row([_cell(c) for c in row]) for row in rows), ""]
        else:
            lines += [none, ""]
    drawn = plain(render(picture, UNICODE, None))
    return "\n".join([*lines, "## The graph", "", "```text", *drawn, "```", "", picture.counts, ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    from evogit.phylogeny.formats.text import line

    shown = line(text)
    for sign in "\\`*_[]<>|":
        shown = shown.replace(sign, f"\\{sign}")
    return shown


STYLE = """
:root{--paper:#fff;--ink:#212529;--quiet:#636b74;--line:#d5dbe0;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e9ecef;--quiet:#9aa3ac;--line:#3a4149}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"DejaVu Sans",sans-serif;background:var(--paper);color:var(--ink);
max-width:72em;margin:1.5em auto;padding:0 1em}
h1{font-size:1.6em;line-height:1.25;overflow-wrap:anywhere}h2{font-size:1.2em;margin:1.6em 0 .4em}
.wide{overflow-x:auto}table{border-collapse:collapse}
th,td{text-align:left;vertical-align:top;padding:.25em 1.2em .25em 0;border-bottom:1px solid var(--line)}
th{color:var(--quiet);font-weight:600}td:not(:last-child){white-space:nowrap}
.figures :is(th,td):not(:first-child){text-align:right;font-variant-numeric:tabular-nums}.figures td{white-space:nowrap}
td:last-child{overflow-wrap:anywhere}
.graph{overflow-x:auto;background:#fff;border:1px solid var(--line);border-radius:8px}svg{display:block}
@media (max-width:40em){h1{font-size:1.3em}.figures :is(th,td){padding-right:.7em;font-size:.87em}
.list,.list tbody{display:block}.list tr{display:flex;flex-wrap:wrap;column-gap:.9em;padding:.35em 0;
border-bottom:1px solid var(--line)}.list tr:first-child{display:none}.list td{border:0;padding:0}
.list td:not(:last-child){color:var(--quiet)}.list td:last-child{flex:1 0 100%}}
"""


def page(found: Morning, picture: Picture) -> str:
    """One page without scripts or anything from elsewhere, for wide and narrow screens, light and dark."""
    from evogit.phylogeny.formats import svg
    from evogit.phylogeny.formats.text import line

    name = html.escape(line(_title(found, picture)))
    body = [f"<h1>{name}</h1>", f"<p>{html.escape(headline(found))}</p>"]
    for title, columns, rows, none in tables(found):
        body.append(f"<h2>{html.escape(title)}</h2>")
        if not rows:
            body.append(f"<p>{html.escape(none)}</p>")
            continue
        kind = "figures" if "cost" in columns else "list"
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        cells = ("".join(f"<td>{html.escape(line(cell))}</td>" for cell in row) for row in rows)
        lines = "".join(f"<tr>{row}</tr>" for row in cells)
        body.append(f"<div class='wide'><table class='{kind}'><tr>{head}</tr>{lines}</table></div>")
    body += ["<h2>The graph</h2>", f"<div class='graph' tabindex='0'>{svg.render(picture)}</div>"]
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>"
    head += f"<title>{name}</title><style>{STYLE}</style>"
    return "\n".join([f"<!doctype html><html lang='en'><head>{head}</head><body>", *body, "</body></html>\n"])
