"""Promises of the picture of the confusion matrix."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from catsdogs_jax.reporting.confusion import confusion_figure, draw_confusion_matrix

CATS_DOGS = np.array([[278, 22], [31, 269]])
PERCENT = "\N{NO-BREAK SPACE}%"
ODD = ["a$x^2$b", "under_score{}", "back\\slash\\frac{1}{2}", "new\nline", "猫", "$\\frac{$"]


def matrix(size: int, pictures: int = 300) -> np.ndarray:
    """Makes the matrix of a classifier that is right in most cases."""
    generator = np.random.default_rng(0)
    shares = 0.85 * np.eye(size) + 0.15 * generator.dirichlet(np.full(size, 0.3), size)
    return np.stack([generator.multinomial(pictures, row / row.sum()) for row in shares])


def long_names(size: int) -> list[str]:
    """Makes names of 60 characters that differ at their ends."""
    return [f"{'a class whose name goes on and on':-<57}{index:03}" for index in range(size)]


def labels(size: int) -> np.ndarray:
    """Makes the small matrices of several labels."""
    return np.stack([matrix(2, 10 ** (2 + index % 4)) for index in range(size)])


def texts(figure: Figure) -> list[Text]:
    """Gives the visible texts of a figure."""
    found = figure.findobj(Text)
    return [text for text in found if isinstance(text, Text) and text.get_text()]


def words(figure: Figure) -> list[str]:
    """Gives what the texts of a figure say."""
    return [text.get_text() for text in texts(figure)]


def corners(figure: Figure, text: Text) -> np.ndarray:
    """Gives the corners of a text that may be turned, in pixels, shape [4, 2]."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    angle = text.get_rotation()
    anchor = text.get_transform().transform(text.get_position())
    # Measured lying flat, the text is turned about its anchor, as rotation_mode "anchor" does it.
    if angle % 90:
        text.set_rotation(0)
    box = text.get_window_extent(renderer).padded(-1)
    text.set_rotation(angle)
    points = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]])
    if angle % 90:
        turn = np.deg2rad(angle)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = (points - anchor) @ matrix.T + anchor
    return points


def apart(one: np.ndarray, other: np.ndarray) -> bool:
    """Says whether a straight line separates two rectangles, given by their corners."""
    for points in (one, other):
        for axis in (points[1] - points[0], points[2] - points[1]):
            first, second = one @ axis, other @ axis
            if first.max() <= second.min() or second.max() <= first.min():
                return True
    return False


def assert_tidy(figure: Figure) -> None:
    """Asserts that no text overlaps another or leaves the figure."""
    boxes = [(text.get_text(), corners(figure, text)) for text in texts(figure)]
    for name, points in boxes:
        assert (points >= 0).all(), name
        assert (points <= figure.bbox.max).all(), name
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert apart(first, second), (one, other)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 16, 60, 120])
@pytest.mark.parametrize("names", ["short", "long"])
def test_no_text_overlaps_another_or_leaves_the_figure(size: int, names: str) -> None:
    classes = long_names(size) if names == "long" else [f"c{index}" for index in range(size)]
    assert_tidy(confusion_figure(matrix(size), classes, title="A title that is long " * 6))


@pytest.mark.parametrize("size", [1, 2, 7, 80])
def test_no_text_overlaps_with_several_labels(size: int) -> None:
    assert_tidy(confusion_figure(labels(size), long_names(size), title="Labels " * 30))


def test_large_counts_stay_within_their_cells() -> None:
    assert_tidy(confusion_figure(matrix(10) * 10**7, long_names(10)))


def test_the_picture_is_a_png_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "a.png", tmp_path / "b.png"]
    for path in paths:
        assert draw_confusion_matrix(CATS_DOGS, ["cats", "dogs"], path) == path
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(paths[0]) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 600
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_each_cell_shows_its_count_and_its_share_of_the_row() -> None:
    found = words(confusion_figure(CATS_DOGS, ["cats", "dogs"], title="Test"))
    for count, share in (("278", "92.7"), ("22", "7.3"), ("31", "10.3"), ("269", "89.7")):
        assert count in found
        assert share + PERCENT in found
    assert {"true", "predicted", "cats", "dogs", "Test", "n"} <= set(found)
    assert found.count("300") == 2
    assert f"accuracy 91.2{PERCENT}, n = 600 pictures" in found


def test_rows_are_the_true_class_and_columns_the_predicted_one() -> None:
    figure = confusion_figure(np.array([[5, 40], [0, 9]]), ["cats", "dogs"])
    place = {text.get_text(): text.get_position() for text in texts(figure)}
    rows = {t.get_text(): t for t in texts(figure) if t.get_horizontalalignment() == "right"}
    assert place["40"][0] > place["5"][0]
    assert place["9"][1] < place["5"][1]
    assert abs(rows["cats"].get_position()[1] - place["40"][1]) < 0.4
    assert place["true"][0] < place["5"][0]
    assert place["predicted"][1] < place["9"][1]


def test_a_class_without_pictures_shows_a_dash_not_a_division_error() -> None:
    counts = matrix(3)
    counts[1] = 0
    found = words(confusion_figure(counts, ["a", "b", "c"]))
    assert found.count("–") == 3
    assert "nan" not in "".join(found)
    assert words(confusion_figure(np.zeros((2, 2), int), ["a", "b"])).count("–") == 4


