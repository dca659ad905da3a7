"""The smallest part of a version's change that keeps its score: delta debugging on real evaluations.

First whole hunks are left out, then single lines of those that are needed, then, in Python, an expression gives way to
one of its own parts (hierarchical delta debugging: Misherghi and Su 2006). Every variant is a commit with an entry
of its own, so that nothing is evaluated twice, also after a kill; as trials they never become champions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evogit.errors import UsageError, VariationError
from evogit.evolution.population import write_evaluation
from evogit.evolution.ranking import VALIDATION
from evogit.evolution.scoring import Scoring
from evogit.evolution.session import Session
from evogit.review import hunks
from evogit.review.ddmin import Search, ddmin
from evogit.review.hunks import Hunk
from evogit.review.intervals import predicted
from evogit.store.objects import Identity
from evogit.values import Direction, Evaluation, Oid, better
from evogit.variation.shrinking import shorter
from evogit.variation.wellformed import problem

REPEATS = 5  # measurements of a noisy version, before and after

Heard = Callable[[int, str], None]
"""Told how many evaluations were made, and what is being tried."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a variant must reach in one epoch: `score` claimed, `least` with tolerance and noise."""

    epoch: int
    score: float
    least: float


@dataclass(frozen=True, slots=True)
class Minimized:
    """The outcome. `commit` is the smaller version; None where nothing could be left out."""

    of: Oid
    commit: Oid | None
    tree: Oid
    before: float
    after: float
    hunks: tuple[int, int]
    """In the change, and in what is left of it."""
    lines: tuple[tuple[int, int], tuple[int, int]]
    """Added and removed, before and after."""
    shortened: int
    """Expressions that gave way to a part of their own."""
    dead: tuple[Hunk, ...]
    """What was left out, as pieces of the change."""
    evaluations: int
    known: int
    """Variants whose score was on record."""
    holds: bool = True
    """Whether a noisy task's smaller version reached the bar when it was measured again."""

    @property
    def document(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "of": self.of,
            "commit": self.commit,
            "before": {"score": self.before, "hunks": self.hunks[0], "lines": list(self.lines[0])},
            "after": {"score": self.after, "hunks": self.hunks[1], "lines": list(self.lines[1])},
            "shortened": self.shortened,
            "dead": [{"place": h.place, "added": h.size[0], "removed": h.size[1]} for h in self.dead],
            "evaluations": self.evaluations,
            "known": self.known,
            "holds": self.holds,
        }


async def minimize(
    session: Session,
    scoring: Scoring,
    commit: Oid,
    *,
    tolerance: float = 0.0,
    width: int = 1,
    expressions: bool = True,
    heard: Heard = lambda _done, _at: None,
) -> Minimized:
    """Leave out of `commit`'s change against the run's start whatever its score does not need.

    The training score, and the validation score where the task has one, may get worse by `tolerance`, in score units.
    Scores of a noisy task are compared with what the version earns when it is measured again. `width` variants are
    tried at once.

    Raises:
        UsageError: the task is decided by a judge, or the version fails its evaluation.
        EvaluationError: the evaluator itself cannot work.
    """
    if session.task.evaluation.judge == "decides":
        raise UsageError("this task has no score of its own: a judge decides, so nothing can be left out by it")
    objects, old = session.objects, session.base_tree
    new = objects.commit(commit).tree
    whole = hunks.cut(objects, old, new)
    if not whole:
        raise UsageError(f"{commit[:10]} changes nothing against the start, so there is nothing to leave out")
    trials = Trials(session, scoring, heard)
    await trials.set_bars(commit, new, tolerance)
    kept = await _needed(trials, old, whole, width)
    tree, texts = hunks.apply(objects, old, kept), dict[str, Oid]()
    if expressions:
        tree, texts = await _shortened(trials, tree, width)
    rest = hunks.cut(objects, old, tree)
    found = Minimized(
        commit,
        None,
        tree,
        trials.bars[0].score,
        trials.bars[0].score,
        (len(whole), len(rest)),
        (hunks.lines_changed(whole), hunks.lines_changed(rest)),
        trials.shortened,
        tuple(piece for piece in hunks.pieces(whole) if piece not in kept),
        trials.evaluations,
        trials.known,
    )
    return found if tree == new else await _finish(trials, found, kept, texts)


