"""Extended Newick (Cardona, Rosselló, Valiente 2008): a crossover is a hybrid node, written once under each parent.

The first parent's side carries the descendants, every other a childless node of the same ``#H`` number. Branch lengths
count commits, folded ones included. Scores, agents and operators stand in NHX comments, which readers may ignore.
"""

from __future__ import annotations

from evogit.phylogeny.formats.text import line
from evogit.phylogeny.picture import Node, Picture, number


def render(picture: Picture) -> str:
    children: list[list[tuple[int, int]]] = [[] for _ in picture.nodes]
    roots: list[int] = []
    hybrids: dict[int, int] = {}
    for at, node in enumerate(picture.nodes):
        if not node.links:
            roots.append(at)
        if len(node.links) > 1:
            hybrids[at] = len(hybrids) + 1
        for order, link in enumerate(node.links):
            children[link.parent].append((at, order))
    trees = [_tree(picture, root, children, hybrids) for root in roots]
    return (trees[0] if len(trees) == 1 else f"({','.join(trees)})") + ";\n"


def _tree(picture: Picture, root: int, children: list[list[tuple[int, int]]], hybrids: dict[int, int]) -> str:
    """One root's tree. A stack instead of recursion: a lineage may be 100,000 commits deep."""
    out: list[str] = []
    stack: list[tuple[int, int] | str] = [(root, 0)]
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            out.append(top)
            continue
        at, order = top
        label = _label(picture.nodes[at], order, hybrids.get(at))
        below = children[at] if order == 0 else []
        if not below:
            out.append(label)
            continue
        out.append("(")
        stack.append(f"){label}")
        for place, child in enumerate(reversed(below)):
            stack += ([","] if place else []) + [child]
    return "".join(out)


def _label(node: Node, order: int, hybrid: int | None) -> str:
    name = node.oid + (f"#H{hybrid}" if hybrid else "")
    length = f":{node.links[order].hidden + 1}" if node.links else ""
    facts = {"S": number(node.score), "agent": node.agent, "operator": node.operator, "kind": node.kind}
    told = ":".join(f"{key}={_safe(value)}" for key, value in facts.items() if value)
    return f"{name}{length}[&&NHX:{told}]"


def _safe(text: str) -> str:
    """A comment ends at a bracket, a field at a colon; Newick has no way to write them inside."""
    return "".join("_" if mark in "[](){}<>:;,='\"&#" else mark for mark in line(text, 60))
