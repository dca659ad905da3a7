"""Exchanges with a remote while agents work: in a thread of their own, with longer waits while nobody answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from evogit.errors import StoreError, Unreachable
from evogit.evolution.colony import Colony
from evogit.evolution.syncing import Exchanged, settle, trade
from evogit.store.remote import Remote
from evogit.values import Oid

LONGEST = 600.0  # seconds between two tries at a remote that does not answer


def pause(every: float, failures: int) -> float:
    """Seconds until the next try: twice as many after each failure, up to ten minutes or `every`."""
    doubled = every * 2.0 ** min(failures, 32)  # weeks of failures are more than a float can double
    return min(doubled, max(every, LONGEST))


class Ferry:
    """Goes to and fro between this repository and one remote.

    `every` is in seconds. Waits differ by a tenth either way, so that hosts started together do not come together.
    """

    def __init__(self, colony: Colony, remote: Remote, every: float) -> None:
        self._colony, self._remote, self._every = colony, remote, every
        self._pushed: dict[str, Oid] = {}
        self._address = remote.address()
        self._rng = random.Random(colony.session.host)
        self._failures = 0
        self._said: set[str] = set()
        self._under_way: asyncio.Future[Exchanged] | None = None

    async def ply(self) -> None:
        """Exchange again and again."""
        while True:
            await asyncio.sleep(pause(self._every, self._failures) * self._rng.uniform(0.9, 1.1))
            await self.cross()

    async def cross(self) -> None:
        """Exchange once. An unreachable remote is a notice; whatever is here goes with the next crossing."""
        session, books = self._colony.session, self._colony.books
        if self._under_way is not None:
            await asyncio.wait([self._under_way])  # of a crossing that was cancelled; what it pushed may be old
        if (address := self._remote.address()) != self._address:
            self._address, self._pushed = address, {}  # another repository in its place has nothing of it yet
        work = asyncio.to_thread(trade, session.repository, session.plan.run, self._remote, self._pushed, self._say())
        self._under_way = asyncio.ensure_future(work)
        try:
            # Whoever is cancelled here does not end an exchange half way.
            done = await asyncio.shield(self._under_way)
        except (Unreachable, StoreError) as error:
            self._failures += 1
            if self._failures == 1:
                books.notify(f"{error}. The agents go on; what they find is exchanged once {self._remote.name} answers")
            return
        if self._failures:
            books.notify(f"{self._remote.name} answers again: what was found meanwhile is exchanged")
            self._failures = 0
        for complaint in done.complaints:
            self._tell_once(complaint)
        if done.copied:
            self._colony.stop("copied")

    def _tell_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._colony.books.notify(text)

    def _say(self) -> Callable[[str], None]:
        """Notices from another thread."""
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            loop.call_soon_threadsafe(self._tell_once, text)

        return say

    def moor(self) -> list[str]:
        """Move the branches of others to where their journals, as folded here, say. What could not be moved."""
        session = self._colony.session
        return settle(session.objects, session.plan.run, self._colony.population, session.host)
