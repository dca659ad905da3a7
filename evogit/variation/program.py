"""A coding program as an agent file describes it, and one piece of work by it in a private copy of the parent."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from evogit.definitions import Seconds, Source, Strings, Table, validate
from evogit.errors import VariationError
from evogit.tables import ModelTable
from evogit.values import Changes, Reason
from evogit.variation import confinement, paths, throwaway
from evogit.variation.request import Retired

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
HELD_SECRET = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
"""Names whose values never stand in a file; CLAUDE_CODE_MAX_OUTPUT_TOKENS and the like may."""
KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # what a program that insists on a key is given for a server that needs none


class Program(Table):
    """The `options` of an agent with ``operator: command``.

    `command`: argument list; ``{prompt}`` is the file with the prompt, ``{folder}`` the folder to work in, ``{home}``
    the private home, ``{model}`` and ``{base_url}`` those of the agent's model. `stdin`: whether the prompt comes on
    standard input; by default when there is no ``{prompt}``. `key`: the variable in which the program wants the
    model's key. `environment`: names of the user's variables passed through. `set`: variables with values, which may
    use the same words, never secrets. `usage`: a regular expression with any of the groups input, output and cost; its
    last match in the output counts, or with `sum` all of them; `report` is a file in the private home that is searched
    as well. `home`: the real home folder, writable. `files`: path → text of files in the private home, for settings
    that can be given in no other way. `leftovers`: names of files it leaves behind that are no part of its work.
    `install`: what to type where the program is missing.
    """

    command: Annotated[Strings, Field(min_length=1)]
    stdin: bool | None = None
    key: str | None = None
    environment: Strings = ()
    set: Mapping[str, str] = Field(default_factory=dict)
    deadline: Seconds = 600.0
    usage: str | None = None
    sum: bool = False
    report: str | None = None
    home: bool = False
    files: Mapping[str, str] = Field(default_factory=dict)
    leftovers: Strings = ()
    install: str = ""

    @property
    def reads_stdin(self) -> bool:
        return not any("{prompt}" in part for part in self.command) if self.stdin is None else self.stdin


def read_program(options: Mapping[str, object], source: Source) -> Program:
    """The options of an agent file, checked. Raises `DefinitionError` that names file, line and key."""
    program = validate(Program, dict(options), source, ("options",))
    for name in program.set:
        if HELD_SECRET.search(name):
            source.fail(
                ("options", "set", name), "a secret never stands in a file; name the variable in environment, or as key"
            )
    for name in (*program.environment, *program.set, *filter(None, [program.key])):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            source.fail(("options", "environment"), f"expected the name of an environment variable, not {name[:40]!r}")
    for path in (*program.files, *filter(None, [program.report])):
        if problem := paths.problem(path) or ("the real home is not written to" if program.home else ""):
            source.fail(("options", "files" if path in program.files else "report"), f"{path}: {problem}")
    if program.usage is not None:
        try:
            groups = set(re.compile(program.usage).groupindex)
        except re.error as error:
            source.fail(("options", "usage"), f"no regular expression: {error}")
        if not groups or not groups <= {"input", "output", "cost"}:
            source.fail(("options", "usage"), "needs named groups, of input, output and cost")
    return program


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program did. `changes` is empty where it changed nothing that it may; `notes` say what was ignored.

    `used` is what it says it used, of input, output and cost. `failed` is why what it changed cannot be taken, and
    `reason` the word that counts under.
    """

    changes: Changes
    output: bytes
    seconds: float
    code: int
    late: bool = False
    notes: Sequence[str] = ()
    used: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""
    reason: Reason = Reason.INVALID


async def work(
    program: Program,
    prompt: str,
    files: Mapping[str, bytes],
    editable: Callable[[str], bool],
    environ: Mapping[str, str],
    *,
    model: ModelTable | None = None,
    hidden: Sequence[Path] = (),
) -> Outcome:
    """Let `program` work on `files` (the parent's whole tree), and say what became of them.

    `environ` is the user's environment, of which only what is named is passed on. `hidden` are folders it must not see.

    Raises:
        Retired: it can never work here: it is not installed, or a variable or a model that it needs is missing.
        VariationError: it could not be started this time.
    """
    known = _model_words(program, environ, model)
    secrets = _secrets(program, environ, model)
    found = shutil.which(program.command[0], path=environ.get("PATH", os.defpath))
    if found is None:
        hint = f"; install it: {program.install}" if program.install else ""
        raise Retired(f"{program.command[0]} is not installed{hint}", Reason.UNANSWERED.value)
    with throwaway.room() as room:
        folder, file = room / "work", room / "home/prompt.md"
        file.write_text(prompt, encoding="utf-8", errors="replace")
        for path, text in program.files.items():
            (room / "home" / path).parent.mkdir(parents=True, exist_ok=True)
            (room / "home" / path).write_text(text, encoding="utf-8")
        home = Path(environ["HOME"]) if program.home and "HOME" in environ else room / "home"
        words = {"prompt": str(file), "folder": str(folder), "home": str(room / "home"), **known}
        environment = _environment(program, environ, home, room, words) | secrets
        search = environment.get("PATH", os.defpath)
        await asyncio.to_thread(throwaway.lay_out, folder, files, search)
        command = [str(Path(found).absolute()), *(_filled(part, words) for part in program.command[1:])]
        inside = await asyncio.to_thread(confinement.confined, command, room, folder, home, hidden, search)
        given = file if program.reads_stdin else None
        try:
            ended = await confinement.run(
                inside, folder=folder, environment=environment, given=given, deadline=program.deadline
            )
        except OSError as error:
            raise VariationError(f"cannot start {found}: {error.strerror}", Reason.UNANSWERED.value) from error
        return await asyncio.to_thread(_outcome, program, ended, folder, files, editable, secrets)


