"""The ALife data standard for phylogenies (Lalejini et al. 2019): a CSV row an organism, ancestors by number."""

from __future__ import annotations

import csv
import io

from evogit.phylogeny.formats.csv import cell
from evogit.phylogeny.picture import Picture

FIELDS = ("id", "ancestor_list", "origin_time", "taxon_label", "trait_fitness", "agent", "operator", "model",
          "status", "decision", "generation")  # fmt: skip


def render(picture: Picture) -> str:
    """Ids count from 0; `origin_time` is in seconds since the first shown commit; `trait_fitness` is the score."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    start = min((node.milliseconds for node in picture.nodes), default=0)
    for at, node in enumerate(picture.nodes):
        ancestors = ",".join(str(link.parent) for link in node.links) or "NONE"
        facts = (node.agent, node.operator, node.model, node.status, node.decision, node.generation)
        born = (node.milliseconds - start) / 1000
        writer.writerow([at, f"[{ancestors}]", born, node.oid, cell(node.score), *map(cell, facts)])
    return out.getvalue()
