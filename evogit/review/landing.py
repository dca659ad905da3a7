"""Land a version: a new branch with one clean commit, or with its true lineage, on top of a branch of the user's.

Nothing but that branch is written. Verifying comes before, and is the caller's business.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from evogit.errors import UsageError
from evogit.evolution.lineage import Record
from evogit.evolution.session import Session
from evogit.review.joining import Clash, join
from evogit.review.messages import Deed
from evogit.store import repository as repositories
from evogit.store.objects import Identity
from evogit.store.refs import slug
from evogit.values import Evaluation, Oid

AUTHORS = 20


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a version lands. `tree` is what the branch would hold; `moved` if `tip` has changes of its own."""

    version: Oid
    tip: Oid
    base: Oid
    tree: Oid
    moved: bool
    clashes: tuple[Clash, ...]


def ground(session: Session, version: Oid, tip: Oid) -> Ground:
    """Put `version` onto the commit `tip`: a three-way merge against their merge base, else the run's start."""
    objects = session.objects
    base = repositories.merge_base(session.repository, tip, version) or session.base
    trees = [objects.commit(oid).tree for oid in (base, tip, version)]
    tree, clashes = join(objects, *trees)
    return Ground(version, tip, base, tree, trees[0] != trees[1], clashes)


def nothing_new(session: Session, found: Ground) -> bool:
    """Whether the branch that is landed on holds all of the version already."""
    return found.tree == session.objects.commit(found.tip).tree


def check_branch(session: Session, branch: str, *, move: bool) -> Oid | None:
    """Where `branch` stands now, None if it is new.

    Raises:
        UsageError: it is no name for a branch, exists and `move` was not said, is checked out somewhere, or another
            branch stands in its way: Git has no room for both land and land/x.
    """
    if not repositories.is_branch_name(branch):
        raise UsageError(f"{branch!r} is no name for a branch. Type: evogit land REV --branch NAME")
    ref = f"refs/heads/{branch}"
    if branch == "evogit" or branch.startswith("evogit/"):
        raise UsageError(f"{branch}: evogit/… belongs to the runs. Type: evogit land REV --branch NAME")
    at = session.objects.ref(ref)
    if at is None:
        parts = branch.split("/")
        above = ["/".join(parts[:i]) for i in range(1, len(parts))]
        taken = [name for name in above if session.objects.ref(f"refs/heads/{name}") is not None]
        taken += [name.removeprefix("refs/heads/") for name in session.objects.refs(f"{ref}/")]
        if taken:
            raise UsageError(f"branch {taken[0]} leaves no room for {branch}. Type: evogit land REV --branch NAME")
        return None
    if not move:
        raise UsageError(
            f"branch {branch} exists already. Type: evogit land REV --branch NAME; or move it: --move-branch"
        )
    if ref in repositories.checked_out(session.repository):
        raise UsageError(f"branch {branch} is checked out, and a checkout is never touched. Choose another --branch")
    return at


def write(
    session: Session,
    found: Ground,
    champion: Oid,
    branch: str,
    old: Oid | None,
    message: str,
    who: Identity,
    *,
    history: bool,
) -> Oid:
    """Write the commit and the branch, and journal it as a decision on `champion`. The commit.

    Raises:
        RefMoved: somebody else has just made or moved the branch.
    """
    parents = [found.tip, found.version] if history else [found.tip]
    commit = session.objects.put_commit(found.tree, parents, who, message)
    keep = session.objects.flush()
    try:
        session.objects.move(f"refs/heads/{branch}", old, commit)
    finally:
        if keep:
            keep.unlink(missing_ok=True)
    data = {
        "decision": "land",
        "author": who.name,
        "reason": "",
        "host": session.host,
        "branch": branch,
        "landed": commit,
        "onto": found.tip,
    }
    entry = session.journal.append("decided", f"land {champion[:10]} on {branch}", data, candidate=champion)
    session.population.apply(entry)
    session.journal.publish()
    return commit


def deeds(record: Record, version: Oid) -> list[Deed]:
    """The accepted steps on the version's first-parent way, the earliest first; none if the run does not know it."""
    history = record.history
    i = history.find(version)
    if i is None:
        return []
    told = []
    for k in reversed(history.first_parent_path(i)):
        facts = history.facts(k)
        if k != history.base:
            told.append(Deed(facts.summary, facts.agent, facts.operator, facts.score))
    return told


def authors(session: Session, record: Record, version: Oid) -> list[str]:
    """Whose accepted steps the version descends from, as "name <address>", who did most first."""
    history = record.history
    i = history.find(version)
    if i is None:
        return []
    count: Counter[str] = Counter()
    for k, inside in enumerate(history.ancestors(i)):
        if inside and k != history.base:
            facts = history.facts(k)
            if facts.operator:
                count[f"{facts.agent} <{facts.agent}@{slug(facts.host)}.evogit.invalid>"] += 1
            else:
                count[_author(session, history.oid(k))] += 1
    return [name for name, _ in sorted(count.items(), key=lambda item: (-item[1], item[0]))[:AUTHORS]]


def _author(session: Session, commit: Oid) -> str:
    """A person's commit's author."""
    head = session.objects.get(commit)[1].partition(b"\n\n")[0].decode("utf-8", "replace")
    line = next((row for row in head.split("\n") if row.startswith("author ")), "author somebody <> 0 +0000")
    return line.removeprefix("author ").rpartition("> ")[0] + ">"


def result(session: Session, tree: Oid) -> Evaluation | None:
    """What a tree is known to earn in the newest epoch."""
    return session.population.result(tree, session.population.epoch)
