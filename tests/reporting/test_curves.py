"""Promises of the curves of accuracy and loss, and of the style that all pictures share."""

import itertools
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from catsdogs_jax.reporting import style
from catsdogs_jax.reporting.curve_data import Metric
from catsdogs_jax.reporting.curves import curve_figure, draw_curves

Rows = list[dict[str, Any]]
SPLITS = ("train", "validation")
METRICS: tuple[Metric, ...] = ("accuracy", "loss")


def run(count: int, splits: Sequence[str] = SPLITS, noise: float = 0.01) -> Rows:
    """Makes the rows of a run of `count` epochs that learns and then overfits."""
    generator = np.random.default_rng(0)
    rows: Rows = []
    for epoch in range(1, count + 1):
        progress = 1.0 - math.exp(-5.0 * epoch / count)
        for split in splits:
            top = 0.97 if split == "train" else 0.8
            accuracy = 0.5 + (top - 0.5) * progress + noise * generator.normal()
            loss = 0.7 - (top - 0.3) * progress + noise * generator.normal()
            rows.append(
                {
                    "step": 50 * epoch,
                    "epoch": float(epoch),
                    "split": split,
                    "accuracy": min(1.0, accuracy),
                    "loss": abs(loss),
                }
            )
    return rows


def changed(rows: Rows, **values: Mapping[int, float]) -> Rows:
    """Replaces the values of a metric in the rows of the given indices."""
    return [
        {**row, **{key: new[index] for key, new in values.items() if index in new}}
        for index, row in enumerate(rows)
    ]


def several_splits() -> Rows:
    """Makes a run whose splits end close together, one of them early, some with odd names."""
    rows = [row for row in run(60) if row["split"] == "train" or row["epoch"] <= 30]
    last = rows[-1]
    names = ("test", "test $x_1$ {}\\ \n猫 with a name that is far too long for a label")
    return rows + [{**last, "split": name} for name in names]


CASES: dict[str, tuple[Rows, int | None]] = {
    "1 row": (run(1, ("train",)), 50),
    "1 epoch": (run(1), 50),
    "2 epochs": (run(2), 100),
    "100 epochs": (run(100), 87 * 50),
    "best at the start": (run(100), 50),
    "5,000 rows": (run(2500, noise=0.03), 2000 * 50),
    "outliers at the start": (
        changed(run(100), loss={0: 90.0, 2: 40.0, 4: 12.0, 6: 5.0}),
        60 * 50,
    ),
    "divergence at the end": (changed(run(100), loss={198: 50.0}), 60 * 50),
    "all 100 %": ([{**row, "accuracy": 1.0} for row in run(100)], 50),
    "all zero": ([{**row, "accuracy": 0.0, "loss": 0.0} for row in run(9)], 50),
    "only train": (run(40, ("train",)), None),
    "only validation": (run(10, ("validation",)), 500),
    "not finite": (
        changed(run(60), loss={20: math.nan, 22: math.inf, 51: math.nan}, accuracy={80: math.nan}),
        55 * 50,
    ),
    "several splits": (several_splits(), 30 * 50),
}


