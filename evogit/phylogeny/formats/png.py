"""A bitmap of the SVG, drawn by resvg: a wheel for every common platform that needs no system library."""

from __future__ import annotations

from evogit.phylogeny.formats import svg
from evogit.phylogeny.picture import Picture

MOST_PIXELS = 60_000_000
"""A larger bitmap is drawn smaller: viewers give up on it, and so does the memory of a small machine."""


def render(picture: Picture) -> bytes:
    import resvg_py

    width, height = svg.size(picture)
    zoom = min(2.0, (MOST_PIXELS / (width * height)) ** 0.5)
    return bytes(resvg_py.svg_to_bytes(svg_string=svg.render(picture), zoom=zoom, background="#ffffff"))
