"""Try a task before anybody relies on it: its seed, its judge's steadiness, its locks, candidates that cheat.

What `evogit tasks check` says. A task brings candidates of its own in ``trials/``: each folder there is laid over the
seed, and its name says what to expect: ``reference…`` must beat the seed, ``bad…`` and ``hostile…`` must not.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from evogit.catalog import Editable, Task, editable, unsealed
from evogit.errors import DefinitionError
from evogit.evaluation.broker import Forward
from evogit.evaluation.evaluator import Evaluator
from evogit.evaluation.hostile import hostile_programs
from evogit.evaluation.sandbox import Sandbox
from evogit.evaluation.workspace import EXECUTABLE, Entry
from evogit.values import Evaluation, Oid, better

Files = Mapping[str, tuple[bytes, bool]]
State = Literal["ok", "note", "failed"]

WAIT = 20.0  # seconds that the full form waits for a candidate that never ends


@dataclass(frozen=True)
class Finding:
    name: str
    state: State
    text: str

    def document(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """A candidate to try: `files` are laid over the seed. `wins`: whether it must beat the seed, or must not."""

    name: str
    files: Mapping[str, bytes]
    wins: bool = False


@dataclass
class Trees:
    """Trees in memory, for an evaluator without a repository."""

    blobs: dict[Oid, bytes] = field(default_factory=dict)
    trees: dict[Oid, dict[str, Entry]] = field(default_factory=dict)

    def add(self, files: Files) -> Oid:
        entries: dict[str, Entry] = {}
        for path, (data, executable) in sorted(files.items()):
            oid = hashlib.sha1(data).hexdigest()
            self.blobs[oid] = data
            entries[path] = (EXECUTABLE if executable else 0o100644, oid)
        tree = hashlib.sha1(repr(entries).encode()).hexdigest()
        self.trees[tree] = entries
        return tree

    def listing(self, tree: Oid) -> Mapping[str, Entry]:
        return self.trees[tree]

    def diff(self, old: Oid, new: Oid) -> Mapping[str, Entry | None]:
        before, after = self.trees[old], self.trees[new]
        changed: dict[str, Entry | None] = {path: entry for path, entry in after.items() if before.get(path) != entry}
        return changed | dict.fromkeys(before.keys() - after.keys())

    def blob(self, oid: Oid) -> bytes:
        return self.blobs[oid]


def trials_of(task: Task, seed: Files, *, short: bool) -> list[Trial]:
    """The task's own in ``trials/``, and generated ones. Raises `DefinitionError` for a folder named otherwise."""
    found = list(_own_trials(task))
    can_change = editable(task)
    changeable = {path: data for path, (data, _) in seed.items() if can_change(path)}
    found.append(Trial("bad: everything that may change is empty", dict.fromkeys(changeable, b"")))
    found.append(Trial("bad: everything that may change is noise", dict.fromkeys(changeable, b"\x00\xff(]{'\n")))
    programs = {path: data for path, data in changeable.items() if path.endswith(".py")}
    best = 1e9 if task.direction == "maximize" else -1e9
    endless = not short and all(stage.deadline <= WAIT for stage in task.evaluation.stages)
    for name, prelude in hostile_programs(best, endless=endless).items():
        for path, data in list(programs.items())[:3]:
            found.append(Trial(f"hostile: {path} {name}", {path: _after_docstring(data, prelude)}))
    return found


def _own_trials(task: Task) -> Iterator[Trial]:
    place = task.source / "trials" if task.source else None
    if place is None or not place.is_dir():
        return
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        if not folder.name.startswith(("reference", "bad", "hostile")):
            raise DefinitionError(folder, "", "expected a name that begins with reference, bad or hostile")
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        yield Trial(f"trials/{folder.name}", files, wins=folder.name.startswith("reference"))


def protected(task: Task, seed: Files) -> dict[str, bytes]:
    """The files of the seed that `task` protects."""
    matcher = Editable(task.protect, (), ()) if task.protect else None
    return {path: data for path, (data, _) in seed.items() if matcher is not None and matcher(path)}


