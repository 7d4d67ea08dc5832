"""Promises of the picture of a model's flowchart."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from catsdogs_jax.reporting.flowchart import Layer, draw_flowchart, flowchart_figure

INPUT = (150, 150, 3)
SMALL = [
    Layer("conv1", "Conv 3×3, 32 → ReLU → max-pool 2×2", (74, 74, 32), 896),
    Layer("conv2", "Conv 3×3, 64 → ReLU → max-pool 2×2", (36, 36, 64), 18_496),
    Layer("norm", "Batch norm", (36, 36, 64), 128),
    Layer("flatten", "Flatten", (82_944,), 0),
    Layer("dense1", "Dense 64 → ReLU", (64,), 5_308_480),
    Layer("dense2", "Dense 1", (1,), 65),
]
ODD = [
    Layer(
        "a_long_name_" * 9, "Attention with $x^2$ → 猫 and a good many more words " * 3, (197,), 9
    ),
    Layer("new\nline", "", (), 123_456_789_012),
    Layer("$\\frac{$", "Layer norm {}_\\", tuple(range(10**6, 10**6 + 12)), 7),
]


def deep(count: int) -> list[Layer]:
    """Makes a model of `count` layers that alternates convolutions and norms."""
    convolution = Layer("stage/conv", "Conv 3×3, 64 → ReLU", (56, 56, 64), 36_864)
    norm = Layer("stage/norm", "Batch norm", (56, 56, 64), 128)
    return [norm if index % 2 else convolution for index in range(count)]


CASES = {"odd": ODD, "6": SMALL, **{str(count): deep(count) for count in (1, 12, 13, 30, 80)}}


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Gives the texts of a figure and where they stand, in pixels."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    renderer = canvas.get_renderer()
    return [(t.get_text(), t.get_window_extent(renderer)) for t in found if t.get_text()]


def words(figure: Figure) -> list[str]:
    """Gives what the texts of a figure say."""
    return [text.get_text() for text in figure.texts]


def boxes(figure: Figure) -> list[FancyBboxPatch]:
    """Gives the boxes of the layers, which are the ones wide enough to hold a description."""
    found = [patch for patch in figure.findobj(FancyBboxPatch) if isinstance(patch, FancyBboxPatch)]
    return [patch for patch in found if patch.get_width() > 1.5]


@pytest.mark.parametrize("case", CASES)
def test_no_text_overlaps_another_or_leaves_the_figure(case: str) -> None:
    figure = flowchart_figure(CASES[case], title="A title of a model " * 5, input_shape=INPUT)
    found = texts(figure)
    for text, box in found:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, first), (other, second) in itertools.combinations(found, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), (one, other)


@pytest.mark.parametrize("case", CASES)
def test_a_text_lies_wholly_inside_or_wholly_outside_a_box(case: str) -> None:
    figure = flowchart_figure(CASES[case], input_shape=INPUT)
    outlines = [patch.get_window_extent() for patch in boxes(figure)]
    for text, box in texts(figure):
        for outline in outlines:
            inside = outline.x0 < box.x0 and box.x1 < outline.x1
            inside = inside and outline.y0 < box.y0 and box.y1 < outline.y1
            assert inside or not outline.overlaps(box), text


def test_the_picture_is_a_png_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "a.png", tmp_path / "b.png"]
    for path in paths:
        assert draw_flowchart(SMALL, path, title="A model", input_shape=INPUT) == path
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(paths[0]) as picture:
        assert picture.format == "PNG"
        assert picture.height > picture.width > 800
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_names_descriptions_shapes_and_counts_are_all_shown() -> None:
    found = words(flowchart_figure(SMALL, title="A model", input_shape=INPUT))
    for layer in SMALL:
        assert layer.name in found
        assert layer.description in found
        assert f"{layer.parameters:,}" in found
        assert " × ".join(map(str, layer.output_shape)) in found
    assert {"A model", "input", "output", "150 × 150 × 3", "5,328,065 parameters"} <= set(found)


def test_one_arrow_leads_into_each_layer_and_one_out() -> None:
    for count in (1, 13, 80):
        figure = flowchart_figure(deep(count), input_shape=INPUT)
        assert len(figure.findobj(FancyArrowPatch)) == count + 1


def test_layers_run_from_top_to_bottom_and_wrap_into_columns() -> None:
    for count, columns in ((1, 1), (12, 1), (13, 2), (30, 3), (80, 5)):
        figure = flowchart_figure(deep(count), input_shape=INPUT)
        places = [(patch.get_x(), -patch.get_y()) for patch in boxes(figure)]
        assert len(places) == count
        assert places == sorted(places)
        assert len({x for x, _ in places}) == columns
        assert figure.get_figwidth() < 23
        assert figure.get_figheight() < 23


def test_the_bar_of_a_layer_is_as_long_as_its_share_of_all_parameters() -> None:
    layers = [Layer("a", "Dense 1", (1,), 3), Layer("b", "Flatten", (1,), 0)]
    figure = flowchart_figure([*layers, Layer("c", "Conv 1×1", (1,), 1)], input_shape=(1,))
    bars = [bar for bar in figure.findobj(Rectangle) if isinstance(bar, Rectangle)]
    full, first, same, second = (bar.get_width() for bar in bars if bar is not figure.patch)
    assert full == same
    assert first / full == pytest.approx(0.75)
    assert second / full == pytest.approx(0.25)
    found = words(figure)
    assert {"75.0\N{NO-BREAK SPACE}%", "25.0\N{NO-BREAK SPACE}%", "0"} <= set(found)


@pytest.mark.parametrize(
    ("description", "parameters", "kind"),
    [
        ("Conv 3×3, 32 → ReLU", 9, "convolution"),
        ("Depthwise conv 3×3", 9, "convolution"),
        ("Dense 64 → ReLU", 9, "dense"),
        ("Batch norm", 9, "normalisation"),
        ("LayerNorm", 9, "normalisation"),
        ("Layer norm", 9, "normalisation"),
        ("Max-pool 2×2", 0, "no parameters"),
        ("Flatten", 0, "no parameters"),
        ("Dropout 0.5", 0, "no parameters"),
        ("Attention, 12 heads", 9, "other"),
        ("", 9, "other"),
    ],
)
def test_the_kind_of_a_layer_follows_from_its_first_word(
    description: str, parameters: int, kind: str
) -> None:
    layer = Layer("x", description, (1,), parameters)
    kinds = {"convolution", "dense", "normalisation", "no parameters", "other"}
    assert kinds & set(words(flowchart_figure([layer], input_shape=(1,)))) == {kind}


def test_each_kind_has_a_colour_of_its_own() -> None:
    figure = flowchart_figure(SMALL, input_shape=INPUT)
    colors = [to_hex(patch.get_edgecolor()) for patch in boxes(figure)]
    assert colors[0] == colors[1]
    assert colors[4] == colors[5]
    assert len(set(colors)) == 4


def test_special_characters_are_shown_literally() -> None:
    found = words(flowchart_figure(ODD, title="$^$ title", input_shape=()))
    assert {"new\\nline", "$\\frac{$", "$^$ title", "Layer norm {}_\\", "scalar"} <= set(found)


def test_a_model_without_parameters_has_a_total_of_0(tmp_path: Path) -> None:
    layers = [Layer("flatten", "Flatten", (9,), 0)]
    assert "0 parameters" in words(flowchart_figure(layers, input_shape=(3, 3)))
    assert draw_flowchart(layers, tmp_path / "a.png", input_shape=(3, 3)).exists()


def test_no_layers_and_negative_counts_are_errors_that_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no layers to draw"):
        draw_flowchart([], tmp_path / "a.png", input_shape=INPUT)
    with pytest.raises(ValueError, match="'x' needs a parameter count from 0 up, got -1"):
        draw_flowchart([Layer("x", "", (1,), -1)], tmp_path / "a.png", input_shape=INPUT)
    assert not list(tmp_path.iterdir())
