"""JSON in networkx's node-link form, with a documented schema (docs/exports.md), and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evogit.errors import UsageError
from evogit.phylogeny.picture import Link, Node, Picture

SCHEMA = "evogit-phylogeny-1"
STRINGS = ("agent", "host", "definition", "operator", "model", "status", "decision", "summary")
NUMBERS = ("score", "change", "seconds", "cost", "tokens", "step")
COUNTS = ("milliseconds", "epoch", "generation", "folded")


def render(picture: Picture) -> str:
    head = {
        "schema": SCHEMA, "run": picture.run, "task": picture.task, "direction": picture.direction,
        "total": picture.total, "history": picture.history, "elsewhere": picture.elsewhere,
    }  # fmt: skip
    # A node and a link a line: the file can be compared with diff and searched with grep.
    nodes = ",\n".join(_dump(node_record(node)) for node in picture.nodes)
    links = ",\n".join(
        _dump({"source": picture.nodes[link.parent].oid, "target": node.oid, "hidden": link.hidden, "order": order})
        for node in picture.nodes
        for order, link in enumerate(node.links)
    )
    start = f'{{"directed": true, "multigraph": false, "graph": {_dump(head)}'
    return f'{start},\n"nodes": [\n{nodes}\n],\n"edges": [\n{links}\n]}}\n'


def _dump(value: object) -> str:
    # ASCII: whatever a commit message holds, also half of a surrogate pair, is a valid file and comes back equal.
    return json.dumps(value, allow_nan=False)


def node_record(node: Node) -> dict[str, Any]:
    """A node as JSON: every key always there, null for what is not known."""
    record: dict[str, Any] = {"id": node.oid, "kind": node.kind, "marks": sorted(node.marks), "names": list(node.names)}
    record["parents"] = list(node.parents)
    record |= {name: getattr(node, name) for name in STRINGS + NUMBERS + COUNTS}
    record["metrics"] = dict(sorted(node.metrics.items()))
    return record


def read(text: str) -> Picture:
    """The picture that `render` wrote.

    Raises:
        UsageError: the text is something else.
    """
    try:
        document = json.loads(text)
        about = document["graph"]
        if about["schema"] != SCHEMA:
            raise UsageError(f"schema {about['schema']!r}: this version reads {SCHEMA}")
        position = {record["id"]: at for at, record in enumerate(document["nodes"])}
        links: dict[str, dict[int, Link]] = {}
        for edge in document["edges"]:
            link = Link(position[edge["source"]], int(edge["hidden"]))
            links.setdefault(edge["target"], {})[int(edge["order"])] = link
        nodes = tuple(_node(record, links.get(record["id"], {})) for record in document["nodes"])
        counts = {name: int(about[name]) for name in ("total", "history", "elsewhere")}
        return Picture(nodes, **counts, direction=about["direction"], run=about["run"], task=about["task"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"not a phylogeny written by evogit export --format json: {error!r}") from error


def _node(record: Mapping[str, Any], links: Mapping[int, Link]) -> Node:
    values = {name: record[name] for name in STRINGS + NUMBERS + COUNTS}
    return Node(
        oid=record["id"],
        links=tuple(link for _, link in sorted(links.items())),
        parents=tuple(record["parents"]),
        marks=frozenset(record["marks"]),
        names=tuple(record["names"]),
        metrics=dict(record["metrics"]),
        **values,
    )