def texts(figure: Figure) -> dict[str, Bbox]:
    """Gives the texts of a figure and where they stand, in pixels."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return {
        f"{text.get_text()} #{number}": text.get_window_extent(canvas.get_renderer())
        for number, text in enumerate(found)
        if text.get_visible() and text.get_text()
    }


def words(figure: Figure) -> str:
    """Gives all texts of a figure, one a line."""
    return "\n".join(text.get_text() for text in figure.texts)


def lines(figure: Figure, split: str) -> list[Any]:
    """Gives what is drawn in a split's colour and in the coordinates of the data."""
    axes = figure.axes[0]
    color = style.PALETTE[SPLITS.index(split)]
    return [
        line
        for line in axes.lines
        if line.get_color() == color and line.get_transform() == axes.transData
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_no_text_overlaps_another_or_leaves_the_figure(case: str, metric: Metric) -> None:
    rows, best_step = CASES[case]
    figure = curve_figure(rows, metric, best_step=best_step)
    boxes = texts(figure)
    for name, box in boxes.items():
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= figure.bbox.x1, name
        assert box.y1 <= figure.bbox.y1, name
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), (one, other)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_every_end_of_a_line_lies_on_the_axes(case: str, metric: Metric) -> None:
    rows, best_step = CASES[case]
    axes = curve_figure(rows, metric, best_step=best_step).axes[0]
    low, high = axes.get_ylim()
    scale = 100.0 if metric == "accuracy" else 1.0
    for split in {row["split"] for row in rows}:
        last = [row[metric] for row in rows if row["split"] == split][-1]
        assert low <= scale * last <= high