class Trials:
    """Tries variants of one version. `bars` say what they must reach, the training score first."""

    def __init__(self, session: Session, scoring: Scoring, heard: Heard) -> None:
        self.session, self._scoring, self._heard = session, scoring, heard
        self.bars: list[Bar] = []
        self.evaluations = self.known = self.shortened = 0
        self.at = "measuring"
        self._answers: dict[Oid, bool] = {}

    async def set_bars(self, commit: Oid, tree: Oid, tolerance: float) -> None:
        """What the version itself earns, less tolerance and noise. Raises `UsageError` if it fails."""
        task, epoch = self.session.task, self.session.population.epoch
        for at in [epoch, *([VALIDATION] if task.evaluation.validation else [])]:
            found = await self._scoring.score(commit, tree, "minimize", at)
            if not found.ok or found.score is None:
                raise UsageError(f"{commit[:10]} fails its evaluation ({found.status}), so there is no score to keep")
            least = found.score
            if task.evaluation.noisy:
                least = _worst(task.direction, await self.again(tree, at))
            sign = 1.0 if task.direction == "minimize" else -1.0
            self.bars.append(Bar(at, found.score, least + sign * tolerance))
        self._answers[tree] = True

    async def again(self, tree: Oid, epoch: int) -> list[float]:
        """Several fresh measurements, which are not journaled."""
        validation = epoch == VALIDATION
        found = [
            await self._scoring.evaluator.evaluate(tree, epoch=0 if validation else epoch, validation=validation)
            for _ in range(REPEATS)
        ]
        self.evaluations += len(found)
        scores = [evaluation.score for evaluation in found if evaluation.score is not None]
        if len(scores) < len(found):
            raise UsageError(f"tree {tree[:10]} fails some of its evaluations; mend that first")
        return scores

    async def enough(self, trees: Sequence[Oid]) -> list[bool]:
        """Which of the trees keep the score; those not asked about before are evaluated at once, and published."""
        fresh = [tree for tree in dict.fromkeys(trees) if tree not in self._answers]
        for tree, answer in zip(fresh, await asyncio.gather(*map(self._reaches, fresh)), strict=True):
            self._answers[tree] = answer
        self.session.journal.publish()
        self._heard(self.evaluations, self.at)
        return [self._answers[tree] for tree in trees]

    async def _reaches(self, tree: Oid) -> bool:
        for bar in self.bars:
            found = await self.evaluate(tree, bar.epoch)
            if not found.ok or found.score is None or better(self.session.task.direction, bar.least, found.score):
                return False
        return True

    async def evaluate(self, tree: Oid, epoch: int) -> Evaluation:
        """The variant's evaluation, from the record if it is there."""
        if self.session.population.result(tree, epoch) is not None:
            self.known += 1
        else:
            self.evaluations += 1
        return await self._scoring.trial(self.commit(tree, "A smaller change, tried by minimize"), tree, epoch)

    def commit(self, tree: Oid, subject: str) -> Oid:
        """A variant as a child of the start; the same tree is always the same commit."""
        session = self.session
        who = Identity("minimize", "minimize@evogit.invalid", session.objects.commit(session.base).time)
        trailers = f"EvoGit-Run: {session.plan.run}\nEvoGit-Operator: minimize\n"
        return session.objects.put_commit(tree, [session.base], who, f"{subject}\n\n{trailers}")

    def parses(self, before: Oid, tree: Oid) -> bool:
        """Whether no file that parsed in tree `before` is broken in `tree`."""
        objects = self.session.objects
        old = objects.listing(before)
        changed = {path: entry for path, entry in objects.diff(before, tree).items() if entry is not None}
        files = {path: objects.blob(old[path][1]) for path in changed if path in old}
        return not problem(files, {path: objects.blob(entry[1]) for path, entry in changed.items()})


async def _needed(trials: Trials, old: Oid, whole: Sequence[Hunk], width: int) -> tuple[Hunk, ...]:
    """The pieces of the change that are needed: whole hunks first, then single lines of those that are."""
    groups = _groups(whole)
    trials.at = f"{len(groups)} hunks"
    some = await _search(trials, old, ddmin(groups, width))
    lines = [(piece,) for group in some for piece in group]
    if len(lines) > len(some):
        trials.at = f"{len(lines)} lines"
        some = await _search(trials, old, ddmin(lines, width))
    return tuple(piece for group in some for piece in group)


