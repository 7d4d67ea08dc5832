"""From the content of a page to its HTML."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from catsdogs_jax.reporting.confusion import confusion_figure
from catsdogs_jax.reporting.curves import curve_figure
from catsdogs_jax.reporting.flowchart import flowchart_figure
from catsdogs_jax.reporting.page import charts
from catsdogs_jax.reporting.page.content import Content


def write_page(content: Content, path: Path) -> Path:
    """Writes the page of a run; a reader sees the old file or the whole new one.

    Returns:
        `path`.
    """
    return save(render(content), path)


def save(page: str, path: Path) -> Path:
    """Writes a page in one piece, and its folder if there is none; returns `path`."""
    draft = path.with_name(f".{path.name}.draft")
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(page, encoding="utf-8")
    return draft.replace(path)


def render(content: Content) -> str:
    """Returns the page: HTML that refers to no other file; names are escaped."""
    return template("report.html.j2").render(
        page=content,
        charts=_charts(content),
        config=json.dumps(content.config, indent=2),
    )


def template(name: str) -> jinja2.Template:
    """Returns a template of this folder that escapes whatever it is given."""
    return _environment().get_template(name)


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["jpeg"] = lambda data: charts.data_uri(data, "image/jpeg")
    made.filters["printable"] = printable
    return made


def printable(text: str) -> str:
    """Returns a name with what no page can show (lone surrogates, controls) as escapes."""
    return re.sub(
        r"[\ud800-\udfff\x00-\x1f\x7f]",
        lambda found: found.group().encode("unicode_escape", "surrogatepass").decode("ascii"),
        text,
    )


def _charts(content: Content) -> Mapping[str, Any]:
    curves = [
        charts.svg_uri(curve_figure(content.rows, metric, best_step=content.best_step))
        for metric in ("accuracy", "loss")
    ]
    matrix = confusion_figure(
        content.confusion, content.classes, title=f"Confusion, {content.split} pictures"
    )
    lines = [
        (content.roc, "ROC", "false-positive rate", "recall", True),
        (content.precision_recall, "Precision and recall", "recall", "precision", False),
    ]
    unit = [
        charts.svg_uri(charts.lines_figure(*shown[:4], diagonal=shown[4]))
        for shown in lines
        if shown[0]
    ]
    as_uri = charts.svg_uri if charts.is_small(content.confusion) else charts.png_uri
    flow = flowchart_figure(content.layers, title="", input_shape=content.input_shape)
    return {
        "curves": curves,
        "confusion": as_uri(matrix),
        "unit": [*unit, charts.svg_uri(charts.reliability_figure(content.reliability))],
        "flowchart": charts.svg_uri(flow),
    }
