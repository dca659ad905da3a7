"""Mermaid: a flowchart for Markdown pages. Its renderer refuses more than 500 links, so it folds early."""

from __future__ import annotations

import re

from evogit.phylogeny.formats.text import line
from evogit.phylogeny.picture import Node, Picture, number

CLASSES = {
    "best": "fill:#f5b301,stroke:#8a6500,color:#000",
    "promoted": "fill:#2f9e44,stroke:#1b5e29,color:#fff",
    "pruned": "fill:#fff,stroke:#c92a2a,color:#c92a2a",
    "living": "fill:#d0ebff,stroke:#1971c2,color:#000",
    "start": "fill:#343a40,stroke:#000,color:#fff",
    "accepted": "fill:#f1f3f5,stroke:#495057,color:#000",
    "rejected": "fill:#fff,stroke:#adb5bd,color:#868e96",
    "commit": "fill:#f1f3f5,stroke:#495057,color:#000",
}
BRACKETS = {"best": ("([", "])"), "promoted": ("{{", "}}"), "start": ("[[", "]]"), "living": ("(", ")")}


MOST_LINKS = 500
"""`maxEdges` of the renderer, which a chart cannot raise."""


def render(picture: Picture) -> str:
    drawn = _drawn(picture)
    left = sum(len(node.links) for node in picture.nodes) - len(drawn)
    lines = [f"%% {_escaped(line(picture.title))}: {picture.counts}", "flowchart TD"]
    lines += [f"%% {left} links of crossovers are not drawn: there are too many for the renderer"] if left else []
    for at, node in enumerate(picture.nodes):
        before, after = BRACKETS.get(node.kind, ("[", "]"))
        lines.append(f'  n{at}{before}"{_label(node)}"{after}:::{node.kind}_')
    for at, node in enumerate(picture.nodes):
        for place, link in enumerate(node.links):
            if (at, place) not in drawn:
                continue
            arrow = "-.->" if place or link.hidden else "-->"
            label = f"|+{link.hidden}|" if link.hidden else ""
            lines.append(f"  n{link.parent} {arrow}{label} n{at}")
    # A class called like a word of Mermaid's own would end the chart, hence the underscore.
    used = sorted({node.kind for node in picture.nodes})
    lines += [f"  classDef {kind}_ {CLASSES[kind]}" for kind in used]
    return "\n".join([*lines, ""])


def _drawn(picture: Picture) -> set[tuple[int, int]]:
    """Which links (node, place) there is room for: first parents', then those to a shown parent, then the rest."""
    links = [
        (place > 0, link.hidden > 0, at, place)
        for at, node in enumerate(picture.nodes)
        for place, link in enumerate(node.links)
    ]
    return {(at, place) for _, _, at, place in sorted(links)[:MOST_LINKS]}


def _label(node: Node) -> str:
    words = [node.oid[:8], number(node.score), node.agent, node.operator]
    words += [f"+{node.folded} folded"] if node.folded else []
    return " · ".join(_escaped(line(word, 40)) for word in words if word)


def _escaped(text: str) -> str:
    """Everything but letters, digits and harmless marks as a numbered entity: no Markdown, HTML or end of label."""
    return re.sub(r"[^\w .:,+/–-]|_", lambda found: f"#{ord(found.group())};", text)