def _outcome(
    program: Program,
    ended: confinement.Ended,
    folder: Path,
    files: Mapping[str, bytes],
    editable: Callable[[str], bool],
    secrets: Mapping[str, str],
) -> Outcome:
    """What is to be had from a program that has ended, with every secret that it was given taken out."""
    hide = {value: name for name, value in secrets.items() if len(value) >= 6 and SECRET.search(name)}
    output = ended.output
    for value in hide:
        output = output.replace(value.encode(), b"***")
    changes: dict[str, bytes | None] = {}
    notes: list[str] = []
    failed, reason = "", Reason.INVALID
    try:
        changes, notes = throwaway.changed(folder, files, editable, program.leftovers)
    except VariationError as error:
        failed = str(error)
    for value, name in hide.items():
        notes = [note.replace(value, "***") for note in notes]
        if any(value in path or value.encode() in (data or b"") for path, data in changes.items()):
            changes, failed, reason = {}, f"it wrote the value of {name} into a file", Reason.FORBIDDEN
    text = output.decode("utf-8", "replace")
    if program.report:
        report = throwaway.content(folder.parent / "home" / program.report)
        text += "\n" + (report.decode("utf-8", "replace") if isinstance(report, bytes) else report)
    return Outcome(
        changes, output, ended.seconds, ended.code, ended.late, notes, usage(program, text), failed, reason
    )  # fmt: skip


def usage(program: Program, text: str) -> dict[str, float]:
    """What the last match of the program's pattern, or the sum of all, says of input, output and cost."""
    found = list(re.finditer(program.usage, text)) if program.usage else []
    said: dict[str, float] = {}
    for match in found if program.sum else found[-1:]:
        for name, value in match.groupdict().items():
            number = amount(value) if value else None
            if number is not None:
                said[name] = said.get(name, 0.0) + number
    return said


def amount(text: str) -> float | None:
    """``12.3k``, ``1,234`` or ``$0.05`` as a number."""
    match = re.fullmatch(r"\$?(\d[\d,]*(?:\.\d+)?|\.\d+)\s*([kKmM]?)", text.strip().rstrip("."))
    scale = {"": 1.0, "k": 1e3, "m": 1e6}
    return float(match[1].replace(",", "")) * scale[match[2].lower()] if match else None


def _secrets(program: Program, environ: Mapping[str, str], model: ModelTable | None) -> dict[str, str]:
    """The variables passed through: those named, and the model's key under the name the program wants.

    A key goes only to the server it is for: the model's own `api_key_env`, never just the one that happens to be set.
    """
    passed = {name: environ[name] for name in program.environment if name in environ}
    wanted = [name for name in program.environment if HELD_SECRET.search(name)]
    if program.key is not None:
        variable = (model.api_key_env if model else None) or "OPENAI_API_KEY"
        key = environ.get(variable, "")
        if not key and (model is None or model.api_key_env or not model.base_url):
            raise Retired(f"{program.command[0]} needs the variable {variable}", Reason.UNANSWERED.value)
        passed[program.key] = key or NO_KEY
    elif wanted and not passed.keys() & set(wanted):
        names = " or ".join(wanted)
        raise Retired(f"{program.command[0]} needs the variable {names}", Reason.UNANSWERED.value)
    return passed


def _model_words(program: Program, environ: Mapping[str, str], model: ModelTable | None) -> dict[str, str]:
    if model is None and any("{model}" in part for part in (*program.command, *program.set.values())):
        raise Retired(
            f"{program.command[0]} needs a model, as in --agents AGENT:1:MODEL with a [models.MODEL]",
            Reason.UNANSWERED.value,
        )
    base_url = (model.base_url if model else None) or environ.get("OPENAI_BASE_URL") or OPENAI
    return {"model": model.model if model else "", "base_url": base_url}


def _environment(
    program: Program, environ: Mapping[str, str], home: Path, room: Path, words: Mapping[str, str]
) -> dict[str, str]:
    environment = {name: environ[name] for name in KEPT if name in environ}
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(room / "home"),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(room),
        "GIT_TERMINAL_PROMPT": "0",
        confinement.MARK: room.name,
    }
    return environment | {name: _filled(value, words) for name, value in program.set.items()}


def _filled(text: str, words: Mapping[str, str]) -> str:
    """`text` with its words filled in, in one pass: a model's name or a path is never filled in again."""
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), text)
