"""Promises of a plan: its figures are those of hand counts, and its search finds the edge."""

import dataclasses
import functools
import importlib.util
import math
import os
import re
import time
from pathlib import Path

import pytest

from catsdogs_jax import plan
from catsdogs_jax.config import Config
from catsdogs_jax.config.learning import FinetuneConfig
from catsdogs_jax.config.reader import config_from_dict, read_config
from catsdogs_jax.errors import UserError
from catsdogs_jax.planning import here, report
from catsdogs_jax.planning.absent import plan_for_tpus
from catsdogs_jax.planning.chips import CHIPS, chip_of
from catsdogs_jax.planning.collectives import Collective, summarized
from catsdogs_jax.planning.costs import Costs, StepCosts, TooLarge, compile_costs
from catsdogs_jax.planning.decoder import Decoder
from catsdogs_jax.planning.duration import duration_of, features_seconds
from catsdogs_jax.planning.here import plan_for_here
from catsdogs_jax.planning.largest import Largest, largest_batch, what_makes_it_fit
from catsdogs_jax.planning.problem import Problem, problem_of
from catsdogs_jax.task import Task
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.topology import absent_tpus

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
_QUICK = ("finetune", "seed_cnn")
PROBLEM = Problem(8000, 2000, Task("binary", ("a", "b")), "made up")
SEED_PARAMETERS = 1_212_513
SEED_FLOPS = 2 * (148**2 * 27 * 32 + 72**2 * 288 * 32 + 34**2 * 288 * 64 + 18496 * 64 + 64)
"""Of one forward pass over a picture: two for each weight and place that it is used at."""


def config_of(**groups: dict) -> Config:
    tree: dict[str, dict] = {
        "data": {"dir": "unused", "image_size": 150, "batch_size": 8},
        "train": {"epochs": 2, "ema_decay": 0.9},
        "model": {"convolutions": "native"},
    }
    return config_from_dict({name: {**tree.get(name, {}), **groups.get(name, {})} for name in tree})


@pytest.fixture(scope="module")
def costs() -> Costs:
    return compile_costs(config_of(), PROBLEM, make_sharding(8))


def test_memory_and_operations_are_those_of_a_hand_count(costs: Costs) -> None:
    assert costs.kept["parameters"] == costs.kept["average"] == 4 * SEED_PARAMETERS
    assert costs.kept["optimizer"] == pytest.approx(8 * SEED_PARAMETERS, rel=1e-4)
    assert costs.checkpoint == pytest.approx(16 * SEED_PARAMETERS, rel=1e-4)
    assert costs.kept["batch"] == 150 * 150 * 3 + 4 + 1 + 4
    # The first layer needs no gradient of the pictures. With one picture a device, what a step does
    # to each parameter counts too: Adam, the average, the norm, and the guard of a bad step.
    expected = 3 * SEED_FLOPS - 2 * 148**2 * 27 * 32 + 40 * SEED_PARAMETERS
    assert costs.train.flops == pytest.approx(expected, rel=0.1)
    assert costs.evaluate.flops == pytest.approx(SEED_FLOPS, rel=0.1)


def test_a_step_reduces_the_gradient_once_and_nothing_else(costs: Costs) -> None:
    (kind, _, size), *others = summarized(costs.train.collectives)
    assert (kind, others) == ("all-reduce", [])
    assert size == pytest.approx(4 * SEED_PARAMETERS, rel=1e-4)


def test_what_binds_a_step_is_its_longest_limit() -> None:
    chip = CHIPS["v5e"]
    step = StepCosts(197e10, 819e8, 0, [Collective("all-reduce", 10**9, 8)])
    times = step.seconds(chip)
    assert times["compute"] == pytest.approx(0.01)
    assert times["memory"] == pytest.approx(0.1)
    assert times["interconnect"] == pytest.approx(1.75e9 / 200e9)
    assert "bound by memory" in report.step("training step", step, chip)[0]


def needing(limit: int, per_picture: int, fixed: int) -> object:
    """Returns a function like `compile_costs` on one device with memory for `limit` bytes."""

    def compile_at(config: Config) -> Costs:
        temporary = per_picture * config.data.batch_size // (1 + (config.train.remat != "none"))
        if fixed + temporary > 2 * limit:
            raise TooLarge(fixed + temporary, limit)
        step = StepCosts(1.0, 1.0, temporary, [])
        return Costs({"parameters": fixed, "batch": 0}, step, step, fixed)

    return compile_at