def _groups(whole: Sequence[Hunk]) -> list[tuple[Hunk, ...]]:
    """The pieces of each hunk. All have the numbers that `hunks.rebuilt` knows them by."""
    all_of_them = iter(hunks.pieces(whole))
    return [tuple(next(all_of_them) for _ in hunks.pieces([hunk])) for hunk in whole]


async def _search(trials: Trials, old: Oid, search: Search[tuple[Hunk, ...]]) -> tuple[tuple[Hunk, ...], ...]:
    objects = trials.session.objects
    try:
        asked = next(search)
        while True:
            trees = [hunks.apply(objects, old, [piece for group in some for piece in group]) for some in asked]
            sound = [tree for tree in trees if trials.parses(old, tree)]
            passed = dict(zip(sound, await trials.enough(sound), strict=True))
            asked = search.send([passed.get(tree, False) for tree in trees])
    except StopIteration as end:
        found: tuple[tuple[Hunk, ...], ...] = end.value
        return found


async def _shortened(trials: Trials, tree: Oid, width: int) -> tuple[Oid, dict[str, Oid]]:
    """Expressions on changed lines give way to parts of their own, as long as that keeps the score."""
    objects, base = trials.session.objects, trials.session.base_tree
    texts: dict[str, Oid] = {}
    trials.at = "expressions"
    for path in sorted(path for path, entry in objects.diff(base, tree).items() if entry and path.endswith(".py")):
        old = objects.listing(base).get(path)
        before = objects.blob(old[1]) if old else b""
        while (better_one := await _one_shorter(trials, tree, path, before, width)) is not None:
            tree, trials.shortened = better_one, trials.shortened + 1
            texts[path] = objects.listing(tree)[path][1]
    return tree, texts


async def _one_shorter(trials: Trials, tree: Oid, path: str, before: bytes, width: int) -> Oid | None:
    """The tree with the largest expression replaced that keeps the score, or None if none does."""
    objects = trials.session.objects
    try:
        variants: Iterator[bytes] = iter(list(shorter(before, objects.blob(objects.listing(tree)[path][1]))))
    except VariationError:  # no Python
        return None
    while batch := [text for _, text in zip(range(width), variants, strict=False)]:
        trees = [objects.edit(tree, {path: text}) for text in batch]
        for made, good in zip(trees, await trials.enough(trees), strict=True):
            if good:
                return made
    return None


async def _finish(trials: Trials, found: Minimized, kept: Sequence[Hunk], texts: dict[str, Oid]) -> Minimized:
    """Put the smaller version on record as one that can be replayed; a noisy one is measured again."""
    session, bar = trials.session, trials.bars[0]
    evaluation = await trials.evaluate(found.tree, bar.epoch)
    holds, after = True, evaluation.score if evaluation.score is not None else bar.score
    if session.task.evaluation.noisy:
        scores = await trials.again(found.tree, bar.epoch)
        after = predicted(scores).centre
        holds = not better(session.task.direction, bar.least, after)
    (added, removed), (more, less) = found.lines[1], found.lines[0]
    summary = f"Keep {added}+{removed} of {more}+{less} changed lines of {found.of[:10]}"
    commit = trials.commit(found.tree, summary)
    data = write_evaluation(evaluation, timed=not session.plan.deterministic) | {
        "tree": found.tree,
        "digest": session.digest,
        "parents": [session.base],
        "host": session.host,
        "agent": "minimize",
        "definition": "minimize",
        "operator": "minimize",
        "summary": summary,
        "trial": True,
        "recipe": {"by": "minimize", "of": found.of, "kept": [p.number for p in kept], "texts": texts},
    }
    session.population.apply(
        session.journal.append("evaluated", f"minimized {found.of[:10]} to {commit[:10]}", data, candidate=commit)
    )
    session.journal.publish()
    counted = trials.evaluations, trials.known
    return replace(found, commit=commit, after=after, holds=holds, evaluations=counted[0], known=counted[1])


def _worst(direction: Direction, scores: Sequence[float]) -> float:
    """The end of the prediction interval that a single measurement of an equal version still reaches."""
    interval = predicted(scores)
    return interval.low if direction == "maximize" else interval.high
