"""Verify a version: measure it again from scratch, compare with what is claimed, and open the sealed holdout.

Nothing known is believed: every repeat has a sandbox, a server and folders of its own, and asks no cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from evogit.catalog import Task, seal_digest, unsealed
from evogit.errors import EvaluationError, UsageError
from evogit.evaluation.engines import Evaluates
from evogit.evolution.ledger import write_calls
from evogit.evolution.ranking import VALIDATION
from evogit.evolution.session import Session
from evogit.review import intervals
from evogit.review.intervals import Interval
from evogit.values import Call, Direction, Evaluation, Oid, Reason, better

REPEATS = 5
"""How often a version is measured unless told otherwise."""


@dataclass(frozen=True)
class Bench:
    """What measures. `open` makes a fresh evaluator of a task; `calls` says what an evaluation asked of models."""

    open: Callable[[Task], AbstractAsyncContextManager[Evaluates]]
    calls: Callable[[Evaluation], tuple[Call, ...]] = lambda _: ()


@dataclass
class Series:
    """One version measured several times in one way."""

    scores: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What went wrong, by evaluation: status and feedback's last line."""

    def add(self, found: Evaluation) -> None:
        if found.ok and found.score is not None:
            self.scores.append(found.score)
        else:
            lines = [line.strip() for line in found.feedback.splitlines() if line.strip()]
            self.failures.append(found.status + (f": {lines[-1][:200]}" if lines else ""))

    @property
    def sound(self) -> bool:
        return bool(self.scores) and not self.failures

    def document(self) -> dict[str, Any]:
        return {"scores": list(self.scores), "failures": list(self.failures)}


@dataclass(frozen=True)
class Claim:
    """One recorded score and what was measured. `expected`: where such a claim must lie."""

    what: str
    """"score" or "validation"."""
    epoch: int
    claimed: float
    measured: Series
    expected: Interval | None
    holds: bool
    why: str

    def document(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "epoch": self.epoch,
            "claimed": self.claimed,
            **self.measured.document(),
            "mean": self.expected.centre if self.expected else None,
            "half": self.expected.half if self.expected else None,
            "method": "Student's t prediction interval, 95 %",
            "holds": self.holds,
            "why": self.why,
        }


@dataclass(frozen=True)
class Holdout:
    """What the sealed stage says. Gap and gains are signed so that more is worse, and better, in any direction."""

    measured: Series
    gap: Interval | None
    """How much worse the holdout is than the score."""
    gain: Interval | None
    """How much better the version is than the start, by the score."""
    kept: Interval | None
    """The same by the holdout."""
    holds: bool
    why: str

    def document(self) -> dict[str, Any]:
        named = {"gap": self.gap, "gain": self.gain, "kept": self.kept}
        told = {name: found and {"mean": found.centre, "half": found.half} for name, found in named.items()}
        method = "Welch's t interval, 95 %"
        return {**self.measured.document(), **told, "method": method, "holds": self.holds, "why": self.why}


@dataclass(frozen=True)
class Verification:
    """The whole answer. `holds`: every claim does, and the holdout where there is one."""

    commit: Oid
    tree: Oid
    digest: str
    seal: str
    sandbox: str
    repeats: int
    claims: tuple[Claim, ...]
    holdout: Holdout | None
    calls: tuple[Call, ...] = ()
    noisy: bool = False
    """Whether the task says that its scores are."""

    @property
    def note(self) -> str:
        """What a person should know beside the answer."""
        if self.noisy or not any(claim.expected and claim.expected.half for claim in self.claims):
            return ""
        return "the scores vary, and the task does not say [evaluation] noisy = true: a lucky score stays the best"

    @property
    def holds(self) -> bool:
        return all(claim.holds for claim in self.claims) and (self.holdout is None or self.holdout.holds)

    def document(self) -> dict[str, Any]:
        """As journaled and printed as JSON."""
        return {
            "commit": self.commit,
            "tree": self.tree,
            "digest": self.digest,
            "seal": self.seal,
            "sandbox": self.sandbox,
            "repeats": self.repeats,
            "holds": self.holds,
            "note": self.note,
            "claims": [claim.document() for claim in self.claims],
            "holdout": self.holdout and self.holdout.document(),
        }


