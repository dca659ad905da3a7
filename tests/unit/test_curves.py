"""The curves of a run: best so far, acceptance by operator, cost."""

from __future__ import annotations

from evogit.phylogeny.curves import Curves, curves
from evogit.phylogeny.folding import everything
from evogit.phylogeny.history import Facts, from_edges


def test_best_so_far_begins_anew_in_a_new_epoch() -> None:
    facts = [Facts(score=0.0)] + [
        Facts(operator=operator, score=score, decision=decision, scale=scale, cost=0.5, tokens=3, seconds=0.25)
        for operator, score, decision, scale in (
            ("grow", 1.0, "accepted", "d/0"),
            ("swap", 9.0, "worse", "d/0"),
            ("grow", 3.0, "accepted", "d/0"),
            ("grow", 2.0, "accepted", "d/0"),
            ("swap", 0.5, "accepted", "d/1"),
            ("swap", None, "failed", "d/1"),
        )
    ]
    history = from_edges([f"{at:040x}" for at in range(7)], [[], *[[0]] * 6], facts=facts, base=0)
    found = curves(history, everything(history))
    assert found.best == ((1000, 1.0), (3000, 3.0), (4000, 3.0), (4000, None), (5000, 0.5), (6000, 0.5))
    assert [score for _, score in found.scores] == [1.0, 3.0, 2.0, 0.5]
    assert found.tried is not None
    assert found.accepted is not None
    assert {name: sum(counts) for name, counts in found.tried.items()} == {"grow": 3, "swap": 3}
    assert {name: sum(counts) for name, counts in found.accepted.items()} == {"grow": 3, "swap": 1}
    assert (found.cost[-1], found.tokens[-1], found.seconds[-1]) == (3.0, 18, 1.5)
    assert found.windows[-1] == 6000


def test_plain_history_has_none() -> None:
    history = from_edges(["aa" * 20], [[]])
    assert curves(history, everything(history)) == Curves()


def test_a_run_without_candidates_has_none() -> None:
    history = from_edges(["aa" * 20], [[]], base=0)
    assert curves(history, everything(history)) == Curves()
