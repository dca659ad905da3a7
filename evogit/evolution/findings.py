"""Which evaluation of a tree counts where several hosts evaluated it, and whose word is taken for it.

A host on the trust list is believed. What others claim counts for parents unless it was drawn to be checked, never for
the champion, and not at all when they say that a version failed or once a check has contradicted them. Everything
here is a function of the set of entries: the order in which journals are read does not matter.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
from dataclasses import dataclass, field

from evogit.evolution.measurements import Measurements, Orders
from evogit.evolution.ranking import Key, Order
from evogit.numbering import Names
from evogit.values import Evaluation, Oid

EXACT, NOISE = 1e-9, 0.25


def host_of(writer: str) -> str:
    """The host that a writer's name begins with."""
    return writer.rpartition("-")[0] or writer


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose scores are believed: host names or patterns with ``*``.

    Of the others' claims the share `check` is drawn to be evaluated here before they count; `salt` keeps anybody from
    knowing which. A claim holds if it is within `tolerance` of the score here, relative to the larger of the two; by
    default that is nothing, or a quarter where scores were sampled more than once, as those of noisy tasks are.
    """

    hosts: tuple[str, ...] = ("*",)
    check: float = 0.1
    tolerance: float | None = None
    salt: bytes = b""

    @property
    def everybody(self) -> bool:
        return "*" in self.hosts

    def believes(self, host: str) -> bool:
        return self.everybody or any(fnmatch.fnmatchcase(host, pattern) for pattern in self.hosts)

    def draws(self, tree: Oid) -> bool:
        """Whether a claim on `tree` is to be checked."""
        drawn = int.from_bytes(hashlib.blake2b(self.salt + tree.encode(), digest_size=8).digest(), "big")
        return drawn < self.check * 2**64

    def agree(self, claimed: Evaluation, found: Evaluation) -> bool:
        """Whether two evaluations of one tree are compatible."""
        if claimed.score is None or found.score is None:
            return claimed.score is None
        noisy = max(len(claimed.samples), len(found.samples)) > 1
        tolerance = self.tolerance if self.tolerance is not None else NOISE if noisy else EXACT
        return math.isclose(claimed.score, found.score, rel_tol=tolerance, abs_tol=EXACT)


@dataclass(slots=True)
class Findings:
    """What counts of each tree: more measurements before fewer, then the earliest entry; believed hosts first.

    `trees` and `orders` number those of the whole run.
    """

    trust: Trust = field(default_factory=Trust)
    trees: Names = field(default_factory=Names)
    orders: Orders = field(default_factory=Orders)
    _held: Measurements = field(init=False)
    _claims: dict[Key, dict[str, tuple[Order, Evaluation]]] = field(default_factory=dict)
    """What hosts that are not on the trust list say, by host."""
    _refuted: dict[str, dict[Key, tuple[float, float | None]]] = field(default_factory=dict)
    """What hosts claimed, and what was found instead."""

    def __post_init__(self) -> None:
        self._held = Measurements(self.trees, self.orders)

    @property
    def results(self) -> dict[Key, Evaluation]:
        """Everything that counts, read anew."""
        return {key: found for key in self._held if (found := self._held.get(key)) is not None}

    def result(self, key: Key) -> Evaluation | None:
        """What counts of `key`, if anything does."""
        return self._held.get(key)

    @property
    def caught(self) -> dict[str, int]:
        """Hosts whose claims a check has contradicted, with how many."""
        return {host: len(keys) for host, keys in sorted(self._refuted.items()) if keys}

    def refutations(self, host: str) -> list[tuple[Oid, float, float | None]]:
        """Of which trees `host` claimed which score, and what was found instead (None: it failed)."""
        return [(key[0], *scores) for key, scores in sorted(self._refuted.get(host, {}).items())]

    def confirmed(self, key: Key) -> bool:
        """Whether a host that is believed says so."""
        if self.trust.everybody:
            return key in self._held
        order = self._held.order(key)
        return order is not None and self.trust.believes(host_of(order[1]))

    def believed(self, key: Key) -> Evaluation | None:
        """What a believed host found, if one did."""
        found = self._held.get(key)
        return found if found is not None and self.confirmed(key) else None

    def believed_score(self, key: Key) -> float | None:
        """The score that a believed host found, if one did."""
        return self._held.score(key) if self.confirmed(key) else None

    def unheard(self, key: Key) -> bool:
        """Whether nobody has said anything of `key` so far."""
        return key not in self._held and key not in self._claims

    def hear(self, key: Key, evaluation: Evaluation, order: Order) -> bool:
        """Take in an evaluation; whether what counts has changed, of this tree or (with a host caught) of others."""
        host = host_of(order[1])
        if self.trust.believes(host):
            held = self._held.get(key)
            when = self._held.order(key) if held else None
            if held and when and self.confirmed(key) and _rank(held, when) <= _rank(evaluation, order):
                return False
            self._held.put(key, evaluation, order)
            self._compare(key)
            return True
        claims = self._claims.setdefault(key, {})
        if host in claims and _rank(claims[host][1], claims[host][0]) <= _rank(evaluation, order):
            return False
        claims[host] = (order, evaluation)
        if self.confirmed(key):
            return self._compare(key)
        return self._settle(key)

    def _compare(self, key: Key) -> bool:
        """Hold every claim on `key` against what a believed host found. Whether another host is caught now, or free."""
        found, changed = self._held.get(key), False
        assert found is not None
        for host, (_, claim) in self._claims.get(key, {}).items():
            keys = self._refuted.setdefault(host, {})
            before = bool(keys)
            keys.pop(key, None)
            if claim.score is not None and not self.trust.agree(claim, found):
                keys[key] = (claim.score, found.score)
            if bool(keys) != before:
                changed = True
                for other, claims in self._claims.items():
                    if host in claims and not self.confirmed(other):
                        self._settle(other)
        return changed

    def _settle(self, key: Key) -> bool:
        """Let the best claim count that may, as long as no believed host has spoken."""
        before = self._held.get(key)
        self._held.drop(key)
        if not self.trust.draws(key[0]):
            usable = [
                (order, claim)
                for host, (order, claim) in self._claims[key].items()
                if claim.ok and not self._refuted.get(host)
            ]
            if usable:
                order, claim = min(usable, key=lambda item: _rank(item[1], item[0]))
                self._held.put(key, claim, order)
        return self._held.get(key) != before

    def keep(self, epoch: int, always: int) -> None:
        """Forget all epochs before `epoch` but `always`."""
        self._held.keep(epoch, always)
        for key in [key for key in self._claims if key[2] < epoch and key[2] != always]:
            del self._claims[key]


def _rank(evaluation: Evaluation, order: Order) -> tuple[int, Order]:
    return (-max(1, len(evaluation.samples)), order)
