"""A coding program as an agent: it works in a private copy of the parent, and what it changed is the proposal."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from evogit.catalog import Agent
from evogit.definitions import Seconds, Source, Strings, Table, validate
from evogit.errors import VariationError
from evogit.models.desk import Desk
from evogit.models.pricing import cost, estimate_tokens
from evogit.values import Call, Proposal, Reason
from evogit.variation import wellformed
from evogit.variation.model import describe
from evogit.variation.prompts import compose, show_files
from evogit.variation.request import Fruitless, Request
from evogit.variation.throwaway import repository

OUTPUT = 1 << 20  # bytes kept of what a program prints: its beginning and its end
LARGEST = 4 << 20  # bytes of a file that is taken over
MOST = 200  # files
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
MARK = "EVOGIT_PROGRAM"
"""A variable that every process of one start has, so that one that left the session is found and ended too."""


class Program(Table):
    """The `options` of an agent with ``operator: command``.

    `command`: argument list; ``{prompt}`` is the file with the prompt, ``{folder}`` the folder to work in, ``{model}``
    and ``{base_url}`` those of the agent's model. Without ``{prompt}`` the prompt comes on standard input.
    `environment`: names of variables passed through; `set`: variables with values, which may use the same words.
    `usage`: a regular expression with any of the groups input, output and cost; its last match in the output counts.
    `home`: show the real home folder. `install`: what to type where the program is missing.
    """

    command: Annotated[Strings, Field(min_length=1)]
    environment: Strings = ()
    set: Mapping[str, str] = Field(default_factory=dict)
    deadline: Seconds = 600.0
    usage: str | None = None
    home: bool = False
    install: str = ""


def read_program(agent: Agent) -> Program:
    """The agent's options, checked. Raises `DefinitionError`."""
    source = Source(str(agent.source or agent.name))
    program = validate(Program, dict(agent.options), source, ("options",))
    if program.usage is not None:
        try:
            groups = set(re.compile(program.usage).groupindex)
        except re.error as error:
            source.fail(("options", "usage"), f"no regular expression: {error}")
        if not groups or not groups <= {"input", "output", "cost"}:
            source.fail(("options", "usage"), "needs named groups, of input, output and cost")
    return program


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: exit status, what it printed, seconds, and whether its time was up."""

    code: int
    output: bytes
    seconds: float
    late: bool


class Command:
    """An agent that is a program. `environ` is the user's environment, of which only what is named is passed on."""

    waits = True
    operators = ("command",)

    def __init__(
        self,
        agent: Agent,
        environ: Mapping[str, str],
        editable: Callable[[str], bool],
        hidden: Sequence[Path],
        desk: Desk,
    ) -> None:
        self._agent, self._program = agent, read_program(agent)
        self._environ, self._editable = environ, editable
        self._hidden, self._desk = tuple(hidden), desk

    def needs_mate(self, operator: str) -> bool:  # noqa: ARG002  # it never crosses
        return False

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """A program learns by what later prompts tell it."""

    async def propose(self, request: Request) -> Proposal:
        background = request.background()
        text, _ = show_files(request.receiver.files, self._agent.context.budget, "", request.rng)
        how = "Edit the files in the present folder. Do not commit, do not ask, do not explain."
        prompt = compose(self._agent, request, text, how)
        whole = background.whole()
        held = await self._hold(prompt)
        call = Call(request.model or self._agent.name, "propose", failed="cancelled")
        evidence = {"prompt.md": prompt.encode("utf-8", "replace")}
        try:
            with _room() as (folder, home):
                _lay_out(folder, whole)
                ended = await self._run(folder, home, prompt, request.model)
                call = self._call(request.model, prompt, ended)
                evidence["reply.md"] = ended.output
                changes, notes = _changed(folder, whole, self._editable)
        finally:
            self._desk.purse.settle(call.input + call.output, call.cost, *held)
        if notes:
            evidence["ignored.txt"] = "\n".join(notes).encode("utf-8", "replace")
        if not changes:
            self._nothing(ended, call, evidence)
        problem = wellformed.problem(whole, changes)
        if problem:
            raise Fruitless(f"the result does not parse: {problem}", Reason.SYNTAX, (call,), evidence)
        files = request.receiver.files
        touched = {p: wellformed.touched(whole[p], d)[:20] for p, d in changes.items() if d is not None and p in whole}
        return Proposal(
            (request.receiver.commit,),
            changes,
            describe(files, changes),
            "command",
            request.model,
            evidence=evidence,
            calls=(call,),
            touched=touched,
        )

    def _nothing(self, ended: Ended, call: Call, evidence: Mapping[str, bytes]) -> None:
        last = ended.output.decode("utf-8", "replace").strip().splitlines()[-3:]
        said = f": {' / '.join(last)}" if last else ""
        if ended.late:
            raise Fruitless(f"no change within {self._program.deadline:g} s{said}", Reason.TIMEOUT, (call,), evidence)
        if ended.code:
            raise Fruitless(f"exit status {ended.code}{said}", Reason.UNANSWERED, (call,), evidence)
        raise Fruitless(f"it changed nothing{said}", Reason.NO_OP, (call,), evidence)

    async def _hold(self, prompt: str) -> tuple[int, float]:
        """What is known beforehand is little: the prompt. A program's own use is counted when it has ended."""
        tokens = estimate_tokens(prompt)
        if not await self._desk.purse.hold(tokens, 0.0):
            raise VariationError("the budget does not cover another start", Reason.UNANSWERED.value)
        return tokens, 0.0

    def _environment(self, home: Path, words: Mapping[str, str]) -> dict[str, str]:
        keep = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
        environment = {name: self._environ[name] for name in keep if name in self._environ}
        environment |= {
            "HOME": self._environ.get("HOME", str(home)) if self._program.home else str(home),
            "TMPDIR": str(home),
            "TERM": "dumb",
            "NO_COLOR": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(home.parent),
            "GIT_TERMINAL_PROMPT": "0",
            MARK: home.parent.name,
        }
        environment |= {name: _filled(value, words) for name, value in self._program.set.items()}
        missing = [name for name in self._program.environment if name not in self._environ]
        if missing and any(SECRET.search(name) for name in missing):
            raise VariationError(f"{self._agent.name} needs the environment variable {missing[0]}", "unanswered")
        return environment | {n: self._environ[n] for n in self._program.environment if n in self._environ}

    async def _run(self, folder: Path, home: Path, prompt: str, model: str) -> Ended:
        table = self._desk.tables.get(model)
        base_url = (table.base_url if table else None) or self._environ.get("OPENAI_BASE_URL", "")
        file = home / "prompt.md"
        file.write_text(prompt, encoding="utf-8", errors="replace")
        words = {
            "prompt": str(file),
            "folder": str(folder),
            "model": table.model if table else "",
            "base_url": base_url,
        }
        command = [_filled(part, words) for part in self._program.command]
        environment = self._environment(home, words)
        found = shutil.which(command[0], path=environment.get("PATH"))
        if found is None:
            hint = f". Install it: {self._program.install}" if self._program.install else ""
            raise Fruitless(f"{self._agent.name}: {command[0]} is not installed{hint}", Reason.UNANSWERED)
        command[0] = found
        given = None if any("{prompt}" in part for part in self._program.command) else prompt.encode()
        inside = self._hiding(command, folder)
        output = _Kept()
        begun = time.monotonic()
        late = False
        try:
            process = await asyncio.create_subprocess_exec(
                *inside,
                cwd=folder,
                env=environment,
                stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Fruitless(
                f"{self._agent.name}: cannot start {command[0]}: {error.strerror}", Reason.UNANSWERED
            ) from error
        try:
            async with asyncio.timeout(self._program.deadline):
                await asyncio.gather(_feed(process, given), _read(process, output))
                await process.wait()
        except TimeoutError:
            late = True
        finally:
            _end(process.pid, home.parent.name)
            # A survivor that holds the pipe has just been killed, so this does not wait for long.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
        secrets = [environment[n] for n in self._program.environment if SECRET.search(n) and n in environment]
        return Ended(process.returncode or 0, output.text(secrets), time.monotonic() - begun, late)

    def _hiding(self, command: Sequence[str], folder: Path) -> list[str]:
        """With bubblewrap: the machine read-only, the user's repository not there, and nothing outlives the program."""
        bwrap = shutil.which("bwrap")
        if bwrap is None or not _wrapping_works(bwrap):
            return list(command)
        covered = ["/tmp", *(str(path) for path in self._hidden if path.is_dir())]
        masks = [word for path in covered for word in ("--tmpfs", path)]
        # A program that is itself installed in a folder that is covered stays visible.
        for program in {Path(command[0]), Path(command[0]).resolve()}:
            if any(program.is_relative_to(path) for path in covered):
                masks += ["--ro-bind", str(program.parent.parent), str(program.parent.parent)]
        room = str(folder.parent)
        return [
            bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *masks,
            "--bind", room, room, "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--new-session",
            "--chdir", str(folder), "--", *command,
        ]  # fmt: skip

    def _call(self, model: str, prompt: str, ended: Ended) -> Call:
        """What the program says it used; else an estimate from the prompt, which is too little, never nothing."""
        name = model or self._agent.name
        text = ended.output.decode("utf-8", "replace")
        found = list(re.finditer(self._program.usage, text)) if self._program.usage else []
        given, got, money = estimate_tokens(prompt), 0, None
        if found:
            groups = {key: value for key, value in found[-1].groupdict().items() if value}
            given = int(_amount(groups.get("input", str(given))))
            got = int(_amount(groups.get("output", "0")))
            money = _amount(groups["cost"]) if "cost" in groups else None
        table = self._desk.tables.get(model)
        if money is None:
            money = cost(table, given, got) if table else 0.0
        seconds = round(ended.seconds, 3) if self._desk.timed else 0.0
        failed = "deadline" if ended.late else f"exit status {ended.code}" if ended.code else ""
        return Call(name, "propose", given, got, money, seconds, failed)


@contextlib.contextmanager
def _room() -> Iterator[tuple[Path, Path]]:
    """A folder to work in and a private home, outside every repository, removed afterwards."""
    room = Path(tempfile.mkdtemp(prefix="evogit-program-"))
    try:
        (room / "work").mkdir()
        (room / "home").mkdir()
        yield room / "work", room / "home"
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _amount(text: str) -> float:
    """``12.3k``, ``1,234`` or ``0.05`` as a number; 0 for anything else."""
    match = re.fullmatch(r"\$?([\d,]*\.?\d+)\s*([kKmM]?)", text.strip())
    scale = {"": 1.0, "k": 1e3, "m": 1e6}
    return float(match[1].replace(",", "")) * scale[match[2].lower()] if match else 0.0


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    return text


def _lay_out(folder: Path, whole: Mapping[str, bytes]) -> None:
    """The parent's files and a repository of their own, for programs that want one: one commit, no remote, no hook."""
    for path, data in whole.items():
        target = folder / os.fsdecode(os.fsencode(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    repository(folder)


def _changed(
    folder: Path, whole: Mapping[str, bytes], editable: Callable[[str], bool]
) -> tuple[dict[str, bytes | None], list[str]]:
    """What differs from the parent inside the editable paths, and what was ignored."""
    changes: dict[str, bytes | None] = {}
    ignored: list[str] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if name.lower() != ".git" and not (here / name).is_symlink())
        for name in sorted(names):
            path = (here / name).relative_to(folder).as_posix()
            seen.add(path)
            state = (here / name).lstat()
            if not stat.S_ISREG(state.st_mode):
                ignored.append(f"{path}: not a regular file")
            elif not editable(path):
                if path not in whole:
                    ignored.append(f"{path}: outside what may change")
            elif state.st_size > LARGEST or len(changes) >= MOST:
                ignored.append(f"{path}: too large, or too many files")
            else:
                data = (here / name).read_bytes()
                if whole.get(path) != data:
                    changes[path] = data
    for path in whole:
        if path not in seen and editable(path):
            changes[path] = None
    return changes, ignored[:100]


class _Kept:
    """The beginning and the end of an output, however long it gets."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()

    def add(self, data: bytes) -> None:
        room = OUTPUT // 2 - len(self._head)
        self._head += data[: max(0, room)]
        self._tail += data[max(0, room) :]
        del self._tail[: -OUTPUT // 2]

    def text(self, secrets: Sequence[str]) -> bytes:
        data = bytes(self._head) + bytes(self._tail)
        for secret in secrets:
            if len(secret) >= 6:
                data = data.replace(secret.encode(), b"***")
        return data


async def _feed(process: asyncio.subprocess.Process, given: bytes | None) -> None:
    if process.stdin is None or given is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process, output: _Kept) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(1 << 16):
        output.add(data)


def _end(leader: int, mark: str) -> None:
    """Kill the program's session, and every process that carries its mark, until there is none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    wanted = f"{MARK}={mark}".encode()
    for _ in range(20):
        found = [pid for pid in _processes() if wanted in _environment_of(pid)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return []


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@functools.cache
def _wrapping_works(bwrap: str) -> bool:
    """Whether this machine lets bubblewrap do its work."""
    probe = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "true"]
    return subprocess.run(probe, capture_output=True, check=False, timeout=10).returncode == 0
