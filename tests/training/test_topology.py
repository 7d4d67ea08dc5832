"""Promises of the steps on TPUs, read from what the compiler makes for eight of them."""

import functools
import importlib.util
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import jax
import pytest

from catsdogs_jax.config import AugmentConfig
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.errors import UserError
from catsdogs_jax.planning.collectives import read_collectives
from catsdogs_jax.planning.costs import quick_compilation
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.resident import compile_steps, tile_rows
from catsdogs_jax.training.step import picture_keys, vary
from catsdogs_jax.training.topology import absent_tpus
from catsdogs_jax.training.trainer import CompiledStep, Trainer, build_trainer

SIDES = {"seed_cnn": 150, "resnet18": 128, "efficientnet_lite0": 224}
NORMS = {"resnet18": 20, "efficientnet_lite0": 49}
"""BatchNorms: the statistics of a batch are a sum over devices each, and so are their gradients."""

TRAINING = [*SIDES, "eight steps"]
STEPS = [*TRAINING, "evaluation"]


def each(names: Iterable[str]) -> list[Any]:
    """Returns names as parameters of a test; what takes the compiler a minute is heavy."""
    return [
        pytest.param(name, marks=pytest.mark.heavy) if name in NORMS else name for name in names
    ]


@pytest.fixture(autouse=True)
def _compiler(request: pytest.FixtureRequest) -> None:
    if importlib.util.find_spec("libtpu") is None and "unknown" not in request.node.name:
        message = "no TPU compiler: uv run --extra tpu pytest tests/training/test_topology.py"
        if os.environ.get("CATSDOGS_REQUIRE_TPU_COMPILER") == "1":
            pytest.fail(message)
        pytest.skip(message)


@functools.cache
def trainer_of(model: str) -> Trainer:
    side = SIDES[model]
    config = config_from_dict(
        {
            "data": {"dir": "unused", "image_size": side, "batch_size": 256},
            "model": {"name": model, "dtype": "bfloat16"},
            "augment": {"flip": True, "zoom": (0.8, 1.2), "shear": 0.2},
            "train": {"epochs": 1, "ema_decay": 0.999},
        }
    )
    preprocessing = Preprocessing(side, "stretch", Task("binary", ("a", "b")), mirror=True)
    sharding, plan = absent_tpus("v5e:2x4"), make_plan(config, 2000)
    return build_trainer(config, preprocessing, sharding, plan, ())


@functools.cache
def step_of(name: str) -> CompiledStep:
    """A training step of a model; or, of the seed CNN, eight in a call, or an evaluation step.

    What is read here, the compiler decides before it looks for the fastest loops.
    """
    trainer = trainer_of(name if name in SIDES else "seed_cnn")
    step = trainer.evaluate if name == "evaluation" else trainer.train
    if name == "eight steps":
        shape = (2000, tile_rows(150 * 150 * 3), 128)
        tiles = jax.ShapeDtypeStruct(shape, "uint8", sharding=trainer.sharding.replicated)
        step = compile_steps(trainer, tiles, 8)
    with quick_compilation():
        assert step.compiled
    return step


@functools.cache
def code_of(name: str) -> str:
    text = step_of(name).compiled.as_text()
    assert text is not None
    return text


def operations(code: str, *names: str) -> list[str]:
    """Returns the instructions of some kinds."""
    pattern = re.compile(rf" = [^=]*?\b({'|'.join(names)})(-start)?\(")
    return [line.strip() for line in code.splitlines() if pattern.search(line)]


@pytest.mark.parametrize("name", each(STEPS))
def test_the_model_computes_in_bfloat16(name: str) -> None:
    """All that is multiplied is bfloat16; only the sums of weight gradients are float32."""
    types = dict(re.findall(r"(%[\w.-]+) = (\w+)\[", code_of(name)))
    found = operations(code_of(name), "convolution")
    model = [c for c in found if not re.search(r"hwc->|hpc->", c)]
    assert len(model) >= 5
    for convolution in model:
        multiplied = re.findall(r"%[\w.-]+", convolution.split("convolution(")[1].split(")")[0])
        assert [types[one] for one in multiplied] == ["bf16", "bf16"], convolution


