"""Weak and strong scaling on paper: uv run --extra tpu python -m benchmarks.scaling --plot FILE."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness import OURS, Row, arguments, single, write
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.planning.chips import CHIPS
from catsdogs_jax.planning.costs import compile_costs
from catsdogs_jax.planning.problem import Problem
from catsdogs_jax.planning.scaling import V5E_PODS, Scaled, Work, at_scale, pictures_of_host
from catsdogs_jax.reporting import style
from catsdogs_jax.task import Task
from catsdogs_jax.training.topology import absent_tpus

_TOPOLOGY, _CHIPS = "v5e:2x4", 8
MODELS = {"seed_cnn": 150, "resnet50": 224, "vit_small": 224}
_FEW, _MANY = 32, 128
_BATCH_OF_A_CHIP, _GLOBAL_BATCH = 128, 8192
_COUNTS = [4**n for n in range(7)]


def config_of(model: str, pictures_of_a_chip: int) -> Config:
    """Returns a run of a model in bfloat16."""
    overrides = {
        "data.dir": "unused",
        "data.image_size": str(MODELS[model]),
        "data.batch_size": str(pictures_of_a_chip * _CHIPS),
        "model.name": model,
        "model.dtype": "bfloat16",
    }
    base = "seed_cnn" if model == "seed_cnn" else "cats_vs_dogs"
    if base != "seed_cnn":
        overrides |= {"model.widths": "", "model.hidden": "none", "model.dropout": "none"}
    return read_config(f"configs/{base}.py", overrides)


def work_of(model: str) -> Work:
    """Compiles the step for two batches, and tells what is fixed from what each picture costs."""
    problem = Problem(1_281_167, 50_000, Task("binary", ("cats", "dogs")), "ImageNet's")
    sharding = absent_tpus(_TOPOLOGY)
    few, many = (
        compile_costs(config_of(model, count), problem, sharding) for count in (_FEW, _MANY)
    )

    def line(at_few: float, at_many: float) -> tuple[float, float]:
        each = (at_many - at_few) / (_MANY - _FEW)
        return max(0.0, at_few - each * _FEW), each

    return Work(
        line(few.train.flops, many.train.flops),
        line(few.train.accessed, many.train.accessed),
        float(few.kept["parameters"]),
    )


class Point(NamedTuple):
    """A model on so many chips; pairs go from no overlap of exchange and work to a full one."""

    model: str
    chips: int
    efficiency: tuple[float, float]
    pictures: float
    pictures_of_host: float
    speedup: tuple[float, float]


def points(works: dict[str, Work]) -> Iterator[Point]:
    """Yields each model at each number of chips."""
    for model, work in works.items():
        weak, strong = curves(work)
        for one, other in zip(weak, strong, strict=True):
            share = one.pictures_apart / one.chips / weak[0].pictures_apart
            best = one.pictures / one.chips / weak[0].pictures
            fed = pictures_of_host(one, V5E_PODS)
            gain = other.pictures_apart / strong[0].pictures_apart
            most = other.pictures / strong[0].pictures
            yield Point(model, one.chips, (share, best), one.pictures, fed, (gain, most))


def table(works: dict[str, Work]) -> str:
    """Returns a Markdown table of each model at each number of chips."""
    lines = [
        "| model | chips | weak: efficiency | pictures/s | pictures/s a host | strong: speedup |",
        "|---|---|---|---|---|---|",
    ]
    for point in points(works):
        (share, best), (gain, most) = point.efficiency, point.speedup
        lines.append(
            f"| {point.model} | {point.chips:,} | {share:.0%} to {best:.0%} "
            f"| {point.pictures:,.0f} | {point.pictures_of_host:,.0f} "
            f"| {gain:,.0f} to {most:,.0f} x |"
        )
    return "\n".join(lines)


def rows(works: dict[str, Work]) -> list[Row]:
    """Returns the table as data; the value of a range is its lower end."""
    found = []
    for point in points(works):
        case = f"{point.model}, {point.chips:,} chips"
        share, best = (100 * end for end in point.efficiency)
        gain, most = point.speedup
        found += [
            Row(f"{case}, weak: efficiency", OURS, share, "%", None, share, best, 1),
            single(f"{case}, weak: all", point.pictures, "images/s"),
            single(f"{case}, weak: a host", point.pictures_of_host, "images/s"),
            Row(f"{case}, strong: speedup", OURS, gain, "x", None, gain, most, 1),
        ]
    return found


def curves(work: Work) -> tuple[list[Scaled], list[Scaled]]:
    """Returns the steps of weak and of strong scaling at each number of chips."""
    chip = CHIPS["v5e"]
    weak = [at_scale(work, _BATCH_OF_A_CHIP * n, n, chip, V5E_PODS) for n in _COUNTS]
    return weak, [at_scale(work, _GLOBAL_BATCH, n, chip, V5E_PODS) for n in _COUNTS]


def draw(works: dict[str, Work], path: Path) -> None:
    """Draws both scalings; bands go from no overlap of exchange and work to a full one."""
    width, height = 9.0, 4.4
    figure = style.new_figure(width, height)
    title = "Scaling on paper: TPU v5e, bfloat16, data parallel"
    style.write(figure, 0.15, height - 0.15, title, size=style.TITLE, bold=True, va="top")
    note = "Bands: from no overlap of exchange and work (lower edge) to a full one. Dashed: ideal."
    style.write(figure, 0.15, 0.15, note, size=style.NOTE, color=style.MUTED, va="bottom")
    weak_title = f"Weak: {_BATCH_OF_A_CHIP} pictures a chip, efficiency"
    strong_title = f"Strong: {_GLOBAL_BATCH:,} pictures in all, speedup"
    weak_axes = _panel(figure, 0.75, weak_title)
    strong_axes = _panel(figure, 5.25, strong_title)
    shares = [0.9, 0.92, 0.94, 0.96, 0.98, 1.0]
    weak_axes.set_yticks(shares, [f"{share:.0%}" for share in shares])
    weak_axes.set_ylim(0.895, 1.005)
    weak_axes.axhline(1, color=style.RULE, linestyle="--", linewidth=1)
    strong_axes.set_yscale("log", base=2)
    strong_axes.set_yticks(_COUNTS, [f"{n:,}" for n in _COUNTS])
    strong_axes.minorticks_off()
    strong_axes.plot(_COUNTS, _COUNTS, color=style.RULE, linestyle="--", linewidth=1, marker="")
    for (model, work), color in zip(works.items(), style.PALETTE, strict=False):
        weak, strong = curves(work)
        _band(weak_axes, weak, color, model, by_chip=True)
        _band(strong_axes, strong, color, model, by_chip=False)
    weak_axes.legend(frameon=False, loc="lower left", fontsize=style.TICK)
    style.save(figure, path)


def _panel(figure: Figure, left: float, title: str) -> Axes:
    axes = style.new_axes(figure, left, 0.95, 3.5, 2.55)
    axes.set_title(title, fontsize=style.LABEL)
    axes.set_xscale("log", base=2)
    axes.set_xticks(_COUNTS, [f"{n:,}" for n in _COUNTS])
    axes.minorticks_off()
    axes.set_xlabel("chips", fontsize=style.TICK)
    shown = dict.fromkeys(("bottom", "left", "labelbottom", "labelleft"), True)
    axes.tick_params(color=style.RULE, labelcolor=style.INK, labelsize=style.TICK, **shown)
    axes.grid(visible=True, axis="y", color=style.GRID, linewidth=0.8)
    axes.spines["bottom"].set_visible(True)
    return axes


def _band(axes: Axes, points: list[Scaled], color: str, model: str, *, by_chip: bool) -> None:
    lower, upper = (
        [
            getattr(point, name) / getattr(points[0], name) / (point.chips if by_chip else 1)
            for point in points
        ]
        for name in ("pictures_apart", "pictures")
    )
    axes.fill_between(_COUNTS, lower, upper, color=color, alpha=0.25, linewidth=0)
    axes.plot(_COUNTS, lower, color=color, linewidth=1.6, marker="o", label=model)


def main() -> None:
    """Compiles, prints a table, draws."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the curves")
    flags = parser.parse_args()
    works = {model: work_of(model) for model in (["seed_cnn"] if flags.quick else MODELS)}
    versions = {name: importlib.metadata.version(name) for name in ("jax", "libtpu")}
    print(f"\n{', '.join(f'{k} {v}' for k, v in versions.items())}\n")
    print(table(works))
    write(rows(works), versions, flags)
    if flags.plot:
        draw(works, flags.plot)


if __name__ == "__main__":
    main()
