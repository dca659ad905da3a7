"""What a Git tag says: which commit it names, and who made it and why if it is an annotated one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evogit.store import packs
from evogit.store.objects import Objects
from evogit.values import Oid

DEPTH = 10  # tags of tags


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag's commit; author and message are empty for a lightweight tag."""

    commit: Oid
    author: str = ""
    message: str = ""


def read_tag(objects: Objects, oid: Oid) -> Tag | None:
    """The tag whose ref points at `oid`, through annotated tags down to the commit; None if it ends elsewhere.

    Raises:
        StoreError: an object is missing.
    """
    found = Tag("")
    for _ in range(DEPTH):
        kind, data = objects.get(oid)
        if kind == packs.COMMIT:
            return replace(found, commit=oid)
        if kind != packs.TAG:
            return None
        head, _, message = data.decode("utf-8", "replace").partition("\n\n")
        fields = dict(line.partition(" ")[::2] for line in head.split("\n"))
        author = fields.get("tagger", "").rpartition(" <")[0]
        signed = message.partition("-----BEGIN ")[0].strip()
        found = Tag("", found.author or author, found.message or signed)
        oid = fields.get("object", "")
    return None
