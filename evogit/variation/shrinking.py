"""Shorter texts of one Python file: an expression that changed gives way to one of its own parts."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from evogit.variation.growing import atomic, naked
from evogit.variation.source import Place, Source, parse, valid


def shorter(before: bytes, after: bytes) -> Iterator[bytes]:
    """Variants of `after` in which one expression on a line that differs from `before` is one of its own parts.

    Those that save most come first. Each is valid Python.

    Raises:
        VariationError: `after` is no Python.
    """
    source = parse(after)
    changed = _changed_lines(before, after)
    places = [p for p in source.places if source.line(p.start) in changed and not isinstance(p.node, ast.Constant)]
    cuts = {(place.start, place.end, part): place for place in places for part in _parts(source, place) if part}
    for start, end, part in sorted(cuts, key=lambda cut: (len(cut[2]) - (cut[1] - cut[0]), cut)):
        place = cuts[(start, end, part)]
        text = source.replaced(place, naked(part) if place.bare else atomic(part))
        if len(text) < len(after) and valid(text):
            yield text


def _changed_lines(before: bytes, after: bytes) -> set[int]:
    """Numbers, from 1, of lines of `after` that are not in `before`."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    found: set[int] = set()
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag != "equal":
            found.update(range(start + 1, end + 1))
    return found


def _parts(source: Source, place: Place) -> Iterator[str]:
    """The texts of an expression's direct sub-expressions; a call's are its arguments, not what is called."""
    node, text = place.node, source.data.decode()
    if isinstance(node, ast.Call):
        children: list[ast.AST] = [*node.args, *(keyword.value for keyword in node.keywords)]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        if isinstance(child, ast.expr) and not isinstance(child, ast.Starred | ast.Slice):
            yield ast.get_source_segment(text, child) or ""
