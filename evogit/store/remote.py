"""Exchange a run's refs with a Git remote: one fetch, one push, each with a deadline, neither ever forced.

Only refs of the run are named, so the user's own branches and remote-tracking refs are never touched. Addresses and
credentials stay in Git's configuration and its helpers: neither stands in an argument list or in a message.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import git

from evogit.errors import Unreachable, UsageError
from evogit.store import refs
from evogit.store.repository import Repository, check_blank
from evogit.values import Oid

ALWAYS = (
    *("-c", "protocol.version=2"),
    *("-c", "gc.auto=0"),
    *("-c", "fetch.unpackLimit=1"),  # a pack an exchange, not a file an object
    *("-c", "fetch.output=full"),
    *("-c", "push.followTags=false"),
    *("-c", "advice.graftFileDeprecated=false"),
)

ALIAS = "evogit-sync"
"""What a remote is called while it is pushed to."""


LOST = ("upload-pack: not our ref", "on the remote side", "missing necessary objects")
"""Git's words where a remote has not what its own refs need."""

MANY = 200
"""Refs that a command line names one by one; of more it names the patterns they match."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Refs (outside of branches and tags) that a fetch moved here, and those that do not continue what is here."""

    moved: tuple[str, ...]
    misfits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """What became of a push: refs that moved there, and those refused, each with Git's word for why."""

    moved: tuple[str, ...]
    refused: Mapping[str, str]