@pytest.mark.parametrize("start", [8, 64, 4096])
def test_the_search_finds_the_largest_batch(start: int) -> None:
    compile_at, until = needing(100_000, 90, 10_000), time.monotonic() + 60
    config = config_of(data={"batch_size": start})
    try:
        first = compile_at(config)  # type: ignore[operator]
    except TooLarge:
        first = None
    found = largest_batch(config, first, 100_000, 8, compile_at, until)  # type: ignore[arg-type]
    assert found.refused is not None
    assert found.fits <= 1000 < found.refused
    assert found.fits % 8 == 0
    assert found.fits >= 1000 * 15 / 16 - 8


def test_a_run_that_does_not_fit_is_told_what_makes_it_fit() -> None:
    compile_at, until = needing(100_000, 90, 10_000), time.monotonic() + 60
    config = config_of(data={"batch_size": 1600})
    tried = dict(what_makes_it_fit(config, 100_000, 1, compile_at, until))  # type: ignore[arg-type]
    assert tried["--config.train.remat=products"]
    assert not tried["--config.model.dtype=bfloat16"]
    assert "fits with --config.train.remat=products" in report.changes(list(tried.items()))[1]
    refusal = report.refused(TooLarge(20 * 2**30, 16 * 2**30))
    assert "DOES NOT FIT: the compiler asks for 20.00 GiB of 16.00 GiB" in refusal[0]
    assert "--config.data.batch_size=512" in report.largest(Largest(512, 1024), 1600)[0]


def test_the_slower_of_step_and_input_sets_the_time() -> None:
    config = config_of(data={"cache_mb": 0, "disk_cache_mb": 0, "batch_size": 100})
    course, slow, fast = make_plan(config, 8000), Decoder(50, 1e4, 2), Decoder(5000, 1e4, 2)
    waiting = duration_of(config, PROBLEM, course, 0.1, 0.1, slow, 1)
    assert waiting.waits
    assert waiting.training == pytest.approx(160 * 2.0)
    flowing = duration_of(config, PROBLEM, course, 0.1, 0.1, fast, 1)
    assert not flowing.waits
    assert flowing.training == pytest.approx(160 * 0.1)
    assert flowing.evaluation == pytest.approx(2 * 20 * 0.1)
    four = duration_of(config, PROBLEM, course, 0.1, 0.1, slow, 40)
    assert four.training == pytest.approx(160 * 0.1)
    kept = config_of(data={"cache_mb": 10**6, "batch_size": 100})
    for hosts in (1, 40):  # Each decodes all.
        spent = duration_of(kept, PROBLEM, course, 0.1, 0.1, slow, hosts)
        assert spent.decoding == pytest.approx((PROBLEM.train + PROBLEM.validation) / 50)
    cost = report.length(flowing, config, 8, 1.2, "measured")[0]
    assert f"cost {1.2 * 8 * flowing.total / 3600:,.2f}" in cost


def test_a_probe_is_planned_without_a_training_step() -> None:
    probe = dataclasses.replace(
        config_of(), finetune=FinetuneConfig(weights="a.pth", depth="probe")
    )
    course = make_plan(probe, PROBLEM.train)
    assert course.steps == 0
    forward = compile_costs(probe, PROBLEM, make_sharding(8)).train.flops
    assert forward == pytest.approx(SEED_FLOPS, rel=0.1)  # One picture a device.
    seconds = features_seconds(probe, 0.3)
    assert seconds == pytest.approx(2 * 0.3)  # An evaluation sees no mirror image here.
    spent = duration_of(probe, PROBLEM, course, seconds, 0.3, Decoder(1e6, 1e4, 2), 1)
    assert spent.training == pytest.approx(8000 / 8 * 0.6)
    assert spent.evaluation == pytest.approx(2000 / 8 * 0.3)
    assert "0 steps, " in report.length(spent, probe, 8, None, "measured")[0]
    with pytest.raises(UserError, match="takes no step: leave --budget out"):
        plan_for_here(probe, PROBLEM, 60.0, None)


