"""Open a repository as a place for runs: where it is, what it can do, its private folder, names and locks."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import git
from filelock import FileLock, Timeout

from evogit.errors import EvoGitError, RunBusy, StoreError, Unreachable, UsageError
from evogit.store import refs
from evogit.store.objects import Identity, Objects
from evogit.values import Oid

TURN = 1800.0
"""Seconds that an exchange waits for others of its host: each of their few fetches and pushes may take five minutes."""


@dataclass(frozen=True)
class Repository:
    """A repository found from a folder inside it.

    `git_dir` is the worktree's own folder, `common_dir` the one all linked worktrees share, `root` the checkout's top
    (None in a bare repository). `private` holds locks, caches and this host's name, and may be deleted at any time.
    """

    git_dir: Path
    common_dir: Path
    root: Path | None

    @property
    def private(self) -> Path:
        return self.common_dir / "evogit"

    def objects(self) -> Objects:
        return Objects(self.git_dir, self.common_dir)

    def run_folder(self, run: str) -> Path:
        return self.private / run

    def host(self) -> str:
        """This host's name in this repository, made at first use: hostname and four random hex digits."""
        path = self.private / "host"
        try:
            return refs.check_name("host name", path.read_text().strip())
        except FileNotFoundError:
            pass
        self.private.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.private / "host.lock")):
            if not path.exists():
                partial = path.with_suffix(".partial")
                partial.write_text(f"{refs.slug(socket.gethostname().split('.')[0])}-{secrets.token_hex(2)}\n")
                partial.rename(path)
        return path.read_text().strip()

    def take_new_name(self) -> str:
        """Another name for this host in this repository: where it was copied, and the copy goes by the first."""
        with FileLock(str(self.private / "host.lock")):
            (self.private / "host").unlink(missing_ok=True)
        return self.host()

    def runs(self) -> list[str]:
        """Names of the runs recorded here, sorted."""
        found = {refs.run_of_journal(name) for name in self.objects().refs("refs/evogit/")}
        return sorted(name for name in found if name)


def find(start: Path) -> Repository:
    """The repository that contains `start`.

    Raises:
        StoreError: there is none, or it uses SHA-256 object names, which libgit2 cannot write.
    """
    try:
        found = git.Repo(start, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise StoreError(
            f"{start}: not inside a Git repository. Type: git init, then evogit init; or: evogit new DIR --task NAME"
        ) from error
    except ValueError as error:
        raise StoreError(f"{start}: {error}") from error
    with found:
        with found.config_reader("repository") as reader:
            object_format = str(reader.get_value("extensions", "objectformat", "sha1"))
            storage = str(reader.get_value("extensions", "refstorage", "files"))
        if object_format.lower() != "sha1":
            raise StoreError(
                f"{found.git_dir}: object format {object_format!r} is not supported (libgit2 writes SHA-1 only). "
                "Type: git init --object-format=sha1 in a new folder and bring the files there"
            )
        if storage.lower() != "files":
            raise StoreError(f"{found.git_dir}: ref storage {storage!r} is not supported by libgit2; 'files' is")
        root = Path(found.working_tree_dir) if found.working_tree_dir else None
        return Repository(Path(found.git_dir).resolve(), Path(found.common_dir).resolve(), root)


def create(
    folder: Path, files: Mapping[str, tuple[bytes, bool]], message: str, who: Identity | None = None
) -> Repository:
    """A new repository in `folder` whose first commit holds `files` (path → bytes, executable), checked out.

    Raises:
        StoreError: the folder exists and is not empty, or cannot be written.
    """
    check_blank(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, (data, executable) in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o755 if executable else 0o644)
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror}") from error
    with git.Repo.init(folder, initial_branch="main") as made:
        made.git.add("--all", "--force", "--", ".")
        environment: dict[str, str] = {}
        with made.config_reader() as reader:
            named = reader.has_option("user", "name") and reader.has_option("user", "email")
        if who is not None:
            date = f"{who.time} +0000"
            for role in ("AUTHOR", "COMMITTER"):
                environment |= {f"GIT_{role}_NAME": who.name, f"GIT_{role}_EMAIL": who.email, f"GIT_{role}_DATE": date}
        elif not named and "GIT_AUTHOR_NAME" not in os.environ:
            for role in ("AUTHOR", "COMMITTER"):
                environment |= {f"GIT_{role}_NAME": "EvoGit", f"GIT_{role}_EMAIL": "evogit@evogit.invalid"}
        with made.git.custom_environment(**environment):
            made.git.commit("--quiet", "--no-verify", "--no-gpg-sign", "-m", message)
    return find(folder)


