"""Which lines two versions of a file share, by the algorithm of Git's own diff."""

from __future__ import annotations

import pygit2
from pygit2.enums import DiffOption


def unchanged(old: bytes, new: bytes) -> list[tuple[int, int, int]]:
    """Runs of equal lines as (first in `old`, first in `new`, how many), counted from 0, in order.

    Lines end with a newline; a last line without one is a line of its own. Binary content is compared the same way.
    """
    options = DiffOption.INDENT_HEURISTIC | DiffOption.FORCE_TEXT
    patch = pygit2.Patch.create_from(old, new, flag=options, context_lines=0, interhunk_lines=0)
    found = []
    at_old = at_new = 0
    for hunk in patch.hunks:
        # An empty side names the line before it.
        begin_old = hunk.old_start - 1 if hunk.old_lines else hunk.old_start
        begin_new = hunk.new_start - 1 if hunk.new_lines else hunk.new_start
        if begin_new > at_new:
            found.append((at_old, at_new, begin_new - at_new))
        at_old, at_new = begin_old + hunk.old_lines, begin_new + hunk.new_lines
    rest = lines(new) - at_new
    if rest > 0:
        found.append((at_old, at_new, rest))
    return found


def lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