def test_the_problem_comes_from_flags_else_data_else_an_assumption(tmp_path: Path) -> None:
    config = config_of()
    given = problem_of(config, 1_000_000, 1000)
    assert (given.train, given.validation, given.task.outputs) == (800_000, 200_000, 1000)
    assert "assumed" in problem_of(config).source
    for number in range(10):
        path = tmp_path / ("cat" if number % 3 else "dog") / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.touch()  # A plan opens no picture.
    listed = problem_of(config_of(data={"dir": str(tmp_path)}))
    assert (listed.train, listed.validation) == (8, 2)
    assert listed.task == Task("binary", ("cat", "dog"))
    shares = {"test_share": 0.5, "validation_share": 0.4}  # The second of what the first leaves.
    for found in (
        problem_of(config_of(data={"dir": str(tmp_path), **shares})),
        problem_of(config_of(data=shares), 10),
    ):
        assert (found.train, found.validation) == (3, 2)
    kinds = {path.stem: problem_of(read_config(path)).task for path in CONFIGS}
    assert (kinds["quickstart"].kind, kinds["quickstart"].classes) == ("binary", ("cats", "dogs"))
    assert (kinds["multiclass"].kind, kinds["multiclass"].outputs) == ("multiclass", 8)
    assert (kinds["multilabel"].kind, kinds["multilabel"].outputs) == ("multilabel", 5)
    with pytest.raises(UserError, match="--classes 1"):
        problem_of(config, 10, 1)


@pytest.mark.heavy
def test_a_budget_chooses_epochs_that_fit_in_it() -> None:
    config = config_of(
        data={"image_size": 16, "batch_size": 8}, model={"widths": (4,), "hidden": 4}
    )
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, devices=1))
    small = Problem(16, 8, PROBLEM.task, "made up")
    text = "\n".join(plan_for_here(config, small, budget=30.0, price=None))
    assert "fits" in text
    assert "budget        30.0 s: --config.data.batch_size=" in text
    assert "pictures/s" in text
    with pytest.raises(UserError, match="too short for one epoch"):
        plan_for_here(config, PROBLEM, budget=1e-6, price=None)


def test_a_length_that_is_measured_is_planned_where_the_run_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = ["--config", "quickstart", "--config.train.budget=2h", "--topology"]
    with pytest.raises(UserError, match="train.budget is '2h'.*or plan there, --topology local"):
        plan.main([*flags, "v5e:2x4"])
    given = []
    monkeypatch.setattr(here, "plan_for_here", lambda *all: given.append(all[2]) or [])
    plan.main([*flags, "local"])
    assert given == [7200.0]


def test_what_a_plan_does_not_count_is_told() -> None:
    taught = config_of(train={"epochs": 1, "teacher": "runs/other"})
    assert "not counted   the teacher" in report.head(taught, PROBLEM, "here")[-1]


def test_bad_flags_are_named() -> None:
    with pytest.raises(UserError, match="'v7:2x2' is not local or KIND:SHAPE"):
        chip_of("v7:2x2")
    assert plan.parse_duration("25m") == 1500
    assert plan.parse_duration("1h30m") == 5400  # As `train.budget` has it.
    for slices, topology in (("0", "v5e:2x4"), ("2", "local")):
        flags = ["--config", str(CONFIGS[0]), "--topology", topology, "--slices", slices]
        with pytest.raises(UserError, match=f"--slices {slices} --topology {topology}"):
            plan.main(flags)
    for text in ("25", "0m", "m", "1d"):
        with pytest.raises(UserError, match="is no duration"):
            plan.parse_duration(text)


@pytest.fixture
def tpu_compiler() -> None:
    if importlib.util.find_spec("libtpu") is None:
        message = "no TPU compiler: uv run --extra tpu pytest tests/planning"
        if os.environ.get("CATSDOGS_REQUIRE_TPU_COMPILER") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.usefixtures("tpu_compiler")
@pytest.mark.parametrize("topology", ["v5e:2x4", pytest.param("v4:2x2x1", marks=pytest.mark.heavy)])
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.heavy] * (path.stem not in _QUICK))
        for path in CONFIGS
    ],
)
def test_every_config_is_planned_for_tpus(path: Path, topology: str) -> None:
    text, config = planned(path, topology), read_config(path)
    trains = make_plan(config, problem_of(config).train).steps > 0
    alone = ("pictures compiled and fit", "all-reduce") if trains else ("a probe is fitted to",)
    for words in ("fits: ", "bound by", "cost", *alone):
        assert words in text


