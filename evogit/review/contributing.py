"""A person's own change as a commit: from a patch file, or from files edited by hand. Adopting it is another matter."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping

from evogit.errors import UsageError
from evogit.evolution.session import Session
from evogit.store.objects import Identity
from evogit.store.repository import apply_patch
from evogit.values import Oid


def from_patch(session: Session, patch: bytes, onto: Oid, who: Identity, reason: str) -> Oid:
    """The commit that `patch` (a diff, or a mail as ``git format-patch`` writes it) makes of `onto`.

    Raises:
        UsageError: Git cannot apply it there, or it changes nothing.
    """
    subject = reason
    if patch.startswith(b"From "):
        mail = email.message_from_bytes(patch.partition(b"\n")[2], policy=email.policy.default)
        subject = subject or str(mail.get("Subject", "")).removeprefix("[PATCH]").strip()
        name, _, address = str(mail.get("From", "")).rpartition(" <")
        who = Identity(name.strip('" ') or who.name, address.rstrip(">") or who.email, who.time)
    objects = session.objects
    objects.flush()
    tree = apply_patch(session.repository, objects.commit(onto).tree, patch)
    return _commit(session, tree, onto, who, subject or "Apply a patch")


def from_files(session: Session, files: Mapping[str, bytes | None], onto: Oid, who: Identity, reason: str) -> Oid:
    """The commit that makes `files` (path → bytes, None: deleted) of `onto`. Raises `UsageError` if none differs."""
    objects = session.objects
    tree = objects.edit(objects.commit(onto).tree, files)
    return _commit(session, tree, onto, who, reason or f"Edit {', '.join(sorted(files))}")


def _commit(session: Session, tree: Oid, onto: Oid, who: Identity, subject: str) -> Oid:
    if tree == session.objects.commit(onto).tree:
        raise UsageError(f"this changes nothing in {onto[:10]}")
    trailers = f"EvoGit-Run: {session.plan.run}\nEvoGit-Agent: human\nEvoGit-Operator: adopt"
    line = " ".join(subject.split())[:72]
    return session.objects.put_commit(tree, [onto], who, f"{line}\n\n{trailers}\n")