async def verify(
    session: Session,
    commit: Oid,
    bench: Bench,
    *,
    repeats: int = REPEATS,
    heard: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Measure `commit` `repeats` times and journal the result, durably. `heard` is told how many repeats are done.

    Raises:
        UsageError: no score of it is recorded under the present evaluator, or too few repeats for a noisy task.
        EvaluationError: the sandbox or the evaluator does not work.
    """
    task = session.task
    if repeats < 2 and task.evaluation.noisy:
        raise UsageError("one measurement cannot tell noise from a wrong claim, and this task is noisy: --repeats 5")
    tree = session.objects.commit(commit).tree
    claimed = _claims(session, commit, tree)
    taken = await _Measuring(session, bench, tree, claimed).times(max(1, repeats), heard)
    claims = tuple(
        judge_claim(task.direction, old, taken.of(tree, old.epoch), _evaluations(task, old)) for old in claimed
    )
    holdout = None
    if task.evaluation.holdout is not None:
        start = session.base_tree
        scores = taken.of(tree, claimed[0].epoch), taken.of(start, claimed[0].epoch)
        holdout = judge_holdout(task.direction, scores, (taken.of(tree, HOLDOUT), taken.of(start, HOLDOUT)))
    found = Verification(
        commit,
        tree,
        session.digest,
        seal_digest(task),
        taken.sandbox,
        max(1, repeats),
        claims,
        holdout,
        tuple(taken.calls),
        task.evaluation.noisy,
    )
    record(session, found)
    return found


HOLDOUT = -2
"""Stands for the holdout where measurements are kept by epoch."""


def _claims(session: Session, commit: Oid, tree: Oid) -> list[Evaluation]:
    """The recorded score of the newest epoch, and the validation's if there is one."""
    population = session.population
    known = {
        epoch: found
        for (of, digest, epoch), found in population.results.items()
        if (of, digest) == (tree, session.digest)
    }
    scored = {epoch: found for epoch, found in known.items() if found.ok}
    newest = max((epoch for epoch in scored if epoch != VALIDATION), default=None)
    if newest is None:
        status = next((found.status for found in known.values()), "")
        said = f"its evaluation ended as {status}" if status else "it was never scored under the present evaluator"
        raise UsageError(f"{commit[:10]} claims no score: {said}. Scored versions: evogit log")
    return [scored[newest], *([scored[VALIDATION]] if VALIDATION in scored else [])]


def _evaluations(task: Task, claimed: Evaluation) -> int:
    """How many evaluations a recorded score is the mean of; each may itself be the median of a stage's repeats."""
    stage = task.evaluation.validation if claimed.epoch == VALIDATION else task.evaluation.stages[-1]
    return max(1, len(claimed.samples) // (stage.repeats if stage else 1))


class _Measuring:
    """Take all measurements: of the version as claimed and, where there is a holdout, of the start and by it."""

    def __init__(self, session: Session, bench: Bench, tree: Oid, claimed: Sequence[Evaluation]) -> None:
        self._session, self._bench = session, bench
        self._tree = tree
        self._epochs = [found.epoch for found in claimed]
        self._series: dict[tuple[Oid, int], Series] = {}
        self.sandbox = ""
        self.calls: list[Call] = []

    def of(self, tree: Oid, epoch: int) -> Series:
        return self._series.setdefault((tree, epoch), Series())

    async def times(self, repeats: int, heard: Callable[[int], None]) -> _Measuring:
        task = self._session.task
        trees = list(dict.fromkeys((self._tree, self._session.base_tree)))
        wanted = [(self._tree, epoch) for epoch in self._epochs]
        if task.evaluation.holdout is not None:
            wanted += [(tree, self._epochs[0]) for tree in trees[1:]]
        for done in range(repeats):
            async with self._bench.open(task) as evaluator:
                self.sandbox = evaluator.confinement
                for tree, epoch in wanted:
                    await self._take(evaluator, tree, epoch)
            if task.evaluation.holdout is not None:
                async with self._bench.open(unsealed(task)) as evaluator:
                    for tree in trees:
                        await self._take(evaluator, tree, HOLDOUT)
            heard(done + 1)
        return self

    async def _take(self, evaluator: Evaluates, tree: Oid, epoch: int) -> None:
        found = await evaluator.evaluate(tree, epoch=max(0, epoch), validation=epoch == VALIDATION)
        self.calls += self._bench.calls(found)
        if found.status == Reason.UNANSWERED:
            raise EvaluationError(f"{found.feedback.splitlines()[0]}\nNothing is known then; try again later")
        self.of(tree, epoch).add(found)


def judge_claim(direction: Direction, claimed: Evaluation, measured: Series, evaluations: int = 1) -> Claim:
    """Whether a recorded score, itself the mean of so many `evaluations`, agrees with what was measured.

    It holds when it lies in the 95 % prediction interval by Student's t, or was exceeded. One measurement, or equal
    ones, leave no room.
    """
    score = claimed.score
    assert score is not None
    what = "validation" if claimed.epoch == VALIDATION else "score"
    if not measured.sound:
        total = len(measured.scores) + len(measured.failures)
        why = f"{len(measured.failures)} of {total} evaluations failed ({measured.failures[0]})"
        return Claim(what, claimed.epoch, score, measured, None, False, why)
    found = intervals.predicted(measured.scores, evaluations)
    same = math.isclose(score, found.centre, rel_tol=1e-9, abs_tol=1e-12)
    inside = found.low <= score <= found.high
    exceeded = better(direction, found.centre, score)
    why = (
        "the same"
        if same
        else "within the noise"
        if inside
        else "better than claimed"
        if exceeded
        else "worse than claimed"
    )
    return Claim(what, claimed.epoch, score, measured, found, same or inside or exceeded, why)


def judge_holdout(direction: Direction, scores: tuple[Series, Series], held: tuple[Series, Series]) -> Holdout:
    """Whether what was gained over the start is there on the holdout too; each pair is (the version, the start).

    A gap alone proves nothing: the holdout may be harder for everybody. So the version must beat the start on the
    holdout too, beyond the noise of both (Welch's t), when it does so by the score.
    """
    mine, start = held
    sign = 1.0 if direction == "maximize" else -1.0
    if not mine.sound:
        why = f"{len(mine.failures)} evaluations failed on the holdout ({mine.failures[0]})"
        return Holdout(mine, None, None, None, False, why)
    gap = _signed(sign, scores[0].scores, mine.scores) if scores[0].scores else None
    if not start.sound or not scores[0].sound or not scores[1].sound:
        return Holdout(mine, gap, None, None, True, "there is nothing to compare with: the start, or the score, failed")
    gain, kept = _signed(sign, scores[0].scores, scores[1].scores), _signed(sign, mine.scores, start.scores)
    if gain.centre <= 0 or gain.low <= 0:
        return Holdout(mine, gap, gain, kept, True, "the score shows no gain over the start that could be lost")
    if kept.low > 0:
        return Holdout(
            mine, gap, gain, kept, True, f"{kept.centre / gain.centre:.0%} of the gain is there on the holdout"
        )
    why = "the gain is not there on the holdout"
    if kept.centre > 0:
        why = "on the holdout the gain is no more than noise; more --repeats may tell"
    return Holdout(mine, gap, gain, kept, False, why)


def _signed(sign: float, first: Sequence[float], second: Sequence[float]) -> Interval:
    """How much better `first` is than `second`."""
    found = intervals.difference(first, second)
    return Interval(sign * found.centre, found.half)


def record(session: Session, found: Verification) -> None:
    """Journal a verification, durably. Selection and prompts take no notice of it."""
    data: dict[str, Any] = {key: value for key, value in found.document().items() if key != "commit"}
    data["host"] = session.host
    if found.calls:
        data["calls"] = write_calls(found.calls)
    word = "holds" if found.holds else "does not hold"
    entry = session.journal.append("verified", f"verified {found.commit[:10]}: {word}", data, candidate=found.commit)
    session.population.apply(entry)
    session.journal.publish()
