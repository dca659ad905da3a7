"""`land`: a verified version becomes a branch that one is glad to merge."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evogit.cli.measure import workbench
from evogit.cli.minimize import minimized_by
from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json
from evogit.cli.progress import Advance, progress
from evogit.cli.show import resolve

if TYPE_CHECKING:
    from evogit.evolution.session import Session
    from evogit.review.landing import Ground
    from evogit.review.verifying import Verification


def land(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A version, as Git names it, or: best.")] = "best",
    onto: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="What it is put on (default: HEAD).", show_default=False)
    ] = None,
    branch: Annotated[
        str | None, typer.Option(metavar="NAME", help="The new branch (default: land/RUN-COMMIT).", show_default=False)
    ] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="First leave out what its score does not need.")] = False,
    history: Annotated[
        bool, typer.Option("--history/--squash", help="The true lineage under a merge, or one clean commit.")
    ] = False,
    pr_body: Annotated[
        Path | None, typer.Option("--pr-body", metavar="FILE", help="Write the text of a pull request.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="How often it is measured first.")] = 5,
    anyway: Annotated[bool, typer.Option("--anyway", help="Land it although its score does not hold.")] = False,
    move_branch: Annotated[bool, typer.Option("--move-branch", help="Move the branch if it exists.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure nothing, write nothing: say what it would do.")
    ] = False,
    json: Json = False,
    directory: Directory = None,
    run: RunName = None,
) -> int:
    """Verify a version, then put it on a new branch with a message that tells what it is and where it comes from.

    Your checkout, index, HEAD and other branches are never touched. If the branch it is put on has moved since, the
    merged version is evaluated before it is offered; what clashes is named. Exit code 1 if it cannot be landed.

    Example: evogit land best --minimize --pr-body pr.md
    """
    from evogit.errors import UsageError
    from evogit.evolution.session import sitting

    if minimize and history:
        raise UsageError("--minimize makes another commit, so it has no --history of its own. Leave one out")
    place = here(directory, run)
    text = place.directory / pr_body if pr_body is not None else None
    if text is not None and (text.is_dir() or not text.parent.is_dir()):
        raise UsageError(f"--pr-body {pr_body}: no file can be written there. Nothing was landed")
    version = resolve(place, revision)
    with sitting(place.repository, place.run) as session, progress("land", quiet=json) as advance:
        landing = _Landing(place, session, onto or "HEAD", branch, history, move_branch)
        found = asyncio.run(landing.go(version, advance, minimize, repeats, anyway, dry_run))
    if text is not None and found["landed"]:
        try:
            text.write_text(landing.pull_request, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{pr_body}: {error.strerror}. Branch {found['branch']} has landed all the same"
            ) from error
    if json:
        print_json(found)
    else:
        for line in told(found, pr_body):
            print(line, file=sys.stdout if found["landed"] or dry_run else sys.stderr)
    return 0 if found["landed"] or (dry_run and not found["conflicts"]) else 1


class _Landing:
    """One landing, step by step; `pull_request` is its text once it has landed."""

    def __init__(
        self, place: Place, session: Session, onto: str, branch: str | None, history: bool, move: bool
    ) -> None:
        self._place, self._session = place, session
        self._onto, self._branch, self._history, self._move = onto, branch, history, move
        self.pull_request = ""

    async def go(
        self, version: str, advance: Advance, minimize: bool, repeats: int, anyway: bool, dry_run: bool
    ) -> dict[str, Any]:
        """The outcome as JSON. `landed` says whether the branch was written, `why` why not."""
        from evogit.review import landing, verifying

        session, champion, shortened = self._session, version, ""
        tip = self._tip()
        branch = self._branch or f"land/{self._place.run}-{version[:10]}"
        old = landing.check_branch(session, branch, move=self._move)
        found: dict[str, Any] = {"champion": champion, "branch": branch, "onto": tip, "landed": False, "conflicts": []}
        found |= {"commit": None, "verified": None, "why": "", "dry_run": dry_run, "history": self._history}
        if dry_run:
            ground = landing.ground(session, version, tip)
            return found | {"moved": ground.moved, "conflicts": [c.place for c in ground.clashes]}
        async with workbench(self._place, session) as (bench, desk):
            if minimize:
                advance(0, 0, "minimizing")
                smaller = await minimized_by(self._place, session, bench, desk, version, advance)
                if smaller.commit is not None and smaller.holds:
                    version = smaller.commit
                    (more, less), (added, removed) = smaller.lines
                    shortened = f"Minimized from {champion[:10]}, +{more} -{less} lines, to +{added} -{removed}."
            ground = landing.ground(session, version, tip)
            found |= {"moved": ground.moved, "conflicts": [clash.place for clash in ground.clashes]}
            if ground.clashes:
                return found | {"why": "conflict"}
            if landing.nothing_new(session, ground):
                return found | {"why": f"{tip[:10]} has all of {version[:10]} already"}
            verified = await verifying.verify(
                session, version, bench, repeats=repeats, heard=lambda n: advance(n, repeats, "verifying")
            )
            found["verified"] = verified.document()
            if not verified.holds and not anyway:
                return found | {"why": "the claimed score does not hold"}
            merged = await self._try_merged(ground, bench, desk, found)
        if merged is None and not anyway:
            return found
        if merged is None:
            merged = f"Landed all the same: {found['why']}."
        self._write(ground, champion, branch, old, found, (_verified(verified), shortened, merged))
        return found

    def _tip(self) -> str:
        """The commit to land on: a branch as the user names it; the run's start where there is no HEAD."""
        from evogit.errors import UsageError

        tip = self._session.objects.resolve(self._onto)
        if tip is None and self._onto != "HEAD":
            raise UsageError(f"{self._onto}: no such branch or commit here. Type: git branch")
        return tip or self._session.base

    async def _try_merged(self, ground: Ground, bench: Any, desk: Any, found: dict[str, Any]) -> str | None:
        """What is said of the merged version, empty if nothing was merged, None if it is worse than what is there."""
        from evogit.evolution.scoring import Scoring
        from evogit.values import better

        session = self._session
        if not ground.moved:
            return ""
        async with bench.open(session.task) as evaluator:
            scoring = Scoring(session, evaluator, desk)
            there = await scoring.trial(ground.tip, session.objects.commit(ground.tip).tree, session.population.epoch)
            merged = await scoring.trial(ground.version, ground.tree, session.population.epoch)
        session.journal.publish()
        found["scores"] = {"onto": there.score, "merged": merged.score}
        if not merged.ok or merged.score is None:
            found["why"] = f"merged with {ground.tip[:10]} it fails its evaluation ({merged.status})"
            return None
        if there.score is not None and better(session.task.direction, there.score, merged.score):
            found["why"] = (
                f"merged it scores {number(merged.score)}, worse than the {number(there.score)} that is there"
            )
            return None
        return f"Merged with {ground.tip[:10]}: {number(there.score)} there, {number(merged.score)} with this."

    def _write(
        self, ground: Ground, champion: str, branch: str, old: str | None, found: dict[str, Any], said: tuple[str, ...]
    ) -> None:
        from evogit.evolution.lineage import read_run
        from evogit.evolution.session import recorded_task
        from evogit.review import landing, messages
        from evogit.store.repository import person

        session = self._session
        record, population = read_run(session.objects, self._place.run), session.population
        there = session.objects.commit(ground.tip).tree if ground.moved else session.base_tree
        before = landing.result(session, there)
        after = landing.result(session, ground.tree) or landing.result(
            session, session.objects.commit(ground.version).tree
        )
        stage = population.decisions.stage
        story = messages.Story(
            self._place.run,
            session.task.name,
            recorded_task(session.objects, population).goal or (stage.text if stage else ""),
            ground.version,
            before.score if before else None,
            after.score if after else None,
            before.metrics if before else {},
            after.metrics if after else {},
            landing.deeds(record, champion),
            landing.authors(session, record, champion),
            population.candidates,
            len(population.seats),
            sum(spent.cost for spent in population.ledger.spent.values()),
            *said,
        )
        who = person(self._place.repository, int(time.time()))
        message = messages.commit_message(story)
        commit = landing.write(session, ground, champion, branch, old, message, who, history=self._history)
        self.pull_request = messages.pull_request(story)
        found |= {"landed": True, "commit": commit, "before": story.before, "after": story.after}


