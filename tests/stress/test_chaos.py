"""The short version of `make stress`: two hosts, the faults that need no packages and no root, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.chaos import stress

SHORT = ("kill -9", "corrupt loose object", "git gc --prune=now")


@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_whatever_breaks(tmp_path: Path) -> None:
    table = stress(tmp_path, hosts=2, rounds=1, seed=1, faults=SHORT)
    assert {fault: tally.tried for fault, tally in table.items()} == dict.fromkeys(SHORT, 1) | {
        "all hosts at the end": 2
    }
    assert all(tally.lost == 0 for tally in table.values()), table
    assert all(tally.survived == tally.tried for tally in table.values()), table
