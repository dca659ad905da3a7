"""SVG: lanes from left to right in the order of birth, the best lineage drawn thick, attempts as ticks below it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evogit.phylogeny.formats.csv import instant
from evogit.phylogeny.formats.text import line, xml
from evogit.phylogeny.layout import Layout, lay_out
from evogit.phylogeny.picture import Node, Picture, number

LEFT, TOP, RIGHT, BOTTOM = 28, 64, 150, 62
WORST_TO_BEST = ("#c7e9b4", "#a1dab4", "#7fcdbb", "#5cc0c0", "#41b6c4", "#1d91c0", "#2272b5", "#225ea8", "#1d3f8f",
                 "#0c2c84")  # fmt: skip
NO_SCORE = "#adb5bd"
TITLES_UP_TO = 20_000
"""With more nodes than this, dots carry no tooltip: the file would be many times larger and slow to open."""

STYLE = """<style>
text{font-family:"DejaVu Sans","Helvetica Neue",Arial,sans-serif;font-size:10px;fill:#343a40}
.title{font-size:16px;font-weight:bold}.quiet{fill:#868e96}
.label{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}
path{fill:none}.line{stroke:#ced4da;stroke-width:1.2}.gap{stroke:#adb5bd;stroke-width:1.2;stroke-dasharray:2 3}
.merge{stroke:#9c36b5;stroke-width:.9;stroke-opacity:.5}.far{stroke:#9c36b5;stroke-width:.6;stroke-opacity:.22}
.count{font-size:8px;fill:#868e96}.best{stroke:#f08c00;stroke-width:2.6}
.tick{stroke:#dee2e6;stroke-width:.7}.worse{stroke:#adb5bd;stroke-linecap:round}
.failed{stroke:#ff8787;stroke-linecap:round}.dot{stroke-linecap:round}
.living{stroke:#212529;stroke-width:1.6}.mark{stroke:#212529;stroke-width:1}
</style>"""


@dataclass(frozen=True, slots=True)
class Board:
    """A picture's places in pixels."""

    layout: Layout
    step: float
    rise: float
    width: int
    height: int
    radius: float

    def x(self, at: int) -> float:
        return LEFT + self.layout.x[at] * self.step

    def y(self, at: int) -> float:
        return TOP + (self.layout.lane[at] + 0.5) * self.rise


def arrange(picture: Picture) -> tuple[Layout, frozenset[int]]:
    """The lanes of a picture by order of birth, and the positions of the best one's lineage."""
    nodes = picture.nodes
    parent = [node.links[0].parent if node.links else -1 for node in nodes]
    inner = set(parent)
    twig = [node.kind == "rejected" and at not in inner for at, node in enumerate(nodes)]
    liked = best_lineage(picture, parent)
    layout = lay_out(parent, range(len(nodes)), twig, [at in liked for at in range(len(nodes))])
    return layout, liked


def best_lineage(picture: Picture, parent: Sequence[int]) -> frozenset[int]:
    """Positions of the best and its first parents; where nothing has a score, of the youngest of the living."""
    for mark in ("best", "living"):
        at = max((at for at, node in enumerate(picture.nodes) if mark in node.marks), default=-1)
        if at >= 0:
            break
    found = set()
    while at >= 0:
        found.add(at)
        at = parent[at]
    return frozenset(found)


def _board(picture: Picture, layout: Layout) -> Board:
    count = max(1, len(picture.nodes))
    step = min(26.0, max(1400 / count, 1.0)) if count <= 8000 else 8000 / count
    rise = min(26.0, max(900 / max(1, layout.lanes), 7.0))
    width = int(LEFT + RIGHT + max(560.0, step * count))
    height = int(TOP + BOTTOM + rise * (max(1, layout.lanes) + 0.5))
    return Board(layout, step, rise, width, height, min(5.0, max(1.3, step * 0.9), rise * 0.28))


def size(picture: Picture) -> tuple[int, int]:
    board = _board(picture, arrange(picture)[0])
    return board.width, board.height


def render(picture: Picture) -> str:
    layout, liked = arrange(picture)
    board = _board(picture, layout)
    box = f'width="{board.width}" height="{board.height}" viewBox="0 0 {board.width} {board.height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">']
    parts += [f"<title>{xml(picture.title)}</title>", f"<desc>{xml(picture.counts)}</desc>", STYLE]
    parts.append(f'<rect width="{board.width}" height="{board.height}" fill="#fff"/>')
    parts.append(f'<text class="title" x="{LEFT}" y="26">{xml(line(picture.title, 90))}</text>')
    parts.append(f'<text class="quiet" x="{LEFT}" y="44">{xml(picture.counts)}</text>')
    parts += _lines(picture, board, liked)
    parts += _twigs(picture, board)
    parts += _dots(picture, board)
    parts += _labels(picture, board)
    parts += _legend(picture, board)
    return "\n".join([*parts, "</svg>", ""])


def _path(kind: str, pieces: Iterable[str], extra: str = "") -> list[str]:
    drawn = "".join(pieces)
    return [f'<path class="{kind}"{extra} d="{drawn}"/>'] if drawn else []


def _lines(picture: Picture, board: Board, liked: frozenset[int]) -> list[str]:
    pieces: dict[str, list[str]] = {"far": [], "merge": [], "line": [], "gap": [], "best": []}
    for at, node in enumerate(picture.nodes):
        for order, link in enumerate(node.links):
            if order:
                # What a rejected child, or a folded commit on the way, took from elsewhere must not drown the rest.
                kind = "far" if link.hidden or node.kind == "rejected" else "merge"
                pieces[kind].append(_across(board, link.parent, at))
            elif not board.layout.hung[at]:
                kind = "best" if at in liked else "gap" if link.hidden else "line"
                pieces[kind].append(_along(board, link.parent, at))
    return [text for kind, found in pieces.items() for text in _path(kind, found)]


def _along(board: Board, start: int, end: int) -> str:
    """Leave the parent's lane at once, then go straight."""
    x, y, to_x, to_y = board.x(start), board.y(start), board.x(end), board.y(end)
    if y == to_y:
        return f"M{x:.1f} {y:.1f}H{to_x:.1f}"
    bend = min(to_x - x, 16.0)
    middle = x + bend / 2
    curve = f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {x + bend:.1f} {to_y:.1f}"
    return f"M{x:.1f} {y:.1f}{curve}H{to_x:.1f}"


def _across(board: Board, start: int, end: int) -> str:
    x, y, to_x, to_y = board.x(start), board.y(start), board.x(end), board.y(end)
    bend = (to_x - x) / 2
    return f"M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"


def _twigs(picture: Picture, board: Board) -> list[str]:
    ticks: list[str] = []
    reach: dict[int, float] = {}
    dots: dict[str, list[str]] = {"worse": [], "failed": []}
    for at, node in enumerate(picture.nodes):
        if node.kind != "rejected":
            continue
        x, y = board.x(at), board.y(at)
        if board.layout.hung[at]:
            above = node.links[0].parent
            ticks.append(f"M{x:.1f} {board.y(above):.1f}V{y:.1f}")
            if board.layout.heir[above] < 0:
                reach[above] = x
        dots["failed" if node.status not in ("ok", "") else "worse"].append(f"M{x:.1f} {y:.1f}h0")
    # A line that ended goes on, thinly, as long as children of its end were tried.
    ticks += [f"M{board.x(at):.1f} {board.y(at):.1f}H{x:.1f}" for at, x in reach.items()]
    wide = f' stroke-width="{max(1.6, board.radius):.3g}"'
    return _path("tick", ticks) + [text for kind, found in dots.items() for text in _path(kind, found, wide)]


def colours(picture: Picture) -> list[str]:
    """A colour a node by the rank of its score among all distinct ones: one outlier does not wash out the rest."""
    sign = 1 if picture.direction == "maximize" else -1
    scored = sorted({sign * node.score for node in picture.nodes if node.score is not None})
    top = max(1, len(scored) - 1)
    found = []
    for node in picture.nodes:
        if node.score is None:
            found.append(NO_SCORE)
        else:
            rank = bisect_left(scored, sign * node.score) / top if len(scored) > 1 else 1.0
            found.append(WORST_TO_BEST[round(rank * (len(WORST_TO_BEST) - 1))])
    return found


def _dots(picture: Picture, board: Board) -> list[str]:
    """Plain nodes as dots by colour, then what is remarkable on top of them, the best last."""
    told = len(picture.nodes) <= TITLES_UP_TO
    many: dict[str, list[str]] = {}
    plain: list[str] = []
    special: list[str] = []
    best: list[str] = []
    for at, (node, colour) in enumerate(zip(picture.nodes, colours(picture), strict=True)):
        kind, x, y = node.kind, board.x(at), board.y(at)
        if kind == "rejected":
            continue
        if kind not in ("accepted", "commit"):
            (best if kind == "best" else special).append(_special(node, x, y, board.radius, colour))
        elif told:
            plain.append(_circle(node, x, y, board.radius, f'fill="{colour}"'))
        else:
            many.setdefault(colour, []).append(f"M{x:.1f} {y:.1f}h0")
    wide = f' stroke-width="{2 * board.radius:.3g}"'
    dots = [text for colour, found in sorted(many.items()) for text in _path("dot", found, f'{wide} stroke="{colour}"')]
    return dots + plain + special + best


def _circle(node: Node, x: float, y: float, radius: float, look: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.3g}" {look}>{_title(node)}</circle>'


def _special(node: Node, x: float, y: float, radius: float, colour: str) -> str:
    big = max(radius * 1.5, 4.2)
    far = big * 1.3
    if node.kind == "living":
        return _circle(node, x, y, big * 0.9, f'class="living" fill="{colour}"')
    if node.kind == "best":
        shape, look = _star(x, y, big * 1.7), 'class="mark" style="fill:#f5b301"'
    elif node.kind == "promoted":
        shape = f"M{x:.1f} {y - far:.1f}l{far:.3g} {far:.3g}l{-far:.3g} {far:.3g}l{-far:.3g} {-far:.3g}z"
        look = 'class="mark" style="fill:#40c057"'
    elif node.kind == "pruned":
        shape = (
            f"M{x - big:.1f} {y - big:.1f}l{2 * big:.3g} {2 * big:.3g}m0 {-2 * big:.3g}l{-2 * big:.3g} {2 * big:.3g}"
        )
        look = 'style="stroke:#c92a2a;stroke-width:1.8"'
    else:
        shape, look = (
            f"M{x - big:.1f} {y - big:.1f}h{2 * big:.3g}v{2 * big:.3g}h{-2 * big:.3g}z",
            'style="fill:#343a40"',
        )
    return f'<path {look} d="{shape}">{_title(node)}</path>'


def _star(x: float, y: float, radius: float) -> str:
    # sin and cos of the ten corners, written out: libm's last digit differs between machines.
    outer = ((0, -1), (0.9511, -0.309), (0.5878, 0.809), (-0.5878, 0.809), (-0.9511, -0.309))
    inner = ((0.2245, -0.309), (0.3633, 0.118), (0, 0.382), (-0.3633, 0.118), (-0.2245, -0.309))
    corners = [corner for pair in zip(outer, inner, strict=True) for corner in pair]
    return "M" + "L".join(f"{x + radius * dx:.1f} {y + radius * dy:.1f}" for dx, dy in corners) + "z"


def _title(node: Node) -> str:
    words = [node.oid[:10], number(node.score), " ".join(node.names), node.agent, node.operator, node.decision]
    words += [f"+{node.folded} folded"] if node.folded else []
    return f"<title>{xml(' · '.join(line(word, 80) for word in (*words, node.summary) if word))}</title>"


def _labels(picture: Picture, board: Board) -> list[str]:
    """Names beside what has one, as far as they do not cover each other; counts of the folded where few are shown."""
    shown: list[str] = []
    taken: dict[int, float] = {}
    marked: dict[float, list[float]] = {}
    for at, node in enumerate(picture.nodes):
        if node.kind not in ("rejected", "accepted", "commit"):
            marked.setdefault(board.y(at), []).append(board.x(at))
    order = sorted(range(len(picture.nodes)), key=lambda at: (picture.nodes[at].kind != "best", board.x(at)))
    for at in order:
        node, row = picture.nodes[at], round(board.y(at) / 11)
        text = _name(node)
        if not text:
            continue
        x, y = board.x(at) + board.radius + 7, board.y(at) + 3.5
        wide = 6.2 * len(text)
        if any(x - 8 < other < x + wide for other in marked.get(board.y(at), ())):
            x, y, row = board.x(at) - wide / 2, board.y(at) - 10, row - 1  # beside it stands another: above it, then
        if x < taken.get(row, -1.0):
            continue
        taken[row] = x + wide
        weight = ' font-weight="bold"' if node.kind in ("best", "promoted") else ""
        shown.append(f'<text class="label" x="{x:.1f}" y="{y:.1f}"{weight}>{xml(text)}</text>')
    return shown + (_counts(picture, board) if len(picture.nodes) <= 300 else [])


def _counts(picture: Picture, board: Board) -> list[str]:
    shown: list[str] = []
    taken: dict[float, float] = {}
    for at, node in enumerate(picture.nodes):
        x, y, text = board.x(at), board.y(at), f"+{node.folded}"
        half = 2.6 * len(text)
        if node.folded and x - half > taken.get(y, -1.0):
            taken[y] = x + half
            place = f'x="{x:.1f}" y="{y + max(board.rise * 0.5, board.radius + 8):.1f}"'
            shown.append(f'<text class="count" {place} text-anchor="middle">{text}</text>')
    return shown


def _name(node: Node) -> str:
    if node.kind == "best":
        return line(f"best {number(node.score)} {node.agent}", 40)
    if node.kind == "start":
        return "start"
    return line(" ".join(node.names), 28)


def _legend(picture: Picture, board: Board) -> list[str]:
    y = board.height - 18
    present = {kind for node in picture.nodes for kind in node.marks}
    known = ("best", "promoted", "pruned", "living", "start", "accepted")
    parts, x = [], float(LEFT + 6)
    for kind in (kind for kind in known if kind in present):
        node = Node("", marks=frozenset({kind}))
        if kind == "accepted":
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{WORST_TO_BEST[5]}"/>')
        else:
            parts.append(_special(node, x, y, 3.2, WORST_TO_BEST[6]).replace(_title(node), ""))
        parts.append(f'<text x="{x + 10}" y="{y + 3.5}">{kind}</text>')
        x += 28 + 6.2 * len(kind)
    if "rejected" in present:
        for kind, text in (("worse", "not better"), ("failed", "failed")):
            parts.append(f'<path class="{kind}" stroke-width="5" d="M{x} {y}h0"/>')
            parts.append(f'<text x="{x + 8}" y="{y + 3.5}">{text}</text>')
            x += 26 + 6.2 * len(text)
    if any(len(node.links) > 1 for node in picture.nodes):
        text = "crossover" if picture.run else "merge"
        parts.append(f'<path class="merge" d="M{x - 4} {y}h16"/><text x="{x + 16}" y="{y + 3.5}">{text}</text>')
        x += 90
    if any(node.score is not None for node in picture.nodes):
        parts.append(f'<text class="quiet" x="{x}" y="{y + 3.5}">worse</text>')
        x += 38
        for colour in WORST_TO_BEST:
            parts.append(f'<rect x="{x}" y="{y - 4}" width="8" height="8" fill="{colour}"/>')
            x += 8
        parts.append(f'<text class="quiet" x="{x + 5}" y="{y + 3.5}">better</text>')
    return parts + _axis(picture, board)


def _axis(picture: Picture, board: Board) -> list[str]:
    """Which way time goes: the first and the last shown commit's birth."""
    if not picture.nodes:
        return []
    y, end = board.height - 40, board.x(len(picture.nodes) - 1)
    first, last = (instant(node.milliseconds)[:16].replace("T", " ") for node in (picture.nodes[0], picture.nodes[-1]))
    parts = [f'<path class="line" d="M{LEFT} {y}H{max(end, LEFT + 420.0):.1f}"/>']
    parts.append(f'<text class="quiet" x="{LEFT}" y="{y - 4}">{first}  in order of birth →</text>')
    parts.append(f'<text class="quiet" x="{max(end, LEFT + 420.0):.1f}" y="{y - 4}" text-anchor="end">{last}</text>')
    return parts
