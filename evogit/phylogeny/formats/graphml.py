"""GraphML for graph tools: typed attributes on nodes and links; a value that is not known is left out."""

from __future__ import annotations

from evogit.phylogeny.formats.csv import instant
from evogit.phylogeny.formats.text import xml
from evogit.phylogeny.picture import Node, Picture

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
"""
KEYS = {
    "kind": "string", "names": "string", "agent": "string", "host": "string", "definition": "string",
    "operator": "string", "model": "string", "score": "double", "change": "double", "status": "string",
    "decision": "string", "time": "string", "seconds": "double", "cost": "double", "tokens": "long", "step": "long",
    "epoch": "long", "generation": "long", "folded": "long", "summary": "string",
}  # fmt: skip
ABOUT = {"run": "string", "task": "string", "direction": "string", "total": "long", "elsewhere": "long"}


def render(picture: Picture) -> str:
    metrics = sorted({name for node in picture.nodes for name in node.metrics})
    metric_key = {name: f"m{at}" for at, name in enumerate(metrics)}
    lines = [HEAD.rstrip("\n")]
    lines += [_key(name, "graph", name, kind) for name, kind in ABOUT.items()]
    lines += [_key(f"n_{name}", "node", name, kind) for name, kind in KEYS.items()]
    lines += [_key(key, "node", f"metric {name}", "double") for name, key in metric_key.items()]
    lines += [_key("hidden", "edge", "hidden", "long"), _key("order", "edge", "order", "long")]
    lines.append('  <graph id="phylogeny" edgedefault="directed">')
    lines += [f"    {_data(name, getattr(picture, name))}" for name in ABOUT]
    lines += [_node(node, metric_key) for node in picture.nodes]
    for node in picture.nodes:
        for order, link in enumerate(node.links):
            ends = f'source="{picture.nodes[link.parent].oid}" target="{node.oid}"'
            lines.append(f"    <edge {ends}>{_data('hidden', link.hidden)}{_data('order', order)}</edge>")
    return "\n".join([*lines, "  </graph>", "</graphml>", ""])


def _key(key: str, scope: str, name: str, kind: str) -> str:
    return f'  <key id="{key}" for="{scope}" attr.name="{xml(name)}" attr.type="{kind}"/>'


def _data(key: str, value: object) -> str:
    return f'<data key="{key}">{xml(str(value))}</data>'


def _node(node: Node, metric_key: dict[str, str]) -> str:
    values = {name: getattr(node, name) for name in KEYS if name not in ("names", "time")}
    values |= {"names": " ".join(node.names), "time": instant(node.milliseconds)}
    data = [_data(f"n_{name}", values[name]) for name in KEYS if values[name] not in (None, "")]
    data += [_data(metric_key[name], value) for name, value in sorted(node.metrics.items())]
    return f'    <node id="{node.oid}">{"".join(data)}</node>'
