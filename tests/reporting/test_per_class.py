"""Promises of the picture of the classes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from catsdogs_jax.reporting.per_class import (
    Measures,
    draw_per_class,
    measures_of,
    per_class_figure,
)

RNG = np.random.default_rng(0)


def measures(size: int, name: str = "class {}", marks: int = 2) -> Measures:
    return Measures(
        [name.format(index) for index in range(size)],
        RNG.integers(0, 10**5, size).tolist(),
        ("F1", RNG.random(size).tolist()),
        [(kind, RNG.random(size).tolist()) for kind in ("precision", "recall")[:marks]],
    )


def texts(figure: Figure) -> list[Text]:
    found = figure.findobj(Text)
    return [text for text in found if isinstance(text, Text) and text.get_text()]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


@pytest.mark.parametrize("size", [1, 2, 8, 40, 100])
@pytest.mark.parametrize("name", ["{}", "a class whose name goes on and on and on, number {:03}"])
def test_no_text_overlaps_another_or_leaves_the_figure(size: int, name: str) -> None:
    figure = per_class_figure(measures(size, name), title="A title that is long " * 6)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts(figure)]
    for word, box in boxes:
        assert min(box.x0, box.y0) >= 0, word
        assert box.x1 <= figure.bbox.x1, word
        assert box.y1 <= figure.bbox.y1, word
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), (one, other)


def test_the_worst_class_stands_first_and_those_without_a_value_last() -> None:
    found = Measures(["a", "b", "c"], [5, 0, 1234], ("F1", [0.9, float("nan"), 0.25]))
    figure = per_class_figure(found)
    height = {text.get_text(): text.get_position()[1] for text in texts(figure)}
    assert height["c"] > height["a"] > height["b"]
    assert height["c"] == height["0.250"] == height["1,234"]
    assert height["b"] == height["–"]
    assert "F1, mean 0.575 over 2 of 3 classes" in words(figure)
    bars = [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert bars == [0.25, 0.9, 0.0]


def test_of_many_classes_the_forty_smallest_are_shown() -> None:
    many = measures(100)
    found = words(per_class_figure(many))
    values = np.array(many.bars[1])
    shown = {f"class {index}" for index in np.argsort(values)[:40]}
    assert {word for word in found if word.startswith("class ")} == shown
    assert any("the 40 smallest of 100 are shown" in word for word in found)


def test_the_table_of_a_result_says_what_is_drawn() -> None:
    row = {"class": "a", "precision": None, "recall": 0.0, "f1": 0.0, "support": 3}
    found = measures_of([row])
    assert found.bars == ("F1", [0.0])
    assert [name for name, _ in found.marks] == ["precision", "recall"]
    assert np.isnan(found.marks[0][1][0])
    found = measures_of([{**row, "average_precision": 0.3, "threshold": 0.5}])
    assert found.bars == ("average precision", [0.3])
    assert found.marks == [("F1 at the threshold", [0.0])]


def test_the_picture_is_a_png_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    some = measures(8)
    one = draw_per_class(some, tmp_path / "new" / "a.png", title="$x^2$ 猫")
    other = draw_per_class(some, tmp_path / "b.png", title="$x^2$ 猫")
    assert one.read_bytes() == other.read_bytes()
    with Image.open(one) as picture:
        assert min(picture.size) > 500


@pytest.mark.parametrize(
    ("classes", "support", "values", "words"),
    [
        ([], [], [], "at least one class"),
        (["a", "b"], [1], [0.5, 0.5], "2 classes need as many values of support, got 1"),
        (["a", "b"], [1, 2], [0.5], "2 classes need as many values of F1, got 1"),
    ],
)
def test_values_that_do_not_fit_are_an_error(
    classes: list[str], support: list[int], values: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Measures(classes, support, ("F1", values))
