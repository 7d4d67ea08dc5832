"""Promises of the search for a learning rate."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors.numpy import save_file

from catsdogs_jax import find_lr
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import with_values
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import build_model, input_spec
from catsdogs_jax.training import lr_finder
from catsdogs_jax.training.lr_finder import Sweep, suggest, sweep, sweep_config
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.trainer import Trainer
from tests.models.small import STAGED

Tiny = Callable[..., Config]


def curve(losses: np.ndarray) -> Sweep:
    return Sweep(np.geomspace(1e-7, 10, len(losses)), losses, losses, True)


def test_the_steepest_rate_is_where_the_loss_falls_fastest() -> None:
    exponents = np.linspace(-7, 1, 161)
    fall = 1 / (1 + np.exp(4 * (exponents + 3)))  # Falls around 1e-3,
    losses = fall + np.where(exponents > -1, 10 * (exponents + 1), 0.0)  # and diverges from 0.1.
    found = suggest(curve(losses))
    assert found.steepest == pytest.approx(1e-3, rel=0.2)
    assert 1e-6 < found.valley < 1e-1


def test_the_valley_is_the_middle_of_the_longest_fall_over_small_rises() -> None:
    losses = np.concatenate([np.full(20, 2.0), np.linspace(2, 1, 41), np.linspace(1, 9, 20)])
    losses[30] += 0.2
    found = suggest(curve(losses))
    assert found.valley == pytest.approx(np.geomspace(1e-7, 10, 81)[40], rel=0.4)


def test_a_loss_that_only_rises_still_gets_an_answer() -> None:
    found = suggest(curve(np.linspace(1, 3, 50)))
    assert found.steepest < 1e-5
    assert found.valley < 1e-5


def test_a_fall_that_noise_explains_is_called_unclear() -> None:
    noise = np.random.default_rng(0).normal(1.0, 0.1, 200)
    average = lr_finder._smooth(noise.tolist())
    averages = np.array([next(average) for _ in noise])
    rates = np.geomspace(1e-7, 10, 200)
    assert not suggest(Sweep(rates, noise, averages, False)).clear
    falls = np.linspace(0, 0.5, 200)
    assert suggest(Sweep(rates, noise - falls, averages - falls, False)).clear


def swept(monkeypatch: pytest.MonkeyPatch, config: Config, losses: list[float]) -> Sweep:
    def given(*_: object) -> Iterator[float]:
        yield from losses

    monkeypatch.setattr(lr_finder, "_losses", given)
    anything: Any = None
    return sweep(sweep_config(config, 1e-4, 1e2), anything, anything, len(losses), anything)


def test_the_rates_rise_by_the_same_factor(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    found = swept(monkeypatch, tiny(train={"warmup": 0.5, "schedule": "one_cycle"}), [1.0] * 60)
    np.testing.assert_allclose(found.rates, 1e-4 * 10 ** (np.arange(60) / 10), rtol=1e-4)
    np.testing.assert_allclose(found.smoothed, 1.0)  # Without the bias of an average's start.
    assert not found.diverged


def test_pictures_are_drawn_as_the_run_draws_them(tiny: Tiny) -> None:
    config, given = tiny(data={"sampling": "balanced"}), []
    dataset: Any = SimpleNamespace(
        training=SimpleNamespace(training_batches=lambda *a: given.extend(a))
    )
    trainer: Any = SimpleNamespace(sharding=SimpleNamespace(batch=None))
    with pytest.raises(TypeError):  # There are no batches.
        next(lr_finder._losses(config, dataset, trainer, 7, None))  # type: ignore[arg-type]
    assert given == [0, 7, config.data.batch_size, config.seed, "balanced"]


@pytest.mark.parametrize("high", [1e3, float("nan"), float("inf")])
def test_the_sweep_ends_when_the_loss_diverges(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, high: float
) -> None:
    found = swept(monkeypatch, tiny(), [1.0] * 20 + [high] * 20)
    assert found.diverged
    assert 20 <= len(found.losses) <= 21
    assert np.isfinite(found.smoothed).all()
    with pytest.raises(UserError, match=r"diverged after \d steps.*--lowest"):
        swept(monkeypatch, tiny(), [1.0] * 5 + [high] * 20)


def test_the_command_draws_and_suggests(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[Trainer] = []

    def keep(*arguments: Any) -> Sweep:
        kept.append(arguments[2])
        return sweep(*arguments)

    monkeypatch.setattr(find_lr, "sweep", keep)
    monkeypatch.setattr(find_lr, "read_config", lambda *_: tiny())
    out = tmp_path / "rate.png"
    find_lr.main(["--config", "some.py", "--out", str(out), "--steps", "40"])
    with Image.open(out) as picture:
        assert picture.size == (1400, 860)
    words = capsys.readouterr().out
    assert ("--config.train.learning_rate=" in words) != ("--steps=160" in words)
    assert str(out) in words
    assert float(words.split("valley")[1].split(",")[0]) < 10
    assert kept[0].train.name == "training"


@pytest.mark.heavy
def test_the_sweep_begins_with_the_weights_and_colours_of_the_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: Path
) -> None:
    config = tiny(model={"name": "resnet_small", **STAGED, "hidden": "unset"})
    model = build_model(config.model, 16, 1, nnx.Rngs(5))
    flat = nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    weights = {".".join(map(str, key)): np.asarray(leaf[...]) for key, leaf in flat}
    save_file(weights, tmp_path / "weights.safetensors")
    given = with_values(config, {"finetune.weights": str(tmp_path / "weights.safetensors")})
    begun: list[Any] = []

    def look(_: Config, dataset: Dataset, trainer: Trainer, steps: int, state: TrainState) -> Sweep:
        begun.extend([dataset.preprocessing, jax.device_get(state.params)])
        return curve(np.linspace(2, 1, steps))

    monkeypatch.setattr(find_lr, "sweep", look)
    find_lr.find_learning_rate(given, tmp_path / "rate.png", steps=40)
    preprocessing, params = begun
    assert preprocessing.mean == input_spec("resnet_small").mean != (0.0, 0.0, 0.0)
    expected = weights["stem.layer.conv.kernel"]
    np.testing.assert_array_equal(params["stem"]["layer"]["conv"]["kernel"], expected)


def test_a_probe_has_no_rate_to_look_for(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(finetune={"weights": "some.safetensors", "depth": "probe"})
    with pytest.raises(UserError, match=r"probe, which takes no steps.*depth=all"):
        find_lr.find_learning_rate(config, tmp_path / "rate.png")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps", "3"], "--steps is 3"),
        (["--lowest", "1", "--highest", "0.1"], "--lowest is 1 and --highest 0.1"),
        (["--workdir", "/nowhere"], "'/nowhere' holds no run"),
    ],
)
def test_a_mistake_in_the_flags_is_named(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, flags: list[str], words: str
) -> None:
    monkeypatch.setattr(find_lr, "read_config", lambda *_: tiny())
    with pytest.raises(UserError, match=words):
        find_lr.main(["--config", "some.py", *flags])
