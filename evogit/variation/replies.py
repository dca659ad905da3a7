"""What a model replied, read as changes to files: strict about meaning, forgiving about white space and decoration.

A reply is untrusted: every path is checked, every size bounded, and whatever is wrong becomes a `ReplyError` whose
message is written for the model, which is shown it in a repair turn. (The formats are those of aider's edit formats;
its own code is not used, as it writes to disk while it parses.)

    reply_text    thoughts, fences, line numbers, omissions, refusals
    reply_paths   the file that a line names
    matching      the lines that a model means
    reply_work    files while a reply is applied to them
    reply_edits   SEARCH/REPLACE blocks
    reply_blocks  whole files, one section
    reply_json    a line's edit, a verdict
"""

from __future__ import annotations

from evogit.values import Changes, Reason
from evogit.variation import wellformed
from evogit.variation.reply_blocks import read_section, read_whole_files
from evogit.variation.reply_edits import SEARCH_REPLACE, read_search_replace
from evogit.variation.reply_json import (
    LONGEST,
    VERDICT_SCHEMA,
    Preference,
    find_json,
    line_edit_schema,
    read_line_edit,
    read_verdict,
)
from evogit.variation.reply_text import Block, Limits, ReplyError, clean, fenced, nothing
from evogit.variation.reply_work import Editable, Files
from evogit.variation.wellformed import touched

__all__ = [
    "LONGEST",
    "SEARCH_REPLACE",
    "VERDICT_SCHEMA",
    "Block",
    "Editable",
    "Files",
    "Limits",
    "Preference",
    "ReplyError",
    "check_syntax",
    "clean",
    "fenced",
    "find_json",
    "line_edit_schema",
    "nothing",
    "read_line_edit",
    "read_search_replace",
    "read_section",
    "read_verdict",
    "read_whole_files",
    "touched",
]


def check_syntax(old: Files, changes: Changes) -> None:
    """Raises `ReplyError` when a changed file that could be parsed, or a new one, cannot be parsed now."""
    if problem := wellformed.problem(old, changes):
        raise ReplyError(f"the result does not parse: {problem}", Reason.SYNTAX)
