"""Crossover by three-way merge, and transplanting, for any language: shared by all offline agents."""

from __future__ import annotations

import random
from collections.abc import Callable

from evogit.errors import VariationError
from evogit.values import Proposal, Version
from evogit.variation.merge import Hunk, conflicts, merge3, resolve
from evogit.variation.request import Request

TRIES = 6
CROSSOVERS = ("merge", "transplant")

Valid = Callable[[str, bytes], bool]


def merge(request: Request, valid: Valid) -> Proposal:
    """The mate's changes since the common ancestor, merged; each conflicting hunk from either parent, by chance."""
    mate = _mate(request)
    changes, count = _merged(request, mate, valid)
    _some(request, changes)
    said = f" ({count} hunk{'s' if count > 1 else ''} by chance)" if count else ""
    summary = f"merge {mate.commit[:8]} into {request.receiver.commit[:8]}{said}"
    return Proposal((request.receiver.commit, mate.commit), changes, summary, "merge")


def transplant(request: Request, valid: Valid) -> Proposal:
    """The mate's own changes replayed on the receiver: one parent, the donor named (the original's rebase)."""
    mate = _mate(request)
    changes, _ = _merged(request, mate, valid)
    _some(request, changes)
    summary = f"transplant {mate.commit[:8]} onto {request.receiver.commit[:8]}"
    return Proposal((request.receiver.commit,), changes, summary, "transplant", donor=mate.commit)


def _merged(request: Request, mate: Version, valid: Valid) -> tuple[dict[str, bytes | None], int]:
    changes: dict[str, bytes | None] = {}
    count = 0
    for path in sorted(request.theirs):
        ours, theirs = request.receiver.files.get(path), mate.files.get(path)
        base = request.base.files.get(path) if request.base else None
        if theirs == ours:
            continue
        if path not in request.ours:
            changes[path] = theirs
            continue
        if ours is None or theirs is None:
            kept = request.rng.choice([ours, theirs])
            count += 1
            if kept != ours:
                changes[path] = kept
            continue
        hunks = merge3(base or b"", ours, theirs)
        count += conflicts(hunks)
        data = _resolved(hunks, path, request.rng, valid)
        if data != ours:
            changes[path] = data
    return changes, count


def _resolved(hunks: tuple[Hunk, ...], path: str, rng: random.Random, valid: Valid) -> bytes:
    for _ in range(TRIES):
        data = resolve(hunks, lambda hunk: rng.choice((hunk.ours, hunk.theirs)))
        if valid(path, data):
            return data
        if not conflicts(hunks):
            break
    raise VariationError(f"{path}: no choice of hunks gives a valid file")


def _mate(request: Request) -> Version:
    if request.mate is None:
        raise VariationError(f"{request.operator} needs a mate")
    return request.mate


def _some(request: Request, changes: dict[str, bytes | None]) -> None:
    if not changes:
        raise VariationError(f"{request.operator}: the mate has nothing that the receiver lacks")
