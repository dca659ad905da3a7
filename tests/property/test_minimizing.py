"""Delta debugging and hunks: what is found is enough and has no part to spare, whatever the parts are."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from evogit.review.ddmin import ddmin
from evogit.review.hunks import Hunk, compare, patched, pieces

Test = Callable[[tuple[int, ...]], bool]


def run(count: int, enough: Test, width: int = 1) -> tuple[tuple[int, ...], int]:
    """What is found, and how many different selections were tested."""
    tested: set[tuple[int, ...]] = set()
    search = ddmin(range(count), width)
    try:
        asked = next(search)
        while True:
            tested |= set(asked)
            asked = search.send([enough(selection) for selection in asked])
    except StopIteration as end:
        found: tuple[int, ...] = end.value
        return found, len(tested)


@given(st.integers(0, 40), st.sets(st.integers(0, 39)), st.integers(1, 4))
def test_exactly_what_is_needed_is_found(count: int, needed: set[int], width: int) -> None:
    needed = {n for n in needed if n < count}
    assert run(count, lambda chosen: needed <= set(chosen), width)[0] == tuple(sorted(needed))


@given(st.integers(1, 9), st.integers(0, 1 << 30), st.integers(1, 4))
def test_no_single_part_can_be_left_out_whatever_is_enough(count: int, seed: int, width: int) -> None:
    def enough(chosen: tuple[int, ...]) -> bool:
        return len(chosen) == count or random.Random(f"{seed}{chosen}").random() < 0.3

    found, _ = run(count, enough, width)
    assert enough(found)
    assert found == run(count, enough)[0]
    assert found == () or len(found) == 1 or not any(enough(found[:n] + found[n + 1 :]) for n in range(len(found)))


@given(st.sets(st.integers(0, 59), min_size=4, max_size=4))
def test_four_of_sixty_take_few_tests(needed: set[int]) -> None:
    found, tests = run(60, lambda chosen: needed <= set(chosen))
    assert set(found) == needed
    assert tests <= 60


texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"d"]), max_size=9).map(b"".join)


@given(texts, texts, st.randoms())
def test_all_hunks_make_the_new_text_and_none_the_old(old: bytes, new: bytes, chance: random.Random) -> None:
    whole = [Hunk(h.path, h.start, h.end, h.lines, number=n) for n, h in enumerate(compare("f", old, new))]
    for some in (whole, list(pieces(whole))):
        assert patched(old, some) == new
        assert patched(old, []) == old
        patched(old, [hunk for hunk in some if chance.random() < 0.5])
