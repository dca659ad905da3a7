"""The phylogeny as lines of text: one a node, oldest first, the best lineage straight, what it displays told by roles.

Rows are data; glyphs, width and clock come from outside (as in git-branchless), so that pictures can be tested inline.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from evogit.phylogeny.formats.csv import instant
from evogit.phylogeny.formats.text import line
from evogit.phylogeny.picture import KINDS, Node, Picture, number

Piece = tuple[str, str]
"""What a stretch of text is (for its colour), and the text."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character for each kind, and the lines between; forks open a column beside; gaps say that some are folded."""

    kinds: dict[str, str]
    straight: str
    gap: str
    fork: str
    fork_gap: str
    up: str
    down: str
    cross: str
    more: str


UNICODE = Glyphs(
    {"best": "★", "promoted": "◆", "pruned": "✗", "living": "●", "start": "■", "accepted": "○", "rejected": "·",
     "commit": "○"},
    "│ ", "┊ ", "├─╮", "├┄╮", "▲", "▼", "×", "…",
)  # fmt: skip
ASCII = Glyphs(
    {"best": "*", "promoted": "+", "pruned": "x", "living": "@", "start": "#", "accepted": "o", "rejected": ".",
     "commit": "o"},
    "| ", ": ", "|\\", ":\\", "+", "-", "x", "...",
)  # fmt: skip

SHADES = 10
"""Scores come in so many roles, ``score0`` (worst) to ``score9``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree: the drawing left of it, and its node, or None where there is only drawing."""

    tree: str
    node: Node | None = None


def rows(picture: Picture, glyphs: Glyphs) -> list[Row]:
    """The tree of first links. A node's last child (the best's line, else the largest) stays in its column."""
    children: list[list[int]] = [[] for _ in picture.nodes]
    roots: list[int] = []
    for at, node in enumerate(picture.nodes):
        (children[node.links[0].parent] if node.links else roots).append(at)
    weight = [1] * len(picture.nodes)
    best = [("best" in node.marks) for node in picture.nodes]
    for at in range(len(picture.nodes) - 1, -1, -1):
        # Sorted by this, columns nest at most as deep as the logarithm of the nodes, plus one for the best.
        children[at].sort(key=lambda child: (best[child], weight[child], child))
        for child in children[at]:
            weight[at] += weight[child]
            best[at] |= best[child]
    found: list[Row] = []
    for root in sorted(roots, key=lambda root: (best[root], root)):
        if found:
            found.append(Row(""))
        _tree(picture, glyphs, children, root, found)
    return found


def _tree(picture: Picture, glyphs: Glyphs, children: list[list[int]], root: int, found: list[Row]) -> None:
    stack: list[tuple[int, int, bool]] = [(root, 0, False)]
    while stack:
        at, depth, forked = stack.pop()
        node, left = picture.nodes[at], glyphs.straight * depth
        gap = bool(node.links) and node.links[0].hidden > 0
        if forked:
            found.append(Row(glyphs.straight * (depth - 1) + (glyphs.fork_gap if gap else glyphs.fork)))
        elif gap:
            found.append(Row(left + glyphs.gap.rstrip()))
        found.append(Row(left + glyphs.kinds[node.kind], node))
        heir = children[at][-1:]
        stack += [(child, depth, False) for child in heir]
        stack += [(child, depth + 1, True) for child in reversed(children[at][:-1])]


def render(
    picture: Picture, glyphs: Glyphs = UNICODE, width: int | None = None, now: int | None = None
) -> list[list[Piece]]:
    """Lines of pieces. `width` is the terminal's in characters (None: as wide as it gets); ages count from `now`,
    in milliseconds since 1970 (None: moments instead of ages).
    """
    drawn = rows(picture, glyphs)
    tree = max((len(row.tree) for row in drawn), default=0)
    cells = {id(row): _cells(picture, row.node, glyphs, now) for row in drawn if row.node is not None}
    shade = _shades(picture)
    kept = _columns(list(cells.values()), tree, width)
    lines: list[list[Piece]] = []
    for row in drawn:
        if row.node is None:
            lines.append([("tree", row.tree)])
            continue
        pieces: list[Piece] = [
            ("tree", row.tree[:-1]),
            (row.node.kind, row.tree[-1:]),
            ("", " " * (tree - len(row.tree))),
        ]
        for name, wide in kept:
            text = cells[id(row)][name]
            role = shade.get(row.node.oid, "quiet") if name == "score" else _role(name, row.node, picture)
            padded = text.rjust(wide) if name in ("score", "change", "folded") else _padded(text, wide, glyphs)
            pieces += [("", "  "), (role, padded)]
        lines.append(_stripped(pieces))
    return lines


