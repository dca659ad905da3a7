"""What a power cut, a full disk or a bad sector leaves in a repository: found, and mended where Git itself can.

Only refs of one run, the objects they reach and caches that Git makes again are touched; what is taken away is moved
into a folder that is named, never deleted.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import git

from evogit.errors import StoreError
from evogit.store import refs
from evogit.store.encoding import parse_commit, parse_tree
from evogit.store.objects import SUBMODULE, Objects
from evogit.store.packs import COMMIT, TREE
from evogit.store.repository import Repository
from evogit.values import Oid

STALE = 60.0  # seconds after which a lock file of a ref belongs to nobody: Git and libgit2 hold theirs for milliseconds
_OID = re.compile(r"[0-9a-f]{40}\s*\Z")


def ref_files(repository: Repository, run: str) -> Iterator[Path]:
    """Every file below the run's ref folders, lock files included."""
    for prefix in (refs.journals(run), refs.individuals(run), refs.tags(run)):
        folder = repository.common_dir / prefix
        yield from sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()


def stale_locks(repository: Repository, run: str) -> list[Path]:
    """Lock files of the run's refs, and of the file that refs are packed into, that a killed process left."""
    locks = [path for path in ref_files(repository, run) if path.suffix == ".lock"]
    return [path for path in (*locks, repository.common_dir / "packed-refs.lock") if _age(path) > STALE]


def _age(path: Path) -> float:
    """Seconds since a file was written; less than nothing if it is gone meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return -1.0


def broken_refs(repository: Repository, run: str) -> list[str]:
    """The run's refs whose file names no object: empty or zeroed, as after a power cut."""
    found = []
    for path in ref_files(repository, run):
        text = path.read_bytes().decode("ascii", "replace")
        if path.suffix != ".lock" and not text.startswith("ref: ") and not _OID.match(text):
            found.append(path.relative_to(repository.common_dir).as_posix())
    return found


def recorded(repository: Repository) -> list[str]:
    """The runs recorded here, also those whose journals' refs are all broken."""
    place = repository.common_dir / "refs/evogit"
    files = {path.parts[-3] for path in place.glob("*/journal/*") if path.is_file() and path.suffix != ".lock"}
    return sorted(files | set(repository.runs()))


def set_aside(repository: Repository, run: str, path: Path) -> Path:
    """Move a file into the run's folder of lost things; where it is now."""
    folder = repository.run_folder(run) / "lost"
    folder.mkdir(parents=True, exist_ok=True)
    name = path.relative_to(repository.common_dir).as_posix().replace("/", "_")
    target = folder / name
    for number in range(1, 10_000):
        if not target.exists():
            break
        target = folder / f"{name}.{number}"
    path.rename(target)
    return target


def damaged(repository: Repository, tips: Iterable[Oid]) -> set[Oid]:
    """Objects that `tips` need and that are missing or corrupt, by a full ``git fsck``."""
    wanted = list(dict.fromkeys(tips))
    if not wanted:
        return set()
    words = ["--no-dangling", "--no-progress", "--no-reflogs", "--full"]
    _, out, err = git.Git(str(repository.git_dir)).fsck(
        *words, *wanted, with_extended_output=True, with_exceptions=False
    )
    found: set[Oid] = set()
    for line in f"{out}\n{err}".splitlines():
        if line.startswith("missing ") or re.search(r"corrupt|missing|unable to|hash mismatch|invalid|inflate", line):
            found |= set(re.findall(r"\b[0-9a-f]{40}\b", line))
            found |= {a + b for a, b in re.findall(r"objects/([0-9a-f]{2})/([0-9a-f]{38})", line)}
    sound = repository.objects()
    return {oid for oid in found if not _reads(sound, oid) or _loose(repository, oid).exists()}


def rotten(repository: Repository, tips: Iterable[Oid], base: Oid | None) -> list[Oid]:
    """Trees and files reachable from `tips` that are missing or whose bytes are not what their ids say.

    Of what `base` reaches only its own files are read, not the history before it. Commits are left out.
    """
    objects, shell = repository.objects(), git.Git(str(repository.git_dir))
    found: dict[Oid, None] = {}
    for words in ([*tips, *([f"^{base}"] if base else [])], [f"{base}^{{tree}}"] if base else []):
        with tempfile.TemporaryFile() as wanted:
            wanted.write("".join(f"{word}\n" for word in dict.fromkeys(words)).encode())
            wanted.seek(0)
            _, listed, _ = shell.rev_list(
                "--objects",
                "--missing=allow-any",
                "--stdin",
                istream=wanted,
                with_extended_output=True,
                with_exceptions=False,
            )
        found |= dict.fromkeys(line[:40] for line in listed.splitlines() if " " in line)  # a commit stands alone
    return [oid for oid in found if not _reads(objects, oid)]


def corrupt_loose(repository: Repository, oids: Iterable[Oid]) -> list[Path]:
    """Files of loose objects among `oids` whose bytes are not what their name says."""
    shell = git.Git(str(repository.git_dir))
    found = []
    for oid in sorted(oids):
        path = _loose(repository, oid)
        if path.is_file():
            with tempfile.TemporaryDirectory(prefix="evogit-look-") as folder:
                shell.init("--quiet", "--bare", "--template=", folder)
                copy = Path(folder) / "objects" / oid[:2] / oid[2:]
                copy.parent.mkdir()
                copy.write_bytes(path.read_bytes())
                status, _, _ = git.Git(folder).fsck("--no-dangling", with_extended_output=True, with_exceptions=False)
                alone = git.Git(folder).cat_file("-t", oid, with_exceptions=False, with_extended_output=True)
                if alone[0] or (status & 1 and not _reads(Objects(Path(folder)), oid)):
                    found.append(path)
    return found