class Remote:
    """One remote of a repository, by its name there, or a path or an address without credentials.

    Raises:
        UsageError: neither a remote's name nor something that looks like an address.
    """

    def __init__(self, repository: Repository, name: str, deadline: float = 300.0) -> None:
        self._repository, self._deadline = repository, deadline
        self._folder = repository.git_dir
        self.name = name
        self._ssh_configured = _check_remote(repository, name)

    def address(self) -> str:
        """Where pushes go now: somebody may set another while a run is under way."""
        with git.Repo(self._repository.git_dir) as opened, opened.config_reader() as reader:
            section = f'remote "{self.name}"'
            return str(reader.get_value(section, "pushurl", reader.get_value(section, "url", self.name)))

    def has_lost(self, why: str) -> str | None:
        """What to say of a refusal, if it means that this remote lacks objects which its refs need."""
        if not any(word in why for word in LOST):
            return None
        return (
            f"{self.name} has lost objects of this run (Git says: {why}). The hosts have them: make an empty bare "
            f"repository, and on every host type: git remote set-url {self.name} ADDRESS; evogit sync"
        )

    def fetch(self, run: str, own: Sequence[str]) -> Fetch:
        """Bring journals and decisions here; `own` writers' journals stay as they are.

        A ref that does not fit was rewritten there (or grew here): nothing of it is taken over.

        Raises:
            Unreachable: no answer, or none in time. What was there before is unchanged.
        """
        wanted = [f"{ref}:{ref}" for ref in refs.shared(run)]
        kept = [f"^{refs.journal(run, writer)}" for writer in own] + [f"^{ref}" for ref in self._checked_out(run)]
        tips = self._repository.objects().refs(refs.journals(run))
        words = ["fetch", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", "--no-recurse-submodules"]
        words += ["--refmap=", "--no-progress"]
        # What is offered as known are the journals' tips and no more: everything known hangs on them. Without the
        # grafts Git walks on behind each tip and asks for whole journals again when the offers of one round run out.
        words += [f"--negotiation-tip={refs.journals(run)}*"] if tips else []
        with self._grafts(tips.values()) as environment:
            status, _, errors = self._git([*words, self.name, *wanted, *kept], environment)
        misfits = tuple(re.findall(r"(?m)^ ! \[rejected\] +(\S+) ", errors))
        if status and not misfits:
            reason = _reason(errors)
            raise Unreachable(self.has_lost(reason) or f"cannot fetch from {self.name}: {reason}")
        return Fetch(tuple(re.findall(r"(?m)^ [ *] .* -> (refs/\S+)$", errors)), misfits)

    def push(self, fast: Mapping[str, Oid], leased: Mapping[str, tuple[Oid | None, Oid]]) -> Push:
        """Push `fast` refs as fast-forwards, and `leased` ones (there, here) by compare-and-swap.

        Raises:
            Unreachable: no answer, or none in time.
        """
        words = ["push", "--porcelain", "--no-verify", "--no-recurse-submodules", "--no-progress", "--no-signed"]
        words += [f"--force-with-lease={ref}:{old or ''}" for ref, (old, _) in leased.items()]
        folders = sorted({ref.rpartition("/")[0] for ref in fast}) if len(fast) > MANY else []
        specs = [f"{folder}/*:{folder}/*" for folder in folders] or [f"{oid}:{ref}" for ref, oid in fast.items()]
        # No plus before a leased one: Git takes it for --force, which a lease that has run out does not stop.
        specs += [f"{new}:{ref}" for ref, (_, new) in leased.items()]
        # By its name, Git would note what it pushed in the user's remote-tracking branches. So the same address gets
        # another name, through the environment: an argument list is for everybody to read.
        named = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"remote.{ALIAS}.url",
            "GIT_CONFIG_VALUE_0": self.address(),
        }
        status, output, errors = self._git([*words, ALIAS, *specs], named)
        moved, refused = [], {}
        for line in output.splitlines():
            flag, tab, rest = line.partition("\t")
            names, _, summary = rest.partition("\t")
            if not tab or ":" not in names:
                continue
            ref = names.partition(":")[2]
            if flag == "!":
                refused[ref] = summary
            elif flag != "=":
                moved.append(ref)
        if status and not refused:
            raise Unreachable(f"cannot push to {self.name}: {_reason(errors)}")
        return Push(tuple(moved), refused)

    def bring(self, ref: str, kept: str) -> bool:
        """Fetch one ref from there and keep it here as `kept`; whether there is such a ref."""
        words = ["fetch", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", "--no-recurse-submodules"]
        status, _, errors = self._git([*words, "--refmap=", "--no-progress", self.name, f"+{ref}:{kept}"])
        if status and "couldn't find remote ref" in errors:
            return False
        if status:
            raise Unreachable(f"cannot fetch from {self.name}: {_reason(errors)}")
        return True

    def advertised(self, *patterns: str) -> dict[str, Oid]:
        """Refs there that match `patterns`. Git reads the whole list for it, so it is for where nothing is known."""
        status, output, errors = self._git(["ls-remote", "--refs", self.name, *patterns])
        if status:
            raise Unreachable(f"cannot read {self.name}: {_reason(errors)}")
        return {ref: oid for oid, _, ref in (line.partition("\t") for line in output.splitlines())}

    def _checked_out(self, run: str) -> list[str]:
        """Branches of the run that some checkout stands on: Git refuses to fetch into them, and is right."""
        _, output, _ = self._git(["worktree", "list", "--porcelain"])
        return re.findall(rf"(?m)^branch ({re.escape(refs.individuals(run))}\S+)$", output)

    @contextlib.contextmanager
    def _grafts(self, tips: Iterable[Oid]) -> Iterator[dict[str, str]]:
        """An environment in which the `tips` have no parents, for as long as a fetch takes."""
        with tempfile.NamedTemporaryFile("w", prefix="evogit-known-", suffix=".txt") as file:
            file.write("".join(f"{tip}\n" for tip in tips))
            file.flush()
            yield {"GIT_GRAFT_FILE": file.name}

    def _git(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Run Git in a session of its own, which dies as a whole at the deadline."""
        variables = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "LANGUAGE": "C", **(environment or {})}
        if not self._ssh_configured and not {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys():
            variables["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes -oConnectTimeout=20"
        started = git.Git(str(self._folder)).execute(
            ["git", *ALWAYS, *words], as_process=True, env=variables, start_new_session=True
        )
        process = started.proc
        assert process is not None
        try:
            output, errors = process.communicate(timeout=self._deadline)
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"{self.name} did not answer within {self._deadline:g} s") from error
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode, _text(output), _text(errors)


def clone(address: str, folder: Path, deadline: float = 600.0) -> None:
    """Clone the default branch of `address` into `folder`, without tags.

    Raises:
        StoreError: something is in `folder`.
        Unreachable: no answer, or none in time.
        UsageError: a password stands in the address.
    """
    check_blank(folder)
    if ":" in address.partition("://")[2].partition("/")[0].rpartition("@")[0]:
        raise UsageError("a password in an address stands in the process list; use a credential helper or SSH")
    variables = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "LANGUAGE": "C"}
    if not {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys():
        variables["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes -oConnectTimeout=20"
    words = ["clone", "--quiet", "--no-tags", "--single-branch", "--no-recurse-submodules", "--", address, str(folder)]
    try:
        git.Git().execute(["git", *ALWAYS, *words], env=variables, kill_after_timeout=deadline)
    except git.CommandError as error:
        raise Unreachable(f"cannot clone {_reason(address)}: {_reason(str(error.stderr))}") from error


def _text(data: bytes | str | None) -> str:
    return data if isinstance(data, str) else (data or b"").decode("utf-8", "replace")


def _reason(errors: str) -> str:
    """Git's own words, without credentials."""
    lines = [line for line in errors.splitlines() if line.strip() and not line.startswith("hint:")]
    return re.sub(r"://[^@/\s]+@", "://***@", "; ".join(lines[-3:])) or "Git does not say why"


def _check_remote(repository: Repository, name: str) -> bool:
    """Refuse what is no remote; whether an SSH command is configured."""
    with git.Repo(repository.git_dir) as opened, opened.config_reader() as reader:
        if name.startswith("-") or "@" in name.partition("://")[2].partition("/")[0]:
            raise UsageError(f"remote {name.rpartition('@')[2]!r}: give it a name: git remote add NAME ADDRESS")
        if name not in [remote.name for remote in opened.remotes] and not {"/", ":"} & set(name):
            known = ", ".join(remote.name for remote in opened.remotes) or "none"
            raise UsageError(f"no remote {name!r} (there are: {known}). Type: git remote add {name} ADDRESS")
        return reader.has_option("core", "sshcommand")