COLUMNS = ("id", "score", "change", "agent", "operator", "age", "state", "folded", "others", "summary")
DROPPED_FIRST = ("summary", "others", "operator", "age", "agent", "folded", "state", "change")
"""What a narrow terminal loses, in this order. The summary takes what is left."""
MOST = {"agent": 18, "operator": 14, "state": 22, "summary": 72, "others": 18}


def _cells(picture: Picture, node: Node, glyphs: Glyphs, now: int | None) -> dict[str, str]:
    change = ""
    if node.change:
        change = f"{glyphs.up if node.change > 0 else glyphs.down}{abs(node.change):.3g}"
    others = [picture.nodes[link.parent].oid[:7] for link in node.links[1:] if not link.hidden]
    return {
        "id": node.oid[:8],
        "score": number(node.score) or ("" if node.status in ("ok", "") else node.status),
        "change": change,
        "agent": line(node.agent),
        "operator": line(node.operator),
        "age": age(node.milliseconds, now),
        "state": line(_state(node, picture.run)),
        "folded": f"+{node.folded}" if node.folded else "",
        "others": " ".join(f"{glyphs.cross}{oid}" for oid in others),
        "summary": line(node.summary),
    }


def _state(node: Node, run: str) -> str:
    """Decision and marks in words, for those whom glyphs tell nothing; promoted versions by their names.

    In plain history branches and tags say it all.
    """
    if node.names and not run:
        return " ".join(node.names)
    words: list[str] = [mark for mark in KINDS[:5] if mark in node.marks]
    if "promoted" in node.marks:
        words += [name for name in node.names if name != node.agent]
    return " ".join(words) or node.decision


def age(milliseconds: int, now: int | None) -> str:
    """How long ago, in its largest unit; or the moment in UTC to the minute."""
    if milliseconds <= 0:
        return ""
    if now is None:
        return instant(milliseconds)[:16].replace("T", " ")
    seconds = max(0, now - milliseconds) // 1000
    for unit, length in (("y", 31_557_600), ("mo", 2_629_800), ("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _columns(cells: Sequence[dict[str, str]], tree: int, width: int | None) -> list[tuple[str, int]]:
    """Which columns there is room for, and how wide each is."""
    wide = {name: max((cell_width(cell[name]) for cell in cells), default=0) for name in COLUMNS}
    wide = {name: min(size, MOST.get(name, size)) for name, size in wide.items() if size}
    if width is None:
        return list(wide.items())
    for name in DROPPED_FIRST:
        room = width - tree - sum(2 + size for other, size in wide.items() if other != name)
        if name in wide and room < wide[name] + 2:
            # The summary may be cut short; half a word of it is no use.
            if name == "summary" and room >= 14:
                wide[name] = room - 2
                break
            del wide[name]
        elif tree + sum(2 + size for size in wide.values()) <= width:
            break
    return list(wide.items())


def _shades(picture: Picture) -> dict[str, str]:
    """Score roles by rank among the distinct scores shown."""
    sign = 1 if picture.direction == "maximize" else -1
    ranks = sorted({sign * node.score for node in picture.nodes if node.score is not None})
    place = {score: round(at / max(1, len(ranks) - 1) * (SHADES - 1)) for at, score in enumerate(ranks)}
    return {node.oid: f"score{place[sign * node.score]}" for node in picture.nodes if node.score is not None}


def _role(name: str, node: Node, picture: Picture) -> str:
    if name == "change" and node.change:
        return "better" if (node.change > 0) == (picture.direction == "maximize") else "worse"
    if name == "state":
        return node.kind
    return {"id": "id", "agent": "agent", "summary": "summary"}.get(name, "quiet")


def cell_width(text: str) -> int:
    """Terminal cells: two for wide characters, none for combining ones."""
    return sum(_width(mark) for mark in text)


def _width(mark: str) -> int:
    if unicodedata.combining(mark) or unicodedata.category(mark) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(mark) in ("W", "F") else 1


def cut(text: str, wide: int, more: str) -> str:
    """`text`, or as much of it as leaves room for `more` in `wide` terminal cells."""
    if cell_width(text) <= wide:
        return text
    room, kept = wide - len(more), ""
    for mark in text:
        room -= _width(mark)
        if room < 0:
            break
        kept += mark
    return kept + more


def _padded(text: str, wide: int, glyphs: Glyphs) -> str:
    text = cut(text, wide, glyphs.more)
    return text + " " * (wide - cell_width(text))


def _stripped(pieces: list[Piece]) -> list[Piece]:
    while pieces and not pieces[-1][1].strip():
        pieces.pop()
    if pieces:
        pieces[-1] = (pieces[-1][0], pieces[-1][1].rstrip())
    return pieces


def plain(lines: Sequence[Sequence[Piece]]) -> list[str]:
    return ["".join(text for _, text in pieces) for pieces in lines]
