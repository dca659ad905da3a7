"""What a phylogeny can be exported as: one small module a format, found by name or by a file's suffix."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import PurePath

from evogit.errors import UsageError
from evogit.phylogeny.picture import Picture


@dataclass(frozen=True, slots=True)
class Format:
    """A format's name, what it is for, the file suffixes that mean it, and how many nodes it shows unless told.

    Formats that are data show everything (`limit` None); pictures fold to what a person can look at. More than `most`
    its readers refuse, whoever asks.
    """

    name: str
    purpose: str
    suffixes: tuple[str, ...]
    limit: int | None = None
    most: int | None = None


FORMATS = {
    format.name: format
    for format in (
        Format("dot", "Graphviz", (".dot", ".gv"), 2_000),
        Format("graphml", "Gephi, yEd, Cytoscape, networkx", (".graphml",)),
        Format("json", "programs: node-link, loads back", (".json",)),
        Format("newick", "phylogenetics: extended Newick, crossovers as hybrid nodes", (".nwk", ".newick", ".enwk")),
        Format("alife", "phylogenetics: the ALife data standard", (".alife.csv",)),
        Format("mermaid", "Markdown pages", (".mmd", ".mermaid"), 200, 500),
        Format("svg", "documents", (".svg",), 5_000),
        Format("png", "slides and chats", (".png",), 5_000),
        Format("html", "a page to look around in, one file", (".html", ".htm"), 5_000),
        Format("csv", "spreadsheets: a row a candidate", (".csv",)),
    )
}


def format_named(name: str) -> Format:
    """Raises `UsageError` for a name that is no format's."""
    if name not in FORMATS:
        raise UsageError(f"--format {name}: no such format. There are: {', '.join(FORMATS)}")
    return FORMATS[name]


def guess(file: PurePath) -> Format:
    """The format that a file's name means, the longest suffix first. Raises `UsageError`."""
    name = file.name.lower()
    matches = [(len(end), format) for format in FORMATS.values() for end in format.suffixes if name.endswith(end)]
    if not matches:
        known = ", ".join(end for format in FORMATS.values() for end in format.suffixes)
        raise UsageError(f"{file}: no format has this suffix (known: {known}). Say --format NAME")
    return max(matches, key=lambda match: match[0])[1]


def render(format: Format, picture: Picture) -> bytes:
    """The file's bytes; equal pictures give equal bytes."""
    module = importlib.import_module(f"evogit.phylogeny.formats.{format.name}")
    made = module.render(picture)
    return made if isinstance(made, bytes) else str(made).encode("utf-8", "replace")