def blank(folder: Path) -> Repository:
    """A new repository in `folder` without a commit.

    Raises:
        StoreError: the folder exists and is not empty, or cannot be written.
    """
    check_blank(folder)
    try:
        git.Repo.init(folder, initial_branch="main").close()
    except (OSError, git.CommandError) as error:
        raise StoreError(f"{folder}: no repository can be made there") from error
    return find(folder)


def check_blank(folder: Path) -> None:
    """Raises `StoreError` if a repository cannot be made in `folder` because something is there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder}: exists and is not empty. Choose another folder")


def check_out(repository: Repository, commit: Oid) -> None:
    """Put a repository that has no commit on its branch yet on `commit`; any other is left alone."""
    with git.Repo(repository.git_dir if repository.root is None else repository.root) as opened:
        if repository.root is not None and not opened.head.is_valid():
            opened.git.update_ref("HEAD", commit)
            opened.git.reset("--hard", "--quiet", commit)


class RunLock:
    """This process's place in a run on this host: a number no other living process has.

    Number 0 is the run's main process; others take part only when asked to (`alongside`). Who reviews takes numbers of
    another row, so that a look at a run never keeps cron from beginning it.
    """

    def __init__(self, repository: Repository, run: str, row: Literal["writers", "reviewers"] = "writers") -> None:
        self._folder = repository.run_folder(run) / row
        self._run = run
        self._lock: FileLock | None = None
        self.number = -1

    def acquire(self, *, alongside: bool) -> int:
        """Take the smallest free number.

        Raises:
            RunBusy: number 0 is taken and `alongside` was not said.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from error
        for number in range(1024):
            lock = FileLock(str(self._folder / f"{number}.lock"))
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if not alongside:
                    raise RunBusy(
                        f"another process on this host holds run {self._run!r}. "
                        "Wait for it, or take part beside it: evogit run --alongside"
                    ) from None
                continue
            except OSError as error:
                raise StoreError(f"{self._folder}: {error.strerror}") from error
            self._lock, self.number = lock, number
            return number
        raise StoreError(f"run {self._run!r}: more than 1,024 processes on this host")

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


