"""Remove what killed processes left behind: workspaces, partial packs, locks on refs. Never a ref or an object."""

from __future__ import annotations

from evogit.evaluation.evaluator import sweep
from evogit.evolution.session import stale_keeps
from evogit.store import salvage
from evogit.store.repository import Repository


def clean(repository: Repository) -> list[str]:
    """Remove leftovers of dead processes; what living ones use stays. Returns what was removed, as text."""
    removed = []
    for path in list(stale_keeps(repository.common_dir / "objects" / "pack")):
        path.unlink(missing_ok=True)
        removed.append(str(path))
    if repository.private.is_dir():
        for folder in sorted(path for path in repository.private.iterdir() if path.is_dir()):
            removed += sweep(folder / "scratch")
    for run in salvage.recorded(repository):
        for path in salvage.stale_locks(repository, run):
            path.unlink(missing_ok=True)
            removed.append(str(path))
    return removed
