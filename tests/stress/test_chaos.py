"""The short version of `make stress`: two hosts, some faults once. Nothing here depends on how fast the machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.chaos import END, stress

SHORT = ("kill -9", "remote cut off", "lock files deleted", "git gc --prune=now", "evaluator not executable")
"""The others wait for longer, and are tried by `make stress`."""


@pytest.mark.longest
@pytest.mark.timeout(1800)
def test_nothing_acknowledged_is_lost_whatever_breaks(tmp_path: Path) -> None:
    table = stress(tmp_path, hosts=2, rounds=1, seed=1, faults=SHORT)
    skipped = {fault: tally.skipped for fault, tally in table.items() if tally.skipped}
    assert {fault: tally.tried for fault, tally in table.items()} == {
        **{fault: int(fault not in skipped) for fault in SHORT},
        END: 2,
    }
    assert sum(tally.lost for tally in table.values()) == 0, table
    assert {name: tally.notes for name, tally in table.items() if tally.survived < tally.tried} == {}
    if skipped:  # in CI, what could be installed has to be (tests/conftest.py); everything else was tried
        pytest.skip("; ".join(f"{fault}: {why}" for fault, why in skipped.items()))
