"""A page to look around in: one file with its data and Plotly's script, which opens from disk without a network.

Nothing of the repository's becomes markup: data travel as JSON in script elements, with every ``<`` written as an
escape, and the page's script puts text only where text goes. A content security policy shuts the network off.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from evogit.phylogeny.curves import Curves
from evogit.phylogeny.formats import svg
from evogit.phylogeny.formats.text import xml
from evogit.phylogeny.picture import Node, Picture
from evogit.values import Oid

LONGEST_TEXT = 20_000
"""Characters of one diff, prompt or reply; the rest is cut, and the page says so."""
MOST_PICTURES = 16_000_000
"""Characters of all pictures together; they go to the most remarkable nodes first."""
MOST_DETAILS = 48_000_000
"""Characters of all details together; beyond it the least remarkable nodes go without."""
RANK = ("best", "promoted", "pruned", "start", "living", "accepted", "commit", "rejected")


@dataclass(frozen=True, slots=True)
class Detail:
    """What the side panel shows of one commit, beyond what the picture knows. Empty where there is none."""

    message: str = ""
    diff: str = ""
    feedback: str = ""
    prompt: str = ""
    reply: str = ""
    output: str = ""
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Name → ``data:`` address."""


Look = Callable[[Oid], Detail]


def nothing(_: Oid) -> Detail:
    return Detail()


def render(picture: Picture, detail: Look = nothing, curves: Curves | None = None) -> str:
    from plotly.offline import get_plotlyjs

    details = _details(picture, detail)
    parts = {
        "TITLE": xml(picture.title),
        "COUNTS": xml(picture.counts),
        "STYLE": _file("page.css"),
        "DATA": _embedded(_data(picture, curves or Curves())),
        # Prompts repeat themselves: packed they are a tenth. No time in the header, so equal pictures give equal bytes.
        "DETAILS": base64.b64encode(gzip.compress(_embedded(details).encode(), 6, mtime=0)).decode(),
        "PLOTLY": str(get_plotlyjs()).replace("</script", "<\\/script"),
        "SCRIPT": _file("page.js"),
    }
    page = _file("page.html")
    pieces = page.split("@@")
    return "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def _file(name: str) -> str:
    return (files("evogit.phylogeny.formats") / name).read_text(encoding="utf-8")


def _embedded(value: object) -> str:
    """JSON that cannot end or open an element, whatever it holds; ASCII only."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _details(picture: Picture, detail: Look) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    room, space = MOST_DETAILS, MOST_PICTURES
    order = sorted(range(len(picture.nodes)), key=lambda at: (RANK.index(picture.nodes[at].kind), -at))
    for at in order:
        if room <= 0:
            break
        oid = picture.nodes[at].oid
        known = dataclasses.asdict(detail(oid))
        pictures = known.pop("pictures")
        texts = {name: _cut(text) for name, text in known.items() if text}
        room -= sum(map(len, texts.values()))
        if texts:
            found[oid] = {**texts}
        size = sum(map(len, pictures.values()))
        if pictures and size <= space:
            space -= size
            found.setdefault(oid, {})["pictures"] = pictures
    return dict(sorted(found.items()))


def _cut(text: str) -> str:
    left = len(text) - LONGEST_TEXT
    return text if left <= 0 else f"{text[:LONGEST_TEXT]}\n… {left:,} more characters: evogit show"


class _Words:
    """Strings that repeat, each once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._number: dict[str, int] = {}

    def number(self, word: str) -> int:
        if word not in self._number:
            self._number[word] = len(self.all)
            self.all.append(word)
        return self._number[word]


def _data(picture: Picture, curves: Curves) -> Mapping[str, object]:
    layout, liked = svg.arrange(picture)
    words = _Words()
    nodes = picture.nodes

    def coded(field: Callable[[Node], str]) -> list[int]:
        return [words.number(field(node)) for node in nodes]

    columns: dict[str, object] = {
        "id": [node.oid for node in nodes],
        "kind": coded(lambda node: node.kind),
        "agent": coded(lambda node: node.agent),
        "host": coded(lambda node: node.host),
        "definition": coded(lambda node: node.definition),
        "operator": coded(lambda node: node.operator),
        "model": coded(lambda node: node.model),
        "status": coded(lambda node: node.status),
        "decision": coded(lambda node: node.decision),
        "summary": [node.summary for node in nodes],
        "marks": [sorted(node.marks) for node in nodes],
        "names": [list(node.names) for node in nodes],
        "score": [node.score for node in nodes],
        "change": [node.change for node in nodes],
        "metrics": [dict(sorted(node.metrics.items())) for node in nodes],
        "time": _times(nodes),
        "seconds": [node.seconds for node in nodes],
        "cost": [node.cost for node in nodes],
        "tokens": [node.tokens for node in nodes],
        "epoch": [node.epoch for node in nodes],
        "generation": [node.generation for node in nodes],
        "folded": [node.folded for node in nodes],
        "parents": [list(node.parents) for node in nodes],
        "lane": [round(lane, 2) for lane in layout.lane],
        "hung": [int(hung) for hung in layout.hung],
        "liked": [int(at in liked) for at in range(len(nodes))],
    }
    links = [
        (link.parent, at, link.hidden, order) for at, node in enumerate(nodes) for order, link in enumerate(node.links)
    ]
    return {
        "title": picture.title, "run": picture.run, "counts": picture.counts, "direction": picture.direction,
        "lanes": layout.lanes, "nodes": columns, "links": _transposed(links), "words": words.all,
        "curves": dataclasses.asdict(curves),
    }  # fmt: skip


def _transposed(rows: Iterable[tuple[int, ...]]) -> dict[str, list[int]]:
    columns = list(zip(*rows, strict=True)) or [()] * 4
    return {name: list(column) for name, column in zip(("from", "to", "hidden", "order"), columns, strict=True)}


def _times(nodes: tuple[Node, ...]) -> list[int]:
    """Births; what was there before the run began stands at its beginning, or a year of nothing would be drawn."""
    began = min((node.milliseconds for node in nodes if node.decision), default=0)
    return [max(node.milliseconds, began) for node in nodes]
