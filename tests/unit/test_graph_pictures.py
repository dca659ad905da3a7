"""The smartlog as inline pictures: what a person sees in the terminal, of small graphs drawn by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.phylogeny.folding import at_most, draw, everything, remarkable
from evogit.phylogeny.history import Facts, History, from_edges
from evogit.phylogeny.layout import lay_out
from evogit.phylogeny.picture import Picture
from evogit.phylogeny.selecting import Selection, select
from evogit.phylogeny.smartlog import ASCII, UNICODE, age, plain, render


def history(*lines: str, **rest: Any) -> History:
    """Commits from lines ``name parent,parent score decision agent operator summary…``; `-` for nothing.

    A name is one letter; its object id is the letter's code over and over.
    """
    names: list[str] = []
    parents, facts = [], []
    for at, text in enumerate(lines):
        name, above, score, decision, agent, operator, *summary = text.split()
        names.append(name)
        parents.append([names.index(parent) for parent in above.split(",") if parent != "-"])
        facts.append(
            Facts(
                agent="" if agent == "-" else agent,
                operator="" if operator == "-" else operator,
                score=None if score == "-" else float(score),
                decision="" if decision == "-" else decision,
                status="ok" if score != "-" else decision if decision != "-" else "",
                milliseconds=at * 60_000 + 1,
                step=at,
                summary=" ".join(summary),
            )
        )
    for key in ("living", "pruned"):
        rest[key] = frozenset(names.index(name) for name in rest.get(key, ""))
    rest["promoted"] = {names.index(name): title for name, title in rest.get("promoted", {}).items()}
    for key in ("base", "best"):
        rest[key] = names.index(rest[key]) if key in rest else None
    oids = [f"{ord(name):02x}" * 20 for name in names]
    return from_edges(oids, parents, [fact.milliseconds for fact in facts], facts, **rest)


RUN = (
    "a - 1.0 - - - Start",
    "b a 1.5 accepted ant number raise a number",
    "c a 0.5 worse bee swap swap two lines",
    "d a 1.2 accepted bee number lower a number",
    "e b - failed ant grow grow a branch",
    "f d,b 1.7 accepted bee crossover take from ant",
    "g b 1.6 accepted ant number raise it more",
    "h f 1.4 worse bee number lower it again",
)
FACTS: dict[str, Any] = {"living": "fg", "base": "a", "best": "f"}


def picture(graph: History, *, folded: bool = True) -> Picture:
    selected = everything(graph)
    return draw(graph, selected, remarkable(graph, selected) if folded else selected, run="main", task="numbers")


def drawn(made: Picture, **how: Any) -> str:
    return "\n".join(plain(render(made, **{"width": 100, "now": 480_001, **how})))


def test_living_best_and_start_are_shown_and_the_rest_is_counted() -> None:
    made = picture(history(*RUN, **FACTS))
    assert (
        drawn(made)
        == """\
■    61616161    1                        8m  start        +3  Start
├┄╮
│ ●  67676767  1.6  ▲0.1  ant  number     2m  living           raise it more
○    64646464  1.2  ▲0.2  bee  number     5m  accepted         lower a number
★    66666666  1.7  ▲0.5  bee  crossover  3m  best living  +1  take from ant"""
    )
    assert made.counts == "4 of 8 commits, 4 folded"


def test_everything() -> None:
    assert (
        drawn(picture(history(*RUN, **FACTS), folded=False))
        == """\
■      61616161       1                        8m  start                  Start
├─╮
│ ·    63636363     0.5  ▼0.5  bee  swap       6m  worse                  swap two lines
├─╮
│ ○    62626262     1.5  ▲0.5  ant  number     7m  accepted               raise a number
│ ├─╮
│ │ ·  65656565  failed        ant  grow       4m  failed                 grow a branch
│ ●    67676767     1.6  ▲0.1  ant  number     2m  living                 raise it more
○      64646464     1.2  ▲0.2  bee  number     5m  accepted               lower a number
★      66666666     1.7  ▲0.5  bee  crossover  3m  best living  ×6262626  take from ant
·      68686868     1.4  ▼0.3  bee  number     1m  worse                  lower it again"""
    )


def test_in_ascii_with_moments_for_ages() -> None:
    assert (
        drawn(picture(history(*RUN, **FACTS)), glyphs=ASCII, now=None)
        == """\
#    61616161    1                        1970-01-01 00:00  start        +3  Start
:\\
| @  67676767  1.6  +0.1  ant  number     1970-01-01 00:06  living           raise it more
o    64646464  1.2  +0.2  bee  number     1970-01-01 00:03  accepted         lower a number
*    66666666  1.7  +0.5  bee  crossover  1970-01-01 00:05  best living  +1  take from ant"""
    )


def test_a_narrow_terminal_loses_what_matters_least() -> None:
    made = picture(history(*RUN, **FACTS))
    assert (
        drawn(made, width=50)
        == """\
