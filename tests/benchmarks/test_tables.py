"""Promises of what benchmarks write with --json."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import harness, roofline, scaling, serve
from catsdogs_jax.planning.scaling import Work

WORKS = {"small": Work(flops=(1e9, 1e9), accessed=(0.0, 0.0), gradient=1e8)}


def test_every_table_is_written_in_the_same_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = argparse.Namespace(json=tmp_path / "t.json", commit="a")
    rows = harness.in_turn("step", {"catsdogs_jax": [2.0, 4.0], "p": [1.0, 1.0]}, "images/s")
    harness.report([*rows, harness.single("size", 3.0, "MiB")], {"jax": "1"}, flags)
    assert "| 3.00 x (2.00 to 4.00) |" in capsys.readouterr().out
    tree = json.loads(flags.json.read_text())
    assert set(tree) == {"commit", "cpu", "versions", "rows"}
    assert set(tree["versions"]) == {"python", "jax"}
    assert [row["ratio"] for row in tree["rows"]] == [None, 3.0, None]
    assert {"case", "system", "value", "unit"} < set(tree["rows"][0])


def test_nothing_is_written_unless_asked_for() -> None:
    harness.write([], {}, harness.arguments("").parse_args([]))


def test_the_rows_of_scaling_hold_what_its_table_shows() -> None:
    first, *_, last = scaling.table(WORKS).splitlines()[2:]
    rows = {row.case: row for row in scaling.rows(WORKS)}
    assert len(rows) == 4 * len(scaling.table(WORKS).splitlines()[2:])
    assert rows["small, 1 chips, weak: efficiency"].value == 100
    assert "100% to 100%" in first
    share = rows["small, 4,096 chips, weak: efficiency"]
    gain = rows["small, 4,096 chips, strong: speedup"]
    assert share.value == share.low < share.high
    assert f"| {share.low:.0f}% to {share.high:.0f}% |" in last
    assert f"| {gain.low:,.0f} to {gain.high:,.0f} x |" in last
    for end in ("all", "a host"):
        assert f"| {rows[f'small, 4,096 chips, weak: {end}'].value:,.0f} |" in last


def test_the_rows_of_a_loaded_server() -> None:
    clients = [serve.Client("", [], until=0, seed=seed) for seed in range(2)]
    clients[0].times, clients[1].times, clients[1].wrong = [0.1, 0.2], [0.3], 1
    rows = {row.case: row for row in serve.rows(clients, 6, {"before": 5.0})}
    assert rows["2 clients, good requests"].value == 0.5
    latency = rows["2 clients, latency"]
    assert (latency.low, latency.value, latency.high) == pytest.approx((100, 200, 300))
    assert (latency.unit, latency.n) == ("ms", 3)
    assert rows["2 clients, wrong answers"].value == 1
    assert rows["2 clients, memory before"] == harness.single("2 clients, memory before", 5, "MiB")


def test_the_rows_of_a_roofline() -> None:
    step = {
        "case": "s",
        "operations_a_picture": 2e9,
        "bytes_a_picture": 3e6,
        "intensity": 4.0,
        "balance": 5.0,
        "images_per_second": 6.0,
        "device_bytes": 7 * 2**20,
    }
    rows = roofline.rows(step)
    assert [row.value for row in rows] == [2, 3, 4, 5, 6, 7]
    assert all(row.ratio is None for row in rows)
