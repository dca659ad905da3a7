"""Make text from a repository fit for a file: what XML and one-line labels cannot hold is shown, never interpreted."""

from __future__ import annotations

import re

# XML 1.0 allows tab, newline, return and these planes; everything else makes a file that no parser opens.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def xml(text: str) -> str:
    """`text` as XML character data or a quoted attribute's value."""
    text = _NOT_XML.sub("\ufffd", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return text.replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")


def line(text: str, width: int = 0) -> str:
    """`text` in one line without control and direction characters, cut to `width` characters if that is not 0."""
    text = _NOT_XML.sub("\ufffd", _CONTROLS.sub(" ", text)).strip()
    return text[: width - 1] + "…" if width and len(text) > width else text