@functools.cache
def planned(path: Path, topology: str) -> str:
    config = read_config(path)
    return "\n".join(plan_for_tpus(config, problem_of(config), topology, price=1.2, seconds=0))


@pytest.mark.usefixtures("tpu_compiler")
@pytest.mark.parametrize("fsdp", [1, pytest.param(8, marks=pytest.mark.heavy)])
def test_between_slices_only_parts_of_the_gradient_cross(fsdp: int) -> None:
    config = config_of(data={"batch_size": 64})
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, fsdp=fsdp))
    sharding = absent_tpus("v5e:2x4", config.mesh, slices=2)
    assert sharding.mesh.shape == {"data": 16 // fsdp, "fsdp": fsdp}
    of_slice = [device.slice_index for device in sharding.mesh.devices.flat]
    assert of_slice == sorted(of_slice)
    exchanged = compile_costs(config, PROBLEM, sharding).train.collectives
    crossing = [each for each in exchanged if each.between_slices]
    assert {each.group for each in crossing} == {2}
    # Each of the eight chips of a slice exchanges its share of the sums.
    assert sum(each.size for each in crossing) == pytest.approx(4 * SEED_PARAMETERS / 8, rel=0.1)
    assert {each.group for each in exchanged if not each.between_slices} == {8}


@pytest.mark.usefixtures("tpu_compiler")
@pytest.mark.heavy
def test_memory_and_operations_of_a_resnet_50_are_those_of_a_hand_count() -> None:
    plan = planned(next(path for path in CONFIGS if path.stem == "pod"), "v5e:2x4")
    weights, norms, products = resnet50_by_hand()
    stated = re.findall(r"([\d.,]+) (?:MiB|GFLOP)", plan.split("parameters", 1)[1])
    parameters, optimizer = float(stated[0]), float(stated[1])
    assert parameters == optimizer == pytest.approx((weights + norms) * 4 / 2**20, abs=0.01)
    step, evaluation = (
        float(re.findall(rf"{name} +([\d,]+) GFLOP", plan)[0].replace(",", ""))
        for name in ("training step", "evaluation")
    )
    a_device = 2 * products * 1024 / 8 / 1e9
    stem = 2 * 112**2 * 147 * 64 * 1024 / 8 / 1e9
    assert step == pytest.approx(3 * a_device - stem, rel=0.03)
    assert evaluation == pytest.approx(a_device, rel=0.03)


@pytest.mark.usefixtures("tpu_compiler")
@pytest.mark.heavy
def test_all_passes_of_an_accumulated_gradient_are_counted() -> None:
    flops = []
    for microbatch in (32, 8):
        config = config_of(data={"batch_size": 32}, train={"microbatch": microbatch})
        flops.append(
            compile_costs(config, PROBLEM, absent_tpus("v5e:2x4", config.mesh)).train.flops
        )
    assert flops[1] == pytest.approx(flops[0], rel=0.1)


def resnet50_by_hand() -> tuple[int, int, int]:
    """Returns weights, values of norms and bias, and products a picture of 224, for one output."""
    kernels = [(112, 7 * 7 * 3, 64)]  # Side of the output, inputs of a sum, outputs.
    side, inputs = 56, 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            before = side
            if stage and not block:
                side //= 2
            kernels += [(before, inputs, width), (side, 9 * width, width), (side, width, 4 * width)]
            if not block:
                kernels.append((side, inputs, 4 * width))
            inputs = 4 * width
    norms = sum(2 * outputs for _, _, outputs in kernels)
    weights = sum(sums * outputs for _, sums, outputs in kernels) + 2048
    return weights, norms + 1, sum(s * s * sums * n for s, sums, n in kernels) + 2048


@pytest.mark.usefixtures("tpu_compiler")
def test_a_step_that_is_too_large_for_tpus_is_refused_with_the_need() -> None:
    config = config_of(data={"batch_size": 4 * 16384})
    with pytest.raises(TooLarge) as refusal:
        compile_costs(config, PROBLEM, absent_tpus("v5e:2x2", config.mesh))
    assert refusal.value.needed > refusal.value.available
    assert math.isclose(refusal.value.available, 15.75 * 2**30)
