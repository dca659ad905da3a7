"""Graphviz: the picture as a digraph, parents above children."""

from __future__ import annotations

from evogit.phylogeny.formats.text import line
from evogit.phylogeny.picture import Node, Picture, number

SHAPES = {"best": "star", "promoted": "diamond", "pruned": "octagon", "start": "box", "rejected": "point"}


def render(picture: Picture) -> str:
    lines = ["digraph phylogeny {", f"  label={quoted(f'{picture.title} · {picture.counts}')};"]
    lines += ['  labelloc="t"; rankdir="TB";', '  node [fontname="sans-serif", fontsize=10, shape=ellipse];']
    lines += [f"  {quoted(node.oid)} [{_attributes(node)}];" for node in picture.nodes]
    for node in picture.nodes:
        for at, link in enumerate(node.links):
            style = ["style=dashed"] if link.hidden else []
            style += [f'label="+{link.hidden}"'] if link.hidden else []
            style += ["color=gray60", "constraint=false"] if at else []
            end = f" [{', '.join(style)}]" if style else ""
            lines.append(f"  {quoted(picture.nodes[link.parent].oid)} -> {quoted(node.oid)}{end};")
    return "\n".join([*lines, "}", ""])


def _attributes(node: Node) -> str:
    words = [node.oid[:8], number(node.score), " ".join(part for part in (node.agent, node.operator) if part)]
    words += [f"+{node.folded} folded"] if node.folded else []
    # \n is Graphviz's own line break, so it is joined after quoting.
    label = "\\n".join(_escaped(line(word, 60)) for word in words if word)
    told = _escaped(line(node.summary, 200))
    parts = [f'label="{label}"', f'tooltip="{told or node.oid[:8]}"', f"shape={SHAPES.get(node.kind, 'ellipse')}"]
    if node.kind == "rejected":
        parts += ["width=0.08", 'xlabel=""']
    if node.marks & {"living", "best", "promoted"}:
        parts.append("penwidth=2")
    return ", ".join(parts)


def quoted(text: str) -> str:
    return f'"{_escaped(line(text))}"'


def _escaped(text: str) -> str:
    # Graphviz decodes HTML entities in labels too; an ampersand of the repository's must stay one.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\\", "\\\\").replace('"', '\\"')