def _loose(repository: Repository, oid: Oid) -> Path:
    return repository.common_dir / "objects" / oid[:2] / oid[2:]


def _reads(objects: Objects, oid: Oid) -> bool:
    try:
        objects.get(oid)
    except StoreError:
        return False
    return True


def missing(repository: Repository, oids: Iterable[Oid]) -> set[Oid]:
    """Those of `oids` that cannot be read now."""
    objects = repository.objects()
    return {oid for oid in oids if not _reads(objects, oid)}


@contextlib.contextmanager
def lender(repository: Repository, source: str, run: str) -> Iterator[Objects]:
    """The objects that a remote, another clone or a bundle has of a run.

    Raises:
        StoreError: nothing can be fetched from there, with Git's own words.
    """
    with git.Repo(repository.git_dir) as opened, tempfile.TemporaryDirectory(prefix="evogit-borrow-") as folder:
        named = {remote.name: next(iter(remote.urls), "") for remote in opened.remotes}
        address = named.get(source, source)
        address = str(Path(address).absolute()) if Path(address).exists() else address
        shell = git.Git(folder)
        shell.init("--quiet", "--bare", "--template=", folder)
        specs = [f"+{prefix}*:{prefix}*" for prefix in (refs.journals(run), refs.tags(run), "refs/heads/")]
        try:
            with shell.custom_environment(GIT_TERMINAL_PROMPT="0"):
                shell.fetch("--quiet", "--no-tags", address, *specs)
        except git.CommandError as error:
            said = re.sub(r"://[^@/\s]+@", "://***@", str(error.stderr or error).strip())
            raise StoreError(f"nothing can be fetched from {source}: {said}") from error
        yield Objects(Path(folder))


def borrow(repository: Repository, theirs: Objects, oids: Iterable[Oid]) -> set[Oid]:
    """Copy objects that are not here, and what they name that is not here either; those that came."""
    wanted, found, ours = set(oids), set[Oid](), repository.objects()
    while wanted:
        oid = wanted.pop()
        if _reads(theirs, oid):
            ours.put(*theirs.get(oid))
            found.add(oid)
            wanted |= {below for below in _below(theirs, oid) if not _reads(ours, below)} - found
    flush(ours)
    return found


def _below(objects: Objects, oid: Oid) -> Iterable[Oid]:
    """What an object names: a commit's tree and parents, a tree's entries."""
    kind, data = objects.get(oid)
    if kind == COMMIT:
        commit = parse_commit(data)
        return (commit.tree, *commit.parents)
    return [entry for mode, entry in parse_tree(data).values() if mode != SUBMODULE] if kind == TREE else ()


def flush(objects: Objects) -> None:
    """Write what is pending into a pack that needs no keeping: refs lead to its objects already."""
    if keep := objects.flush():
        keep.unlink(missing_ok=True)


def index_again(repository: Repository, pack: Path) -> bool:
    """Make the index of a whole pack; whether Git could."""
    shell = git.Git(str(repository.git_dir))
    status, _, _ = shell.index_pack(str(pack), with_extended_output=True, with_exceptions=False)
    return not status


def caches(repository: Repository) -> list[Path]:
    """Files that Git can make again and that are damaged: the commit-graph, the index over several packs."""
    shell, folder = git.Git(str(repository.git_dir)), repository.common_dir / "objects"
    found = []
    if any((folder / "info" / name).exists() for name in ("commit-graph", "commit-graphs")):
        status, _, _ = shell.commit_graph("verify", "--no-progress", with_extended_output=True, with_exceptions=False)
        names = ("commit-graph", "commit-graphs/commit-graph-chain")
        found += [path for name in names if status and (path := folder / "info" / name).exists()]
    if (folder / "pack/multi-pack-index").exists():
        status, _, _ = shell.multi_pack_index(
            "verify", "--no-progress", with_extended_output=True, with_exceptions=False
        )
        found += [folder / "pack/multi-pack-index"] if status else []
    return found


def commits(repository: Repository) -> Iterator[Oid]:
    """Every commit in the object store, reachable or not."""
    listed = git.Git(str(repository.git_dir)).cat_file(
        "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)", "--unordered", with_exceptions=False
    )
    for line in str(listed).splitlines():
        kind, _, oid = line.partition(" ")
        if kind == "commit":
            yield oid


def remotes(repository: Repository) -> list[str]:
    """Names of the configured remotes."""
    with git.Repo(repository.git_dir) as opened:
        return [remote.name for remote in opened.remotes]


def only_of(repository: Repository, found: Mapping[str, Oid]) -> int:
    """Bytes on disk of what `found` reaches and no other ref does."""
    shell = git.Git(str(repository.git_dir))
    listed = (line.split(" ") for line in str(shell.for_each_ref("--format=%(objectname) %(refname)")).splitlines())
    others = [f"^{oid}" for oid, ref in listed if ref not in found]
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{line}\n" for line in dict.fromkeys([*found.values(), *others])).encode())
        wanted.seek(0)
        return int(shell.rev_list("--objects", "--disk-usage", "--stdin", istream=wanted) or 0)


def delete_refs(repository: Repository, found: Mapping[str, Oid]) -> None:
    """Delete refs that stand where `found` says, all or none.

    Raises:
        StoreError: one of them has moved since.
    """
    with tempfile.TemporaryFile() as orders:
        orders.write("".join(f"delete {ref} {oid}\n" for ref, oid in found.items()).encode())
        orders.seek(0)
        try:
            git.Git(str(repository.git_dir)).update_ref("--stdin", istream=orders)
        except git.CommandError as error:
            raise StoreError(f"no ref was deleted: {str(error.stderr).strip()}") from error