def _after_docstring(data: bytes, prelude: str) -> bytes:
    """`prelude` before the program, but behind what must stay first in a file."""
    text = data.decode("utf-8", "replace")
    lines = text.splitlines(keepends=True)
    last = max((at for at, line in enumerate(lines) if line.startswith("from __future__")), default=-1)
    return ("".join(lines[: last + 1]) + prelude + "\n" + "".join(lines[last + 1 :])).encode()


@dataclass
class Attempt:
    """One task being tried. `say` hears each finding as it is made."""

    task: Task
    seed: Files
    scratch: Path
    short: bool = False
    say: Callable[[Finding], None] | None = None
    forward: Forward | None = None
    packages: Mapping[str, Path] = field(default_factory=dict)
    trees: Trees = field(default_factory=Trees)
    findings: list[Finding] = field(default_factory=list)
    first: float | None = None
    spread: float = 0.0

    async def run(self, sandboxes: Sequence[Sandbox], trials: Sequence[Trial]) -> list[Finding]:
        """Everything. Raises `EvaluationError` when the sandbox or the evaluator cannot even start."""
        async with self._evaluator(sandboxes[0]) as evaluator:
            if not await self._seed(evaluator):
                return self.findings
            await self._validation(evaluator)
            await self._holdout(sandboxes[0])
            await self._locks(evaluator)
            for trial in trials:
                await self._trial(evaluator, trial)
        for sandbox in sandboxes:
            if self.short and sandbox is sandboxes[0]:
                self._found(f"sandbox {sandbox.name}", "ok", "the seed: as above")
            else:
                await self._suffices(sandbox)
        return self.findings

    def _evaluator(self, sandbox: Sandbox, task: Task | None = None) -> Evaluator:
        return Evaluator(
            task or self.task,
            self.trees,
            jobs=1,
            sandbox=sandbox,
            scratch=self.scratch,
            overlay=protected(self.task, self.seed),
            forward=self.forward,
            packages=self.packages,
        )

    def _found(self, name: str, state: State, text: str) -> None:
        finding = Finding(name, state, text)
        self.findings.append(finding)
        if self.say is not None:
            self.say(finding)

    async def _seed(self, evaluator: Evaluator) -> bool:
        """The seed, a few times: it evaluates, how steadily and how fast."""
        tree = self.trees.add(self.seed)
        runs = [await evaluator.evaluate(tree) for _ in range(2 if self.short else 5)]
        wrong = next((run for run in runs if not run.ok or run.score is None), None)
        if wrong is not None:
            self._found("seed", "failed", f"does not evaluate: {told(wrong)}")
            return False
        scores = [run.score for run in runs if run.score is not None]
        self.first = statistics.median(scores)
        self.spread = max(scores) - min(scores)
        self._found("seed", "ok", f"score {self.first:.6g}")
        self._steady(scores)
        self._as_measured()
        seconds = statistics.median(run.seconds for run in runs)
        self._found("time", "ok", f"{seconds:.3g} s an evaluation (median of {len(runs)})")
        if self.task.evaluation.epoch_every:
            other = await evaluator.evaluate(tree, epoch=1)
            redrawn = other.score != self.first
            text = f"score {other.score:.6g}" if other.score is not None else told(other)
            state: State = "ok" if other.ok and redrawn else "failed" if not other.ok else "note"
            self._found("epochs", state, f"the next one is drawn anew: {text}" if redrawn else "all alike")
        return True

    def _steady(self, scores: list[float]) -> None:
        noisy, times = self.task.evaluation.noisy, len(scores)
        if not self.spread:
            self._found("noise", "ok", f"none: the same score {times} times")
            return
        part = self.spread / abs(statistics.mean(scores)) if any(scores) else 0.0
        text = f"{times} times, from {min(scores):.6g} to {max(scores):.6g} ({part:.1%})"
        if noisy:
            self._found("noise", "ok", f"declared, and measured: {text}")
        else:
            self._found("noise", "failed", f"{text}, but [evaluation] noisy is not set: luck would be banked")

    def _as_measured(self) -> None:
        measured = self.task.measured
        if measured is None or self.first is None:
            return
        away = abs(self.first - measured.seed)
        near = away <= max(measured.tolerance, 1e-9) * max(1e-300, abs(measured.seed)) + self.spread
        said = f"[measured] says {measured.seed:.6g}, found {self.first:.6g}"
        if not near and self.task.evaluation.model:
            self._found("measured", "note", f"{said}: with another model, perhaps")
            return
        self._found("measured", "ok" if near else "failed", said)

    async def _validation(self, evaluator: Evaluator) -> None:
        if self.task.evaluation.validation is None:
            return
        found = await evaluator.evaluate(self.trees.add(self.seed), validation=True)
        took = f", {found.seconds:.3g} s"
        self._found("validation", "ok" if found.ok else "failed", f"{told(found)}{took}")

    async def _holdout(self, sandbox: Sandbox) -> None:
        """The sealed stage works for the seed."""
        if self.task.evaluation.holdout is None:
            return
        async with self._evaluator(sandbox, unsealed(self.task)) as evaluator:
            found = await evaluator.evaluate(self.trees.add(self.seed))
            self._found("holdout", "ok" if found.ok else "failed", told(found))

    async def _locks(self, evaluator: Evaluator) -> None:
        """No agent may change the judge or what is protected, and a tree that has it changed is judged all the same."""
        can_change = editable(self.task)
        locked = Editable(self.task.protect, (), ()) if self.task.protect else None
        protected = sorted({*self.task.files, *(path for path in self.seed if locked and locked(path))})
        open_ = [path for path in protected if can_change(path)]
        if open_:
            self._found("locks", "failed", f"agents may change {', '.join(open_)}")
            return
        if not protected:
            self._found("locks", "failed", "nothing is protected: what scores a candidate must not be in its hands")
            return
        forged = dict.fromkeys(protected, (b"raise SystemExit('a changed judge')\n", False))
        found = await evaluator.evaluate(self.trees.add({**self.seed, **forged}))
        same = found.ok and found.score is not None and self._near(found.score)
        count = f"{len(protected)} protected files"
        text = f"{count} cannot be changed, and changed ones are not used" if same else f"{count}: {told(found)}"
        self._found("locks", "ok" if same else "failed", text)

    def _near(self, score: float) -> bool:
        assert self.first is not None
        noisy = self.task.evaluation.noisy
        return abs(score - self.first) <= self._margin() if noisy else score == self.first

    def _margin(self) -> float:
        """What noise alone may make of the seed's score."""
        assert self.first is not None
        declared = self.task.measured.tolerance if self.task.measured else 0.0
        return 2 * self.spread + (declared * abs(self.first) if self.task.evaluation.noisy else 0.0)

    async def _trial(self, evaluator: Evaluator, trial: Trial) -> None:
        assert self.first is not None
        files = {**self.seed, **{path: (data, False) for path, data in trial.files.items()}}
        outside = [path for path in trial.files if path not in self.task.files and not editable(self.task)(path)]
        if outside and trial.wins:
            self._found(trial.name, "failed", f"changes what no agent may change: {', '.join(outside)}")
            return
        found = await evaluator.evaluate(self.trees.add(files))
        margin = 0.0 if trial.wins else self._margin()
        bar = self.first + (margin if self.task.direction == "maximize" else -margin)
        wins = found.ok and found.score is not None and better(self.task.direction, found.score, bar)
        verb = "beats the seed" if wins else "does not beat the seed"
        self._found(trial.name, "ok" if wins == trial.wins else "failed", f"{verb}: {told(found)}")

    async def _suffices(self, sandbox: Sandbox) -> None:
        async with self._evaluator(sandbox) as evaluator:
            found = await evaluator.evaluate(self.trees.add(self.seed))
        same = found.ok and found.score is not None and self._near(found.score)
        self._found(f"sandbox {sandbox.name}", "ok" if same else "failed", f"the seed: {told(found)}")


def told(found: Evaluation) -> str:
    """An evaluation in one line."""
    if found.ok and found.score is not None:
        return f"score {found.score:.6g}"
    lines = [line.strip() for line in found.feedback.splitlines() if line.strip()]
    return f"{found.status}" + (f" ({lines[-1][:200]})" if lines else "")
