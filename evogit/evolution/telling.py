"""What a prompt may tell of a version, gathered from the repository and the fold when an agent asks for it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from evogit.evolution.living import Living
from evogit.evolution.memory import Attempt
from evogit.evolution.selection import Individual, best_of
from evogit.evolution.session import Session
from evogit.evolution.versions import Versions, unified
from evogit.globs import sealed
from evogit.store.encoding import Recent
from evogit.store.objects import EXECUTABLE, FILE
from evogit.values import Evaluation, Oid
from evogit.variation.merge import matches
from evogit.variation.request import Background, Past, Relative

LOOKED_AT = 120  # attempts, the newest first
DIFF_LINES = 120
FILES_LISTED = 400


class Teller:
    """Answers for one session. Nothing is read before it is asked for."""

    def __init__(self, session: Session, versions: Versions, living: Living) -> None:
        self._session, self._versions, self._living = session, versions, living
        self._lines = functools.lru_cache(maxsize=16_384)(self._matches)
        self._texts: Recent[Oid] = Recent(4_096)

    def background(self, receiver: Individual, agent: str, definition: str) -> Background:
        session, population = self._session, self._session.population
        listing = session.objects.listing(receiver.tree)
        paths = [path for path, (mode, _) in listing.items() if mode in (FILE, EXECUTABLE) and not sealed(path)]
        listed = [path for path in paths if not path.startswith(".evogit/")]  # ours, not the project's
        more = [f"… and {len(listed) - FILES_LISTED} more"] if len(listed) > FILES_LISTED else []
        leader = population.leader()
        return Background(
            task=session.task.name,
            goal=session.task.goal.strip(),
            direction=session.task.direction,
            stage=stage.text if (stage := population.decisions.stage) else "",
            guidance=self._guidance(receiver.commit, agent, definition),
            notes=tuple(line for _, text in population.memory.notes for line in text.splitlines()),
            evaluation=self.evaluation(receiver.commit, receiver.tree),
            best=leader.score if leader else None,
            paths=(*listed[:FILES_LISTED], *more),
            failures=lambda path, start, end: self._failures(receiver.tree, path, start, end),
            relatives=lambda count: self._relatives(receiver, count),
            whole=lambda: {path: session.objects.blob(listing[path][1]) for path in paths},
        )

    def evaluation(self, commit: Oid, tree: Oid) -> Evaluation | None:
        """What a version earned in this epoch, with what its evaluator said when it was born."""
        population = self._session.population
        found = population.result(tree, self._living.epoch)
        evidence = population.memory.evidence.get(commit)
        if found is None or evidence is None or found.feedback or found.stdout or found.stderr:
            return found
        objects = self._session.objects
        said = {path: objects.blob(oid) for path, (_, oid) in objects.listing(evidence).items() if path in SAID}
        feedback = said.get("feedback.txt", b"").decode("utf-8", "replace")
        return replace(found, feedback=feedback, stdout=said.get("stdout.txt", b""), stderr=said.get("stderr.txt", b""))

    def _guidance(self, commit: Oid, agent: str, definition: str) -> tuple[str, ...]:
        graph = self._session.population.phylogeny
        told = []
        for guidance in self._session.population.decisions.guidance:
            if guidance.agent and guidance.agent not in (agent, definition):
                continue
            on = guidance.on
            if on and on != commit and not (on in graph and commit in graph and graph.is_ancestor(on, commit)):
                continue
            told.append(guidance.text)
        return tuple(told)

    def _failures(self, tree: Oid, path: str, start: int, end: int) -> Iterator[Past]:
        """Attempts that touched any of these lines, the newest first; their lines are followed into this version.

        They are looked for one by one, as a prompt tells of few.
        """
        now = self._session.objects.listing(tree).get(path)
        attempts = list(self._session.population.memory.failures)[-LOOKED_AT:]
        for attempt in reversed(attempts):
            if path in attempt.touched and now is not None and self._overlaps(attempt, path, now[1], start, end):
                yield Past(attempt.summary, attempt.outcome, attempt.score)

    def _overlaps(self, attempt: Attempt, path: str, blob: Oid, start: int, end: int) -> bool:
        then = self._text(attempt.parent, path)
        if then is None:
            return False
        ranges = [(int(a), int(b)) for a, b in attempt.touched[path]]
        if then == blob:
            return any(a < end and start < b for a, b in ranges)
        # (start in the old text, start in the new text, length) of what both have.
        for old, new, length in self._lines(then, blob):
            shift = new - old
            if any(max(a, old) < min(b, old + length) and a + shift < end and start < b + shift for a, b in ranges):
                return True
        return False

    def _text(self, commit: Oid, path: str) -> Oid | None:
        """A file's text in a version that is known; each prompt asks this of the same hundred attempts."""
        key = f"{commit}:{path}"
        found = self._texts.get(key)
        if found is None:
            tree = self._session.population.trees.get(commit)
            entry = self._session.objects.listing(tree).get(path) if tree is not None else None
            if entry is None:
                return None
            found = entry[1]
            self._texts.put(key, found)
        return found

    def _matches(self, old: Oid, new: Oid) -> tuple[tuple[int, int, int], ...]:
        before, after = (self._session.objects.blob(oid).splitlines() for oid in (old, new))
        if len(before) * len(after) > 4_000_000:
            return ()
        return matches(before, after)

    def _relatives(self, receiver: Individual, count: int) -> Sequence[Relative]:
        """The best other version, then ever more different ones of those that are at least as good as most."""
        direction = self._session.task.direction
        rest = [i for i in self._living.ordered if i.tree != receiver.tree]
        chosen: list[Individual] = []
        while rest and len(chosen) < count:
            pick = best_of(direction, rest)
            chosen.append(pick)
            rest = [i for i in rest if i.tree != pick.tree and i.niche != pick.niche]
        objects = self._session.objects
        return [
            Relative(
                i.score,
                f"{i.agent} {objects.commit(i.commit).message.partition(chr(10))[0]}",
                self.diff(receiver.tree, i.tree),
            )
            for i in chosen
        ]

    def diff(self, old: Oid, new: Oid, lines: int = DIFF_LINES) -> str:
        """A unified diff of the editable files of two trees, at most `lines` long."""
        before, after = (self._versions.version("", tree, None).files for tree in (old, new))
        out: list[str] = []
        for path in sorted(self._versions.changed(old, new)):
            out += unified(path, before, after)
            if len(out) > lines:
                return "\n".join([*out[:lines], f"[… {path} and maybe more cut …]"])
        return "\n".join(out)


SAID = ("feedback.txt", "stdout.txt", "stderr.txt")
