"""Promises of the choice among ways to compute a step."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training import compilation, fastest
from catsdogs_jax.training.compilation import compile_or_recall
from catsdogs_jax.training.formulation import Formulation, candidates, from_dict
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import Trainer, build_trainer

Tiny = Callable[..., Config]
WIDE = {"widths": (16, 32), "dropout": 0.5}
"""Channels that fill the vectors of any CPU."""


@dataclasses.dataclass
class Devices:
    platform: str
    device_count: int


def offered(config: Config, platform: str, count: int, **model: bool) -> list[Formulation]:
    devices: Any = Devices(platform, count)
    return candidates(
        config, devices, **{"kernels": True, "statistics": False, "layers": 5, **model}
    )


def trainer_of(config: Config, formulation: Formulation) -> Trainer:
    preprocessing = Preprocessing(config.data.image_size, "stretch", Task("binary", ("a", "b")))
    plan, sharding = make_plan(config, 24), make_sharding(1)
    return build_trainer(config, preprocessing, sharding, plan, (), formulation)


def choose(config: Config, recorded: dict | None = None) -> Formulation:
    preprocessing = Preprocessing(config.data.image_size, "stretch", Task("binary", ("a", "b")))
    plan, sharding = make_plan(config, 24), make_sharding(1)
    made = fastest.fastest_trainer(config, preprocessing, sharding, plan, (), recorded)
    return made.formulation


@pytest.mark.parametrize(("platform", "count"), [("gpu", 1), ("tpu", 8), ("cpu", 8)])
def test_accelerators_and_many_devices_keep_the_native_operations(
    tiny: Tiny, platform: str, count: int
) -> None:
    assert offered(tiny(), platform, count) == [Formulation("native", 8)]


def test_one_cpu_has_a_choice_unless_the_config_pins_it(tiny: Tiny) -> None:
    config = tiny(data={"image_size": 100})
    assert offered(config, "cpu", 1) == [Formulation("compiled", 8), Formulation("native", 1)]
    large = tiny(data={"image_size": 150, "batch_size": 48})
    kernels = [one.microbatch for one in offered(large, "cpu", 1) if one.convolutions != "native"]
    assert kernels == [16, 48]
    for name in ("compiled", "native"):
        pinned = tiny(model={"convolutions": name}, train={"microbatch": 2})
        assert offered(pinned, "cpu", 1) == [Formulation(name, 2)]


def test_statistics_of_a_batch_need_the_whole_of_it(tiny: Tiny) -> None:
    config = tiny(data={"image_size": 100})
    found = offered(config, "cpu", 1, statistics=True, kernels=False)
    assert found == [Formulation("native", 8)]


def test_kernels_where_they_cannot_run_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"needs one CPU device, not 8 x tpu.*mesh.devices=1"):
        offered(tiny(model={"convolutions": "compiled"}), "tpu", 8)


def test_kernels_that_fit_no_layer_are_refused_when_pinned(tiny: Tiny) -> None:
    config = tiny(model={"convolutions": "compiled", "dtype": "bfloat16"})
    with pytest.raises(UserError, match=r"fit no layer of seed_cnn in bfloat16.*leave it at auto"):
        offered(config, "cpu", 1, kernels=False)


@pytest.mark.heavy
def test_both_formulations_have_the_same_losses(tiny: Tiny) -> None:
    config = tiny(model=WIDE, augment={"flip": True, "zoom": (0.8, 1.2), "shear": 3.0})
    losses = []
    for formulation in (Formulation("compiled", 8), Formulation("native", 2)):
        trainer = trainer_of(config, formulation)
        state, found = trainer.initialize(), []
        rng = np.random.default_rng(0)
        for _ in range(4):
            values = {
                "image": rng.integers(0, 256, (8, 16, 16, 3)).astype(np.uint8),
                "target": rng.integers(0, 2, (8, 1)).astype(np.float32),
                "mask": np.ones(8, bool),
                "index": np.arange(8, dtype=np.int32),
            }
            batch = {k: jax.device_put(v, trainer.sharding.batch) for k, v in values.items()}
            state, metrics = trainer.train(state, batch)
            found.append(float(metrics["loss"]))
        losses.append(found)
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_what_was_measured_is_remembered_by_the_machine(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path))
    times = [{"compiled": 2.0, "native": 1.0}, {"compiled": 1.0, "native": 2.0}]

    class FakeTrial:
        def __init__(self, trainer: Trainer):
            self.trainer, self.seconds = trainer, times[0][trainer.formulation.convolutions]

        def step(self) -> None:
            pass

    monkeypatch.setattr(fastest, "Trial", FakeTrial)
    assert choose(tiny(model=WIDE)).convolutions == "native"
    times.pop(0)
    assert choose(tiny(model=WIDE)).convolutions == "native"
    # Another kind of step is measured on its own.
    assert choose(tiny(model={**WIDE, "hidden": 9})).convolutions == "compiled"


def test_a_run_that_goes_on_repeats_what_it_began_with(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "Trial", lambda _: pytest.fail("measured again"))
    began = {"convolutions": "native", "microbatch": 8}
    assert choose(tiny(model=WIDE), began) == Formulation("native", 8)


@pytest.mark.heavy
def test_a_real_measurement_ends_in_one_of_the_candidates(tiny: Tiny) -> None:
    assert choose(tiny(model=WIDE)).convolutions in ("compiled", "native")


def test_a_broken_memory_counts_as_none() -> None:
    assert from_dict(None) is None
    assert from_dict({"convolutions": "native"}) is None
    assert from_dict({"convolutions": "native", "microbatch": 1, "more": 2}) is None


def test_an_option_that_xla_does_not_know_is_left_out() -> None:
    class Lowered:
        def __init__(self, message: str):
            self.message = message

        def compile(self, compiler_options: Any = None) -> str:
            if compiler_options is not None:
                raise jax.errors.JaxRuntimeError(self.message)
            return "plain"

    unknown: Any = Lowered("INVALID_ARGUMENT: No such compile option: 'xla_cpu_x'")
    assert compile_or_recall(unknown) == ("plain", False)
    broken: Any = Lowered("INTERNAL: out of memory")
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        compile_or_recall(broken)


@pytest.mark.parametrize("known", [True, False])
def test_functions_outside_of_steps_are_compiled_with_the_options_that_xla_knows(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    option = {"xla_backend_optimization_level" if known else "xla_cpu_no_such": "0"}
    monkeypatch.setattr(compilation, "_DOTS_ALONE", option)
    monkeypatch.setattr(compilation, "_options", compilation._options.__wrapped__)
    given, real = [], jax.jit
    monkeypatch.setattr(jax, "jit", lambda f, **o: given.append(o) or real(f, **o))
    assert compilation.jit(lambda x: x + 1, static_argnums=())(1) == 2
    assert given[-1] == {"compiler_options": option if known else None, "static_argnums": ()}