@pytest.mark.parametrize("name", each(STEPS))
def test_gradients_are_added_over_devices_in_float32(name: str) -> None:
    for reduction in operations(code_of(name), "all-reduce"):
        assert "bf16" not in reduction.split("all-reduce")[0], reduction


@pytest.mark.parametrize("model", each(SIDES))
def test_the_parameters_and_what_follows_them_stay_float32(model: str) -> None:
    state = trainer_of(model).abstract_state()
    followed = (state.params, state.optimizer, state.average)
    by_norms = (state.statistics, state.average_statistics) if model in NORMS else ()
    for tree in (*followed, *by_norms):
        types = {leaf.dtype for leaf in jax.tree.leaves(tree)}
        floats = {kind for kind in types if jax.numpy.issubdtype(kind, jax.numpy.floating)}
        assert floats == {jax.numpy.dtype("float32")}


@pytest.mark.parametrize("name", each(STEPS))
def test_devices_talk_in_few_reductions_and_nothing_else(name: str) -> None:
    others = ("all-gather", "reduce-scatter", "all-to-all", "collective-permute")
    assert operations(code_of(name), *others) == []
    # The number of pictures comes first, as the loss is divided by it; then sums and gradients.
    most = 3 + 2 * NORMS.get(name, 0)
    assert 1 <= len(operations(code_of(name), "all-reduce")) <= most


@pytest.mark.parametrize("name", each(STEPS))
def test_nothing_moves_between_host_and_device(name: str) -> None:
    assert operations(code_of(name), "infeed", "outfeed", "send", "recv") == []
    assert "callback" not in code_of(name)


@pytest.mark.parametrize("name", each([*SIDES, "evaluation"]))
def test_there_are_no_gathers_and_no_loops_over_pixels(name: str) -> None:
    assert operations(code_of(name), "gather", "while") == []


def test_several_steps_are_one_loop_and_copy_the_pictures_nowhere() -> None:
    text = code_of("eight steps")
    assert len(re.findall(r"\bwhile\(", text)) == 1
    made = re.findall(r"= u8\[2000,[\d,]+\]\S* ([\w-]+)\(", text)
    assert set(made) <= {"parameter", "get-tuple-element"}
    many, one = (step_of(name).compiled.memory_analysis() for name in ("eight steps", "seed_cnn"))
    assert many is not None
    assert one is not None
    pictures = 2000 * 150 * 150 * 3
    assert many.argument_size_in_bytes < one.argument_size_in_bytes + 1.05 * pictures


@pytest.mark.parametrize("name", each(TRAINING))
def test_the_state_is_updated_where_it_lies(name: str) -> None:
    state = step_of(name).arguments[1]
    memory = step_of(name).compiled.memory_analysis()
    assert memory is not None
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
    assert memory.alias_size_in_bytes >= sum(sizes)


@functools.cache
def sharded() -> tuple[Trainer, str]:
    """A ViT in parts on eight devices, none of which ends within a tile; and its machine code."""
    config = config_from_dict(
        {
            "data": {"dir": "unused", "image_size": 64, "batch_size": 64},
            "model": {
                "name": "vit_tiny",
                "widths": (1024,),
                "depths": (2,),
                "dtype": "bfloat16",
            },
            "train": {"epochs": 1, "optimizer": "adamw", "ema_decay": 0.999, "clip_norm": 1.0},
            "mesh": {"fsdp": 8},
        }
    )
    preprocessing = Preprocessing(64, "stretch", Task("binary", ("a", "b")))
    sharding, plan = absent_tpus("v5e:2x4", config.mesh), make_plan(config, 2000)
    trainer = build_trainer(config, preprocessing, sharding, plan, ())
    return trainer, trainer.train.compiled.as_text() or ""


