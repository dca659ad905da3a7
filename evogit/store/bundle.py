"""A run in one file: a Git bundle of its refs, written whole or not at all, verified, and read back.

A bundle is a pack with a list of refs before it; any Git can fetch from it. ``git bundle verify`` reads that list and
no more, so `prove` also takes the whole file into a repository made for it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import git

from evogit.errors import StoreError, UsageError
from evogit.store import refs
from evogit.store.objects import Objects
from evogit.store.repository import Repository, checked_out
from evogit.values import Oid


def refs_of(objects: Objects, run: str) -> dict[str, Oid]:
    """Every ref of a run: journals, individuals with people's and promoted versions, tags that decide."""
    return {**objects.refs(refs.journals(run)), **objects.refs(refs.individuals(run)), **objects.refs(refs.tags(run))}


def write(repository: Repository, names: Iterable[str], file: Path, known: Iterable[Oid] = ()) -> dict[str, Oid]:
    """Bundle the refs `names` into `file`, which appears whole or not at all; what it holds, ref → id.

    What the commits `known` reach is left out: who reads the bundle has to have them.

    Raises:
        StoreError: nothing to bundle, or the file cannot be written.
    """
    file = file.absolute()
    lines = [*names, *(f"^{oid}" for oid in known)]
    try:
        handle, partial = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}. Nothing was written") from error
    os.close(handle)
    try:
        with tempfile.TemporaryFile() as wanted:
            wanted.write(os.fsencode("".join(f"{line}\n" for line in lines)))
            wanted.seek(0)
            git.Git(str(repository.git_dir)).bundle("create", "--quiet", partial, "--stdin", istream=wanted)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        found = contents(Path(partial))
        Path(partial).chmod(0o666 & ~_umask())
        Path(partial).replace(file)
    except git.CommandError as error:
        raise StoreError(f"{file}: no bundle was written: {_said(error)}") from error
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}. No bundle was written") from error
    finally:
        Path(partial).unlink(missing_ok=True)
        Path(f"{partial}.lock").unlink(missing_ok=True)
    return found


def contents(file: Path) -> dict[str, Oid]:
    """What a bundle holds, ref → id.

    Raises:
        UsageError: the file is not there, or no bundle.
    """
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    try:
        listed = str(git.Git().bundle("list-heads", str(file.absolute())))
    except git.CommandError as error:
        raise UsageError(f"{file}: not a Git bundle ({_said(error)})") from error
    return {name: oid for oid, _, name in (line.partition(" ") for line in listed.splitlines())}


def runs_in(names: Iterable[str]) -> list[str]:
    """The runs whose journals are among the refs `names`, sorted."""
    return sorted({run for name in names if (run := refs.run_of_journal(name))})


def prove(repository: Repository, file: Path) -> dict[str, Oid]:
    """Show that a bundle can be read back by itself: every byte of it, and that nothing is missing. What it holds.

    Raises:
        StoreError: it cannot, with Git's own words.
        UsageError: the file is not there, or no bundle.
    """
    found = contents(file)
    try:
        git.Git(str(repository.git_dir)).bundle("verify", "--quiet", str(file.absolute()))
        # Beside the bundle: there is room for a file of its size, and a temporary folder may be small.
        with tempfile.TemporaryDirectory(prefix=".evogit-prove-", dir=file.absolute().parent) as folder:
            shell = git.Git(folder)
            shell.init("--quiet", "--bare", "--template=", folder)
            shell.fetch("--quiet", "--no-tags", str(file.absolute()), *(f"+{name}:{name}" for name in found))
            back = str(shell.for_each_ref("--format=%(objectname) %(refname)")).splitlines()
    except git.CommandError as error:
        raise StoreError(f"{file}: the bundle is damaged: {_said(error)}") from error
    except OSError as error:
        raise StoreError(f"{file}: cannot be verified: {error.strerror}") from error
    if {name: oid for oid, _, name in (line.partition(" ") for line in back)} != found:
        raise StoreError(f"{file}: what was read back is not what it lists")
    return found


def fetch(repository: Repository, file: Path, run: str, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Take a run's refs from a bundle, as fast-forwards; `own` writers' journals stay as they are.

    Returns the refs that stay where they are, because here they are no earlier version of what the bundle has.

    Raises:
        StoreError: it builds on commits that are not here, or is damaged. Nothing was taken.
        UsageError: the file is not there, no bundle, or holds no such run.
    """
    found = contents(file)
    if run not in runs_in(found):
        others = ", ".join(runs_in(found)) or "none"
        raise UsageError(f"{file}: holds no run {run!r} (runs there: {others})")
    prefixes = (refs.journals(run), refs.individuals(run), refs.tags(run))
    kept = {refs.journal(run, writer) for writer in own} | checked_out(repository)
    wanted = {name: oid for name, oid in found.items() if name.startswith(prefixes) and name not in kept}
    words = ["--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--refmap=", "--no-progress"]
    shell = git.Git(str(repository.git_dir))
    with shell.custom_environment(LC_ALL="C", LANGUAGE="C"):
        status, _, errors = shell.fetch(
            *words,
            str(file.absolute()),
            *(f"{name}:{name}" for name in wanted),
            with_extended_output=True,
            with_exceptions=False,
        )
    here = refs_of(repository.objects(), run)
    misfits = tuple(name for name, oid in wanted.items() if here.get(name) != oid)
    if status and " ! [rejected] " not in str(errors):
        raise StoreError(f"{file}: {' '.join(str(errors).split())}")
    return misfits


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found


def _said(error: git.CommandError) -> str:
    lines = str(error.stderr or error).strip().removeprefix("stderr: ").strip("' \n").splitlines()
    return "; ".join(line.strip() for line in lines[-3:])