@contextlib.contextmanager
def turn(repository: Repository, run: str, wait: Callable[[], None]) -> Iterator[None]:
    """This process's turn to exchange the run: of one host, one process at a time. `wait` is called if it must wait.

    The system lets go of the lock of a process that dies.

    Raises:
        Unreachable: the others have not ended in time.
    """
    folder = repository.run_folder(run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder / "exchange.lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            wait()
            lock.acquire(timeout=TURN)
    except Timeout as error:
        raise Unreachable(
            f"other exchanges of run {run!r} on this host have not ended in {TURN / 60:.0f} min"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def busy(repository: Repository, run: str, row: Literal["writers", "reviewers"] = "writers") -> bool:
    """Whether some process on this host holds the run now."""
    folder = repository.run_folder(run) / row
    for path in folder.glob("*.lock"):
        try:
            with FileLock(str(path), blocking=False):
                pass
        except Timeout:
            return True
    return False


def person(repository: Repository, now: int) -> Identity:
    """Who decides here, as Git's configuration and environment say; `now` in seconds since 1970."""
    with git.Repo(repository.git_dir) as found, found.config_reader() as reader:
        actor = git.Actor.author(reader)
    return Identity(actor.name or "somebody", actor.email or "somebody@evogit.invalid", now)


def editor(repository: Repository) -> str:
    """The person's editor as Git finds it: GIT_EDITOR, core.editor, VISUAL, EDITOR. A piece of shell.

    Raises:
        UsageError: there is none.
    """
    try:
        return str(git.Git(str(repository.git_dir)).var("GIT_EDITOR"))
    except git.CommandError as error:
        raise UsageError("no editor is set. Type: export EDITOR=nano") from error


def merge_base(repository: Repository, a: Oid, b: Oid) -> Oid | None:
    """A best common ancestor of two commits, or None."""
    found = git.Git(str(repository.git_dir)).merge_base(a, b, with_exceptions=False)
    return str(found).split()[0] if found else None


def is_branch_name(name: str) -> bool:
    """Whether Git would take `name` for a branch."""
    status, _, _ = git.Git().check_ref_format("--branch", name, with_extended_output=True, with_exceptions=False)
    return int(status) == 0


def checked_out(repository: Repository) -> set[str]:
    """Branches that some worktree has checked out, as full refs."""
    listing = str(git.Git(str(repository.git_dir)).worktree("list", "--porcelain"))
    return {line.removeprefix("branch ") for line in listing.splitlines() if line.startswith("branch ")}


def apply_patch(repository: Repository, tree: Oid, patch: bytes) -> Oid:
    """The tree that ``git apply`` makes of `tree`, in an index of its own.

    Raises:
        UsageError: it does not apply, with Git's own words.
    """
    with tempfile.TemporaryDirectory(prefix="evogit-apply-") as folder:
        shell = git.Git(str(repository.git_dir))
        file = Path(folder) / "patch"
        file.write_bytes(patch)
        with shell.custom_environment(GIT_INDEX_FILE=str(Path(folder) / "index")):
            shell.read_tree(tree)
            try:
                shell.apply("--cached", "--whitespace=nowarn", str(file))
            except git.CommandError as error:
                said = str(error.stderr).strip().removeprefix("stderr: ").strip("' \n")
                raise UsageError(f"the patch does not apply: {said}") from error
            return str(shell.write_tree())


def repack(repository: Repository) -> str | None:
    """Join small packs into larger ones with deltas (``git repack --geometric``); None, or why it did not work.

    Only one process at a time does it; a second returns at once.
    """
    lock = FileLock(str(repository.private / "repack.lock"), blocking=False)
    try:
        with lock:
            git.Git(str(repository.git_dir)).repack("--geometric=2", "-d", "-q", "--no-write-bitmap-index")
    except Timeout:
        return None
    except git.CommandError as error:
        return str(error.stderr or error).strip()
    return None


def connectivity(repository: Repository, prefixes: list[str]) -> list[str]:
    """What ``git fsck --connectivity-only`` says is missing or broken below the refs that begin with `prefixes`."""
    shell = git.Git(str(repository.git_dir))
    tips = shell.for_each_ref("--format=%(objectname)", *prefixes).split() if prefixes else []
    if not tips:
        return []
    status, out, err = shell.fsck(
        "--connectivity-only",
        "--no-dangling",
        "--no-progress",
        *dict.fromkeys(tips),
        with_extended_output=True,
        with_exceptions=False,
    )
    if status == 0:
        return []
    return [line for line in (out + "\n" + err).splitlines() if line.strip()] or [f"git fsck failed ({status})"]


def git_version() -> tuple[int, ...]:
    """Git's version. Raises `EvoGitError` when there is no git to ask."""
    try:
        return tuple(git.Git().version_info)
    except (git.GitCommandNotFound, subprocess.SubprocessError) as error:
        raise EvoGitError("git is not on PATH. Install Git 2.32 or newer") from error