@pytest.mark.heavy
def test_both_pictures_are_pngs_of_the_promised_size_and_density(tmp_path: Path) -> None:
    paths = draw_curves(run(10), tmp_path / "new" / "folder", best_step=100)
    assert paths == (tmp_path / "new/folder/accuracy.png", tmp_path / "new/folder/loss.png")
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (1400, 860))
            assert picture.info.keys() == {"dpi"}
            assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_the_same_rows_give_the_same_bytes_whatever_the_callers_settings(tmp_path: Path) -> None:
    rows, best_step = CASES["not finite"]
    usual = draw_curves(rows, tmp_path / "usual", best_step=best_step)
    hostile: Any = {
        "text.usetex": True,
        "text.color": "red",
        "font.size": 30,
        "font.family": ["serif"],
        "axes.grid": True,
        "axes.grid.axis": "both",
        "axes.facecolor": "black",
        "axes.labelcolor": "red",
        "axes.linewidth": 5,
        "figure.facecolor": "black",
        "figure.dpi": 37,
        "figure.autolayout": True,
        "savefig.dpi": 41,
        "savefig.bbox": "tight",
        "lines.linestyle": "--",
        "lines.marker": "s",
        "xtick.minor.visible": True,
        "xtick.labelcolor": "red",
        "xtick.top": True,
        "ytick.direction": "in",
        "ytick.right": True,
    }
    with matplotlib.rc_context(hostile):
        other = draw_curves(rows, tmp_path / "other", best_step=best_step)
    for one, two in zip(usual, other, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_threads_that_draw_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    rows = run(20)
    alone = [path.read_bytes() for path in draw_curves(rows, tmp_path / "alone")]
    with ThreadPoolExecutor(4) as pool:
        drawn = pool.map(lambda name: draw_curves(rows, tmp_path / str(name)), range(8))
        assert all([path.read_bytes() for path in paths] == alone for paths in drawn)


def test_drawing_needs_neither_pyplot_nor_jax_nor_tensorflow() -> None:
    code = (
        "import sys, catsdogs_jax.reporting.curves, catsdogs_jax.reporting.confusion\n"
        "import catsdogs_jax.reporting.flowchart\n"
        "print({'matplotlib.pyplot', 'jax', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_failed_write_leaves_the_old_picture_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = draw_curves(run(3), tmp_path)[0].read_bytes()

    def fail(self: Image.Image, path: Path, **_: Any) -> None:
        path.write_bytes(b"half a pic")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        draw_curves(run(9), tmp_path)
    assert (tmp_path / "accuracy.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["accuracy.png", "loss.png"]


def test_no_rows_are_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows to draw curves from"):
        draw_curves([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_line_is_labelled_at_its_end_with_its_split_and_last_value() -> None:
    rows = changed(run(5), accuracy={8: 0.981, 9: 0.8049}, loss={9: 0.4321})
    accuracy, loss = words(curve_figure(rows, "accuracy")), words(curve_figure(rows, "loss"))
    assert "train 98.1\N{NO-BREAK SPACE}%" in accuracy
    assert "validation 80.5\N{NO-BREAK SPACE}%" in accuracy
    assert "validation 0.432" in loss
    assert "accuracy (%)" in accuracy
    assert "epoch" in accuracy


def test_the_best_step_is_called_best_only_where_no_value_is_better() -> None:
    rows = changed(run(3), accuracy={1: 0.6, 3: 0.805, 5: 0.7}, loss={1: 0.5, 3: 0.6, 5: 0.7})
    accuracy = words(curve_figure(rows, "accuracy", best_step=100))
    assert "best 80.5\N{NO-BREAK SPACE}% at epoch 2" in accuracy
    assert "best step: 0.600 at epoch 2" in words(curve_figure(rows, "loss", best_step=100))
    assert "best" not in words(curve_figure(rows, "accuracy", best_step=7))
    assert "best" not in words(curve_figure(rows, "accuracy"))


def test_a_value_that_is_not_finite_leaves_a_gap_and_a_note() -> None:
    rows, _ = CASES["not finite"]
    figure = curve_figure(rows, "loss")
    course = lines(figure, "train")[0].get_ydata()
    assert np.flatnonzero(np.isnan(course)).tolist() == [10, 11]
    note = words(figure).replace("\n", " ")
    assert "× 2 train values are not finite, between epochs 11 and 12." in note
    assert "× 1 validation value is not finite, at epoch 26." in note


def test_a_value_between_two_gaps_is_drawn_as_a_point() -> None:
    rows = changed(run(50, ("train",)), loss={9: math.nan, 11: math.nan})
    marks = lines(curve_figure(rows, "loss"), "train")[0].get_markevery()
    assert np.flatnonzero(marks).tolist() == [10]


def test_a_metric_without_a_finite_value_says_so_instead_of_failing(tmp_path: Path) -> None:
    rows: Rows = [{"step": 1, "epoch": 1.0, "split": "train", "accuracy": math.nan}]
    assert "no accuracy is finite" in words(curve_figure(rows, "accuracy"))
    assert "no loss was recorded" in words(curve_figure(rows, "loss"))
    assert all(path.exists() for path in draw_curves(rows, tmp_path))


def test_outliers_of_the_loss_do_not_flatten_the_rest_and_are_told() -> None:
    rows, best_step = CASES["outliers at the start"]
    figure = curve_figure(rows, "loss", best_step=best_step)
    assert figure.axes[0].get_ylim()[1] < 1.5
    assert "▲ 4 values lie above the axis, the largest 90.000." in words(figure)


def test_a_usual_fall_of_the_loss_is_shown_in_full() -> None:
    fall = {epoch: 0.3 + 1.7 * math.exp(-epoch / 3) for epoch in range(100)}
    figure = curve_figure(changed(run(100, ("train",)), loss=fall), "loss")
    assert figure.axes[0].get_ylim()[1] > 2.0
    assert "▲" not in words(figure)


def test_a_sparse_validation_line_is_never_taken_for_outliers() -> None:
    rows = run(2000, ("train",), noise=0.001)
    rows += [{**rows[i], "split": "validation", "loss": 20.0} for i in (500, 1000)]
    assert "▲" not in words(curve_figure(rows, "loss"))


def test_the_accuracy_axis_ends_at_100_and_starts_near_the_data() -> None:
    for case in ("all 100 %", "5,000 rows", "all zero"):
        rows, _ = CASES[case]
        axes = curve_figure(rows, "accuracy").axes[0]
        low, high = axes.get_ylim()
        assert high <= 101
        assert low >= 100 * min(row["accuracy"] for row in rows) - 6
        assert high - low >= 5
        assert all(0 <= tick <= 100 for tick in axes.get_yticks())


def test_many_values_are_drawn_thin_under_their_running_mean() -> None:
    rows, _ = CASES["5,000 rows"]
    figure = curve_figure(rows, "accuracy")
    thin, bold = lines(figure, "train")
    assert thin.get_linewidth() < 1 < bold.get_linewidth()
    raw, mean = thin.get_ydata(), bold.get_ydata()
    assert np.std(np.diff(mean)) < 0.1 * np.std(np.diff(raw))
    assert mean[1000] == pytest.approx(raw[1000 - 20 : 1000 + 21].mean())
    assert mean[0] == pytest.approx(raw[:21].mean())
    assert "running mean over 41 values" in words(figure)


def test_few_values_are_drawn_as_points_too() -> None:
    for count, marked in ((1, True), (2, True), (100, False)):
        line = lines(curve_figure(run(count), "accuracy"), "validation")[0]
        assert line.get_marker() == "o"
        assert all(line.get_markevery()) is marked


def test_of_a_step_written_twice_the_last_row_counts_and_order_is_restored() -> None:
    rows = run(4, ("train",))
    again = [*reversed(rows), {**rows[1], "loss": 0.123}]
    line = lines(curve_figure(again, "loss"), "train")[0]
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert line.get_ydata()[1] == 0.123


def test_rows_without_the_metric_or_the_epoch_are_left_out() -> None:
    rows = run(4, ("train",))
    del rows[0]["loss"], rows[1]["epoch"]
    rows[2]["loss"] = None
    line = lines(curve_figure(rows, "loss"), "train")[0]
    assert line.get_xdata().tolist() == [4]


def test_each_tick_is_written_beside_its_place_on_the_axis() -> None:
    figure = curve_figure(run(100), "accuracy")
    axes = figure.axes[0]
    columns = [text for text in figure.texts if text.get_text() in ("20", "40", "100")][:2]
    rows = [text for text in figure.texts if text.get_horizontalalignment() == "right"]
    assert [float(text.get_text()) for text in rows] == axes.get_yticks().tolist()
    assert len(columns) == 2
    left, low = axes.get_xlim()[0], axes.get_ylim()[0]
    for text in columns:
        box = text.get_window_extent()
        x, bottom = axes.transData.transform((float(text.get_text()), low))
        assert (box.x0 + box.x1) / 2 == pytest.approx(x, abs=3)
        assert box.y1 < bottom
    for text in rows:
        box = text.get_window_extent()
        start, y = axes.transData.transform((left, float(text.get_text())))
        assert (box.y0 + box.y1) / 2 == pytest.approx(y, abs=6)
        assert box.x1 < start


def test_whole_epochs_get_whole_ticks() -> None:
    assert curve_figure(run(2), "loss").axes[0].get_xticks().tolist() == [1, 2]
    assert curve_figure(run(1), "loss").axes[0].get_xticks().tolist() == [1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a$b$_{c}\\", "a$b$_{c}\\"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("猫", "\\u732b"),
        ("\udc80", "\\udc80"),
    ],
)
def test_text_is_shown_literally_or_escaped_where_the_font_has_no_glyph(
    text: str, shown: str
) -> None:
    assert style.literal(text) == shown


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 26, 30])
def test_a_shortened_text_keeps_its_start_and_end(limit: int) -> None:
    text = "abcdefghijklmnopqrstuvwxyz"
    short = style.shorten(text, limit)
    head, _, tail = short.partition("…")
    assert len(short) == min(limit, len(text))
    assert text.startswith(head)
    assert text.endswith(tail)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0"), (0.0001, "<0.1"), (0.5, "50.0"), (0.99999, ">99.9"), (1.0, "100.0")],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, text: str) -> None:
    assert style.percent(share) == f"{text}\N{NO-BREAK SPACE}%"


def test_labels_that_want_the_same_place_are_moved_apart_within_the_limits() -> None:
    placed = style.spread(np.array([9.9, 0.0, 9.8, 9.7]), 1.0, 0.0, 10.0)
    assert placed.tolist() == pytest.approx([10.0, 0.0, 9.0, 8.0])