def bytes_of(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_of_a_sharded_state_a_device_keeps_its_part_and_updates_it_where_it_lies() -> None:
    trainer, code = sharded()
    state, memory = trainer.abstract_state(), trainer.train.compiled.memory_analysis()
    assert memory is not None
    part, batch = bytes_of(state) / 8, bytes_of(dict(trainer.abstract_batch)) / 8
    assert memory.argument_size_in_bytes == pytest.approx(part + batch, rel=0.02)
    assert memory.alias_size_in_bytes == pytest.approx(part, rel=0.02)
    # All of the parameters are never there at once: those of a layer at a time.
    assert memory.temp_size_in_bytes < bytes_of(state.params) / 4
    assert operations(code, "infeed", "outfeed", "send", "recv") == []
    assert "callback" not in code


def test_sharded_parameters_are_gathered_twice_and_their_gradients_scattered() -> None:
    trainer, code = sharded()
    params = trainer.abstract_state().params
    whole = trainer.sharding.replicated
    parts = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.sharding != whole]
    assert len(parts) == 4 * 2 + 1
    patches = (16, 16, 3, 1024)  # Pictures have no gradient, so the backward pass needs it not.
    talk = read_collectives(code, 8)
    assert {each.group for each in talk} == {8}
    assert {each.kind for each in talk} == {"all-gather", "reduce-scatter", "all-reduce"}

    gathered = Counter(each.size for each in talk if each.kind == "all-gather")
    in_bfloat16 = [2 * math.prod(shape) for shape in (*parts, *parts)]
    assert gathered == Counter(in_bfloat16) - Counter([2 * math.prod(patches)])
    # The compiler cuts the gradient of the patches out of a whole sum.
    scattered = sum(each.size for each in talk if each.kind == "reduce-scatter")
    assert scattered == sum(4 * math.prod(shape) for shape in parts if shape != patches) / 8
    left = [leaf for leaf in jax.tree.leaves(params) if leaf.sharding == whole]
    summed = sum(each.size for each in talk if each.kind == "all-reduce")
    sums = 4 * math.prod(patches) + bytes_of(left)
    assert sums <= summed < sums + 1000  # Numbers such as the loss.


def test_gradients_of_sharded_parameters_are_added_in_float32() -> None:
    reductions = operations(sharded()[1], "all-reduce", "reduce-scatter")
    assert len(reductions) >= 9
    for reduction in reductions:
        assert "bf16" not in re.split("all-reduce|reduce-scatter", reduction, maxsplit=1)[0]


def test_two_processes_compile_for_tpus_at_once() -> None:
    absent_tpus("v5e:2x4")
    command = 'from catsdogs_jax.training.topology import absent_tpus; absent_tpus("v5e:2x4")'
    beside = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False
    )
    assert beside.returncode == 0, beside.stderr


def test_an_unknown_topology_is_an_error_with_the_mend() -> None:
    with pytest.raises(UserError, match="'v5e:9x9'.*libtpu"):
        absent_tpus("v5e:9x9")


def test_augmentation_makes_no_gathers_or_loops_and_moves_a_picture_to_a_neighbour_at_most() -> (
    None
):
    sharding = absent_tpus("v5e:2x4")
    everything: Any = AugmentConfig(
        flip=True, crop=(0.3, 1.0), rotate=20.0, policy="trivial", hue=0.1, mixup=0.4, cutmix=1.0
    )
    shapes = (((), "int32"), ((16, 24, 24, 3), "uint8"), ((16, 3), "float32"))
    placed = (sharding.replicated, sharding.batch, sharding.batch)
    step, images, targets = (
        jax.ShapeDtypeStruct(shape, dtype, sharding=place)
        for (shape, dtype), place in zip(shapes, placed, strict=True)
    )

    def varied(step: jax.Array, *batch: jax.Array) -> tuple[jax.Array, jax.Array]:
        return vary(everything, picture_keys(0, step, 16), *batch)

    text = jax.jit(varied).lower(step, images, targets).compile().as_text()
    assert text is not None
    strangers = ("gather", "while", "all-gather", "all-reduce", "all-to-all", "scatter", "sort")
    assert operations(text, *strangers) == []
    assert 1 <= len(operations(text, "collective-permute")) <= 2
