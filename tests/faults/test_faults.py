"""The promise of `python -m tests.faults`, in a short form: faults lose nothing."""

from pathlib import Path

import pytest

from tests.faults.__main__ import inject, table

_SHORT = ["killed while saving", "disk full"]


@pytest.mark.long
def test_runs_survive_faults_with_every_bit(tmp_path: Path) -> None:
    outcomes = inject(tmp_path, len(_SHORT), seed=1, kinds=_SHORT)
    assert [outcome.lost for outcome in outcomes] == [""] * len(_SHORT)
    assert table(outcomes).endswith("| **all** | 2 | 2 | 0 |")
