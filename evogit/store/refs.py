"""Every ref EvoGit reads or writes: the whole namespace in one file.

refs/heads/evogit/<run>/<host>/<agent>     an agent's individual, moved by compare-and-swap
refs/heads/evogit/<run>/promoted/<name>    promoted versions
refs/heads/evogit/<run>/human/<name>       what people put there: adopted after evaluation
refs/tags/evogit/<run>/<verb>/<anything>   decisions by plain Git: promote, exclusive, prune, restore, pin
refs/evogit/<run>/journal/<writer>         one append-only branch per writer
"""

from __future__ import annotations

import re

from evogit.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?\Z")
RESERVED = frozenset({"promoted", "human"})


def check_name(what: str, name: str) -> str:
    """Return `name` if it may stand in a ref, else raise `UsageError` that says what may."""
    if not _NAME.match(name) or ".." in name or name.endswith(".lock") or len(name) > 100:
        raise UsageError(f"{what} {name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
    return name


def slug(text: str) -> str:
    """`text` as a name that may stand in a ref: lower case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "host"


def individual(run: str, host: str, agent: str) -> str:
    return f"refs/heads/evogit/{run}/{host}/{agent}"


def individuals(run: str) -> str:
    return f"refs/heads/evogit/{run}/"


def journal(run: str, writer: str) -> str:
    return f"refs/evogit/{run}/journal/{writer}"


def journals(run: str) -> str:
    return f"refs/evogit/{run}/journal/"


def promoted(run: str, name: str) -> str:
    return f"refs/heads/evogit/{run}/promoted/{name}"


def people(run: str) -> str:
    """Below it stand branches of people."""
    return f"refs/heads/evogit/{run}/human/"


def tags(run: str) -> str:
    """Below it stand tags that are read as decisions."""
    return f"refs/tags/evogit/{run}/"


def shared(run: str) -> tuple[str, ...]:
    """What hosts exchange, as patterns: journals, and what people decided by plain Git."""
    return (f"{journals(run)}*", f"{people(run)}*", f"{promoted(run, '*')}", f"{tags(run)}*")


def agent_of(ref: str, run: str) -> tuple[str, str] | None:
    """(host, agent) of an individual's ref; None for promoted versions and anything else."""
    prefix = individuals(run)
    host, slash, agent = ref.removeprefix(prefix).partition("/")
    if not ref.startswith(prefix) or not slash or host in RESERVED:
        return None
    return host, agent


def branch_of(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def run_of_journal(ref: str) -> str | None:
    """The run a journal ref belongs to, or None for another ref."""
    parts = ref.split("/")
    return parts[2] if len(parts) == 5 and parts[:2] == ["refs", "evogit"] and parts[3] == "journal" else None