@pytest.mark.parametrize("several", [False, True])
def test_names_with_special_characters_are_shown_literally(several: bool, tmp_path: Path) -> None:
    counts = labels(6) if several else matrix(6)
    found = words(confusion_figure(counts, ODD, title="$^$ title"))
    for shown in ("a$x^2$b", "under_score{}", "new\\nline", "\\u732b", "$\\frac{$", "$^$ title"):
        assert shown in found
    draw_confusion_matrix(counts, ODD, tmp_path / "odd.png", title="$^$ title")


def test_long_names_are_shortened_in_the_middle() -> None:
    found = words(confusion_figure(matrix(12), long_names(12)))
    short = [name for name in found if "…" in name]
    assert len(short) == 24
    assert len(set(short)) == 12
    assert all(len(name) <= 30 and name.startswith("a class") for name in short)


def test_texts_of_cells_shrink_with_more_classes_and_then_disappear() -> None:
    seen: list[tuple[bool, bool, bool]] = []
    for size in (2, 10, 37, 120):
        figure = confusion_figure(matrix(size), [f"c{index}" for index in range(size)])
        found = words(figure)
        shares = sum(PERCENT in word for word in found) > 5
        counts = sum(word.isdecimal() and word != "300" for word in found) >= size
        seen.append((shares, counts, "of row" in found))
        assert min(float(text.get_fontsize()) for text in texts(figure)) >= 6.5
    assert seen == [
        (False, True, False),
        (True, True, False),
        (False, True, True),
        (False, False, True),
    ]


def test_names_of_classes_thin_out_only_where_they_would_touch() -> None:
    for size, named in ((10, 10), (60, 60), (120, 60)):
        found = words(confusion_figure(matrix(size), [f"c{index}" for index in range(size)]))
        assert sum(word.startswith("c") for word in found) == 2 * named


def test_the_text_of_a_cell_stands_out_from_its_colour() -> None:
    counts = np.array([[100 - share, share] for share in range(0, 101, 5)][:20])
    figure = confusion_figure(
        np.stack([counts[i : i + 2] for i in range(0, 20, 2)]), list("0123456789")
    )
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3] / 255
    checked = 0
    for text in texts(figure):
        if PERCENT in text.get_text() and float(text.get_fontsize()) < 11:
            box = text.get_window_extent().padded(3)
            contrast = _contrast(pixels[int(box.y0), int(box.x0)], to_rgb(str(text.get_color())))
            assert contrast >= 3.9, text.get_text()
            checked += 1
    assert checked == 40


def _contrast(one: Any, other: Any) -> float:
    linear = [
        np.where(
            np.array(c) <= 0.04045, np.array(c) / 12.92, ((np.array(c) + 0.055) / 1.055) ** 2.4
        )
        for c in (one, other)
    ]
    dark, light = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (light + 0.05) / (dark + 0.05)


def test_several_labels_draw_one_small_matrix_each_up_to_36() -> None:
    figure = confusion_figure(labels(4), ["cat", "dog", "car", "tree"])
    assert len(figure.axes) == 4
    assert {"cat", "dog", "car", "tree", "absent", "present"} <= set(words(figure))
    many = confusion_figure(labels(80), [f"label {index}" for index in range(80)])
    assert len(many.axes) == 36
    found = words(many)
    assert "label 35" in found
    assert "label 36" not in found
    assert any("the first 36 labels are shown" in word for word in found)


def test_the_accuracy_of_several_labels_counts_every_decision() -> None:
    counts = np.array([[[90, 10], [0, 0]], [[50, 0], [30, 20]]])
    found = words(confusion_figure(counts, ["a", "b"]))
    assert f"accuracy 80.0{PERCENT}, n = 200 decisions on 2 labels" in found
    assert found.count("–") == 2


@pytest.mark.parametrize(
    ("counts", "classes", "message"),
    [
        (np.zeros((2, 3), int), ["a", "b"], r"shape \[K, K\].* got \[2, 3\]"),
        (np.zeros(4, int), ["a", "b"], r"shape \[K, K\].* got \[4\]"),
        (np.zeros((5, 2, 3), int), list("abcde"), r"\[K, 2, 2\].* got \[5, 2, 3\]"),
        (np.zeros((0, 0), int), [], r"at least one class.* \[0, 0\]"),
        (np.zeros((2, 2), int), ["a"], r"\[2, 2\] needs 2 class names, got 1"),
        (np.zeros((3, 2, 2), int), ["a"], r"\[3, 2, 2\] needs 3 class names, got 1"),
        (np.array([[1, -2], [0, 1]]), ["a", "b"], r"counts from 0 up, got -2"),
        (np.eye(2), ["a", "b"], r"integer counts, got float64"),
    ],
)
def test_a_wrong_matrix_is_an_error_that_names_what_is_expected(
    counts: np.ndarray, classes: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_confusion_matrix(counts, classes, tmp_path / "wrong.png")
    assert not list(tmp_path.iterdir())


def test_small_integer_types_do_not_overflow_in_the_sums() -> None:
    found = words(confusion_figure(np.full((2, 2), 200, np.uint8), ["a", "b"]))
    assert f"accuracy 50.0{PERCENT}, n = 800 pictures" in found
