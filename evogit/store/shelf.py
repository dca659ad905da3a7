"""A store of objects that belongs to nobody's repository: where a node of a cluster keeps what was shipped to it."""

from __future__ import annotations

from pathlib import Path

import pygit2

from evogit.errors import StoreError
from evogit.store.objects import Objects


def create_shelf(folder: Path) -> Objects:
    """An empty store in the new `folder`. Raises `StoreError` when it cannot be made."""
    try:
        pygit2.init_repository(str(folder), bare=True)
    except (pygit2.GitError, OSError) as error:
        raise StoreError(f"{folder}: {error}") from error
    return Objects(folder)