def _verified(found: Verification) -> str:
    word = "holds" if found.holds else "does NOT hold"
    times = "once" if found.repeats == 1 else f"{found.repeats} times"
    held = ", the sealed holdout agrees" if found.holdout is not None and found.holdout.holds else ""
    return f"Measured again {times} in fresh sandboxes: the score {word}{held}."


def told(found: dict[str, Any], pr_body: Path | None) -> list[str]:
    """The outcome for people."""
    version, onto = str(found["champion"])[:10], str(found["onto"])[:10]
    if found["conflicts"]:
        lines = [f"{version} clashes with {onto}, which has moved since the run began:"]
        lines += [f"  {place}" for place in found["conflicts"]]
        return [*lines, f"nothing was written. Type: git merge {version}, solve it there; or evogit land --onto REV"]
    if found["dry_run"]:
        moved = ", merged with what it has of its own" if found["moved"] else ""
        return [f"would verify {version}, then write branch {found['branch']} on {onto}{moved}"]
    if not found["landed"]:
        hint = f" Look: evogit verify {version}; or: --anyway" if found["verified"] else ""
        return [f"not landed: {found['why']}", f"nothing was written.{hint}"]
    how = "its lineage under a merge" if found["history"] else "one commit"
    lines = [
        f"landed {version} on branch {found['branch']}: {how}, {str(found['commit'])[:10]}, on {onto}",
        f"score {number(found['before'])} → {number(found['after'])}; checkout and other branches are as they were",
    ]
    if pr_body is not None:
        lines.append(f"wrote {pr_body}")
    return [*lines, f"next: git merge {found['branch']}; or for a pull request: git push origin {found['branch']}"]
