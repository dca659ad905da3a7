"""Many hosts: cut off now and then, overtaken by others, they agree; and what an exchange costs is what is new."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hosts import RUN, simulate
from benchmarks.sync import measure
from evogit.evolution.session import read_journals


def test_hosts_that_are_cut_off_and_overtaken_agree(tmp_path: Path) -> None:
    """As ``python -m benchmarks.hosts``, with few hosts and a short time."""
    world = simulate(tmp_path / "world", hosts=8, agents=2, seconds=120.0, seed=2)
    assert world.unanswered, "nobody was cut off"
    assert world.overtaken, "nobody's push was overtaken"
    made = sum(world.trees.values())
    assert made > 20
    fold = world.hosts[0].population
    assert fold.candidates == made
    assert len(fold.hosts) == len(world.hosts)
    entries = read_journals(world.hosts[0].repository.objects(), RUN, {})
    assert sum(done.went for done in world.exchanges) == len(entries), "every entry goes once"
    assert sum(done.came for done in world.exchanges) == len(entries) * (len(world.hosts) - 1), "and comes once to each"
    assert max(done.calls for done in world.exchanges) <= 3, "a fetch, a push, a list the first time: no second try"


def test_an_exchange_costs_what_is_new_and_a_line_a_ref(tmp_path: Path) -> None:
    few, many = (
        measure(tmp_path / f"{hosts}-{candidates}", hosts, 2, candidates) for hosts, candidates in ((5, 50), (50, 1000))
    )
    for way in ("push", "fetch"):
        assert abs(many[f"{way} bytes each"] / few[f"{way} bytes each"] - 1) < 0.1, "whatever was there before"
    assert many["quiet bytes"] <= 600 + 120 * 50, "a line a journal"
    assert many["fetch 1 bytes"] <= 3000 + 400 * 50, "a few lines a journal"
    assert many["push 1 bytes"] <= 3000 + 120 * 50 + 120 * 150, "and, for Git lists them before a push, a line a ref"