■    61616161    1             8m  start        +3
├┄╮
│ ●  67676767  1.6  ▲0.1  ant  2m  living
○    64646464  1.2  ▲0.2  bee  5m  accepted
★    66666666  1.7  ▲0.5  bee  3m  best living  +1"""
    )
    for width in range(12, 120):
        assert max(map(len, drawn(made, width=width).splitlines())) <= max(width, 18)


def test_two_roots_promoted_and_pruned() -> None:
    graph = history(
        "a - - - ann - first",
        "b a - - ann - second",
        "c - - - bob - another beginning",
        "d c - - bob - its second",
        promoted={"b": "shiny"},
        pruned="d",
        living="",
    )
    assert (
        drawn(picture(graph))
        == """\
○  61616161  ann  8m                  first
◆  62626262  ann  7m  promoted shiny  second

○  63636363  bob  6m                  another beginning
✗  64646464  bob  5m  pruned          its second"""
    )


def test_a_smaller_score_is_better_when_minimizing() -> None:
    graph = history("a - 2.0 - - - s", "b a 1.0 accepted ant n s", living="b", best="b", direction="minimize")
    roles = {role: text for role, text in render(picture(graph))[1] if text.strip()}
    assert roles["better"] == "▼1"
    assert roles["score9"] == "1"


def test_hostile_summaries_stay_in_their_line() -> None:
    hostile = "\x1b[31mred\nnext\u202eline \u2028 漢字漢字"
    facts = [Facts(summary=hostile, agent="a\tb\r")]
    graph = from_edges(["61" * 20], [[]], [1], facts)
    (text,) = drawn(draw(graph, everything(graph), everything(graph)), width=60).splitlines()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "漢字" in text


@pytest.mark.parametrize(
    ("ago", "text"), [(5, "5s"), (90, "1m"), (7300, "2h"), (200_000, "2d"), (6_000_000, "2mo"), (10**8, "3y")]
)
def test_ages(ago: int, text: str) -> None:
    assert age(10**12, 10**12 + ago * 1000) == text


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(), "abcdefgh"),
        (Selection(living=True), "abdfg"),
        (Selection(accepted=True), "abdfg"),
        (Selection(lineage=4), "abe"),
        (Selection(since=300_001), "fgh"),
        (Selection(since=300_001, living=True), "fg"),
        (Selection(around=3, reach=1), "abcdf"),
        (Selection(around=7, reach=1), "fh"),
    ],
)
def test_selections(selection: Selection, names: str) -> None:
    graph = history(*RUN, **FACTS)
    kept = select(graph, selection)
    assert "".join(chr(int(graph.oid(i)[:2], 16)) for i in range(len(graph)) if kept[i]) == names


def test_links_across_what_is_left_out() -> None:
    graph = history(*RUN, **FACTS)
    made = draw(graph, everything(graph), np.array([name in "abh" for name in "abcdefgh"]))
    assert [(link.parent, link.hidden) for link in made.nodes[2].links] == [(0, 2), (1, 1)]
    assert [node.folded for node in made.nodes] == [3, 2, 0]


graphs = st.lists(st.tuples(st.lists(st.integers(0, 10**6), max_size=3), st.booleans(), st.booleans()), max_size=40)


@given(graphs, st.integers(0, 45))
def test_folding_counts_everything_once_and_links_are_ancestors(
    shape: list[tuple[list[int], bool, bool]], limit: int
) -> None:
    parents = [sorted({choice % at for choice in choices} if at else set()) for at, (choices, _, _) in enumerate(shape)]
    living = frozenset(at for at, (_, alive, _) in enumerate(shape) if alive)
    graph = from_edges(
        [f"{at:040x}" for at in range(len(shape))], parents, living=living, best=min(living, default=None)
    )
    selected = np.array([chosen for _, _, chosen in shape], dtype=np.bool_)
    for shown in (at_most(graph, selected, limit), remarkable(graph, selected)):
        made = draw(graph, selected, shown)
        assert len(made.nodes) + sum(node.folded for node in made.nodes) + made.elsewhere == int(selected.sum())
        for node in made.nodes:
            at = graph.index(node.oid)
            for link in node.links:
                above = graph.index(made.nodes[link.parent].oid)
                assert above != at
                assert graph.is_ancestor(above, at)
        assert len(render(made)) >= len(made.nodes)
    assert int(at_most(graph, selected, limit).sum()) == min(limit, int(selected.sum()))


@given(graphs)
def test_lanes_of_lines_that_live_at_the_same_time_differ(shape: list[tuple[list[int], bool, bool]]) -> None:
    parent = [choices[0] % at if choices and at else -1 for at, (choices, _, _) in enumerate(shape)]
    inner = set(parent)
    twig = [wish and at not in inner for at, (_, wish, _) in enumerate(shape)]
    placed = lay_out(parent, range(len(shape)), twig)
    places = [(placed.x[at], placed.lane[at]) for at in range(len(shape))]
    assert len(set(places)) == len(places)
    # No node lies on the straight stretch of another line.
    for at, above in enumerate(parent):
        if above < 0 or twig[at]:
            continue
        for other in range(above + 1, at):
            assert twig[other] or placed.lane[other] != placed.lane[at]


def test_the_picture_does_not_depend_on_what_is_drawn_first() -> None:
    made = picture(history(*RUN, **FACTS))
    assert drawn(made) == drawn(picture(history(*RUN, **FACTS)))
    assert UNICODE != ASCII
