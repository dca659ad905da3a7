"""How far a long command is: a bar on a terminal, a line now and then elsewhere, always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

EVERY = 5.0
"""Seconds between lines."""

Advance = Callable[[int, int, str], None]
"""Done, of how many (0: not known), and what it is at."""


@contextlib.contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Advance]:
    """Tell how far `what` is; nothing when `quiet`."""
    if quiet:
        yield lambda _done, _total, _text: None
    elif sys.stderr.isatty():
        with _bar(what) as advance:
            yield advance
    else:
        yield _lines(what)


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None, at="")
        yield lambda done, total, text: shown.update(task, completed=done, total=total or None, at=text)


def _lines(what: str) -> Advance:
    told = [time.monotonic()]

    def advance(done: int, total: int, text: str) -> None:
        if time.monotonic() - told[0] >= EVERY:
            told[0] = time.monotonic()
            of = f" of {total}" if total else ""
            print(f"{what}: {done}{of} {text}".rstrip(), file=sys.stderr, flush=True)

    return advance
