"""Which operator, or which model, an agent tries next: adaptive rules over measured improvement per unit spent.

`ucb` is UCB1 (Auer, Cesa-Bianchi and Fischer 2002) on discounted rewards, `matching` probability matching with a floor
(Thierens 2005), `uniform` the control. A reward is 1 for a new best, 0.5 for an accepted child, divided by what a trial
costs against the average trial: in money where any trial cost money, else in tokens, else in time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Rule = Literal["ucb", "matching", "uniform"]

DISCOUNT = 0.995  # per trial of the arm: an operator that was good early gives way once it no longer is
FLOOR = 0.25  # of the uniform share, which no operator falls below
WARMTH = 0.2  # UCB1's exploration term, scaled to rewards that are mostly 0


@dataclass(slots=True)
class Arm:
    """One arm's record. `weight` and `reward` are discounted, the rest plain sums."""

    tried: int = 0
    accepted: int = 0
    seconds: float = 0.0
    tokens: int = 0
    money: float = 0.0
    weight: float = 0.0
    reward: float = 0.0

    @property
    def value(self) -> float:
        return self.reward / self.weight if self.weight else 0.0


@dataclass(slots=True)
class Allocation:
    rule: Rule = "ucb"
    arms: dict[str, Arm] = field(default_factory=dict)

    def record(
        self, operator: str, *, accepted: bool, best: bool, seconds: float, tokens: int = 0, money: float = 0.0
    ) -> None:
        arm = self.arms.setdefault(operator, Arm())
        arm.tried += 1
        arm.accepted += accepted
        arm.seconds += seconds
        arm.tokens += tokens
        arm.money += money
        trials = sum(a.tried for a in self.arms.values())
        cost = 1.0
        arms = self.arms.values()
        for paid, spent in (
            (money, sum(a.money for a in arms)),
            (float(tokens), sum(a.tokens for a in arms)),
            (seconds, sum(a.seconds for a in arms)),
        ):
            if spent > 0:
                cost = max(0.1, paid / (spent / trials))
                break
        arm.weight = arm.weight * DISCOUNT + 1
        arm.reward = arm.reward * DISCOUNT + (1.0 if best else 0.5 if accepted else 0.0) / cost

    def choose(self, operators: Sequence[str], rng: random.Random, prior: Sequence[float] | None = None) -> str:
        """One of `operators`, which must not be empty. Untried ones come first under `ucb`.

        `prior` weighs what is left to chance; without it all are alike.
        """
        if self.rule == "uniform" or len(operators) == 1:
            return _draw(operators, rng, prior)
        arms = [self.arms.get(name, Arm()) for name in operators]
        if self.rule == "matching":
            total = sum(arm.value for arm in arms)
            given = prior or [1.0] * len(arms)
            shares = [weight / sum(given) for weight in given]
            earned = [arm.value / total for arm in arms] if total else shares
            weights = [FLOOR * share + (1 - FLOOR) * part for share, part in zip(shares, earned, strict=True)]
            return rng.choices(operators, weights)[0]
        untried = [name for name, arm in zip(operators, arms, strict=True) if not arm.tried]
        if untried:
            return _draw(untried, rng, prior and [prior[operators.index(name)] for name in untried])
        if rng.random() < FLOOR:
            return _draw(operators, rng, prior)
        trials = sum(arm.weight for arm in arms)
        bounds = [arm.value + WARMTH * math.sqrt(2 * math.log(trials + 1) / arm.weight) for arm in arms]
        return max(zip(bounds, operators, strict=True))[1]


def _draw(names: Sequence[str], rng: random.Random, prior: Sequence[float] | None) -> str:
    return rng.choice(names) if prior is None else rng.choices(names, prior)[0]
