"""This library."""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from catsdogs_jax import runtime
from catsdogs_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.feed import Feed
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.fastest import fastest_trainer
from catsdogs_jax.training.formulation import Formulation
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import Trainer, build_trainer

Work = tuple[Callable[[], float], str, list[str]]
_CONFIG = "configs/seed_cnn.py"
_PACKAGES = ["jax", "jaxlib", "flax", "llvmlite"]


def plain_trainer(
    size: int, batch: int, network: str = "seed_cnn", way: Formulation | None = None
) -> Trainer:
    """Returns the trainer of a network without augmentation and moving average.

    Args:
        size: Side of the pictures.
        batch: Pictures in a step.
        network: Name of the model.
        way: How to compute a step; none: what is the fastest here.
    """
    config = Config(
        data=DataConfig(image_size=size, batch_size=batch),
        model=ModelConfig(name=network),
        train=TrainConfig(epochs=1, optimizer="adam", learning_rate=1e-3, schedule="constant"),
    )
    preprocessing = Preprocessing(size, "stretch", Task("binary", ("cat", "dog")))
    plan, sharding = make_plan(config, 2000), make_sharding(1)
    if way is not None:
        return build_trainer(config, preprocessing, sharding, plan, (), way)
    return fastest_trainer(config, preprocessing, sharding, plan, (), None)


def device_mebibytes(size: int, batch: int) -> dict[str, float]:
    """Returns what XLA plans for a training step: its arguments, and what it needs besides."""
    memory = plain_trainer(size, batch).train.compiled.memory_analysis()
    assert memory is not None
    sizes = {"arguments": memory.argument_size_in_bytes, "temporary": memory.temp_size_in_bytes}
    return {name: found / 2**20 for name, found in sizes.items()}


def _fed(trainer: Trainer, size: int, batch: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    values = {
        "image": rng.integers(0, 256, (batch, size, size, 3)).astype(np.uint8),
        "target": rng.integers(0, 2, (batch, 1)).astype(np.float32),
        "mask": np.ones(batch, bool),
        "index": np.arange(batch, dtype=np.int32),
    }
    return {name: jax.device_put(value, trainer.sharding.batch) for name, value in values.items()}


def _variables(trainer: Trainer) -> tuple[Any, Any]:
    """Returns parameters and statistics; to compile their own initialisation takes longer."""
    state, rng = trainer.abstract_state(), np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        # Variances, among the statistics, are positive.
        values = np.abs(rng.normal(0, 0.1, leaf.shape)).astype(leaf.dtype)
        return jax.device_put(values, leaf.sharding)

    return jax.tree.map(draw, (state.params, state.statistics))


def train_step(
    variant: str, *, size: int, batch: int, steps: int, network: str = "seed_cnn"
) -> Work:
    """Forward, backward and Adam on uint8 pictures; no augmentation."""
    runtime.start()
    trainer = plain_trainer(size, batch, network)
    fed = _fed(trainer, size, batch)
    state: Any = trainer.initialize()

    def work() -> float:
        nonlocal state
        for _ in range(steps):
            state, metrics = trainer.train(state, fed)
            float(metrics["loss"])  # Each system reads its loss after every step.
        return float(steps * batch)

    work()
    return work, "images/s", _PACKAGES


def forward(variant: str, *, size: int, batch: int, steps: int) -> Work:
    """The evaluation step of EfficientNet-Lite0 on uint8 pictures."""
    runtime.start()
    trainer = plain_trainer(size, batch, "efficientnet_lite0")
    fed, variables = _fed(trainer, size, batch), _variables(trainer)

    def work() -> float:
        for _ in range(steps):
            logits, _ = trainer.evaluate(*variables, fed)
            np.asarray(logits)
        return float(steps * batch)

    work()
    return work, "images/s", _PACKAGES


def epoch(variant: str, *, folder: str, batch: int, steps: int) -> Work:
    """An epoch of the notebook's experiment: read, augment, train; the pictures are cached."""
    runtime.start()
    config = read_config(_CONFIG, {"data.dir": folder, "data.batch_size": str(batch)})
    sharding, dataset = make_sharding(1), load_dataset(config)
    pictures = dataset.splits["train"]
    plan = make_plan(config, len(pictures))
    trainer = fastest_trainer(config, dataset.preprocessing, sharding, plan, (), None)
    state: Any = trainer.initialize()
    done = 0

    def work() -> float:
        nonlocal state, done
        batches = pictures.training_batches(done, done + steps, batch, config.seed)
        in_flight: deque[jax.Array] = deque()
        for fed in Feed(batches, sharding.batch):
            state, metrics = trainer.train(state, fed)
            in_flight.append(metrics["loss"])
            if len(in_flight) > 2:  # As the training loop does.
                in_flight.popleft().block_until_ready()
        jax.block_until_ready(state)
        done += steps
        return float(steps * batch)

    work()
    return work, "images/s", _PACKAGES


def read(variant: str, *, folder: str, size: int, batch: int) -> Work:
    """Files, or the cache, to batches on the device."""
    runtime.start()
    cached = variant == "cached"
    overrides = {"data.dir": folder, "data.image_size": str(size), "data.batch_size": str(batch)}
    overrides |= {"data.cache_mb": "4096" if cached else "0", "data.disk_cache_mb": "0"}
    config = read_config(_CONFIG, overrides)
    pictures: PictureSet = load_dataset(config).splits["train"]
    sharding, steps = make_sharding(1), len(pictures) // batch
    done = 0

    def work() -> float:
        nonlocal done
        batches = pictures.training_batches(done, done + steps, batch, 0)
        for fed in Feed(batches, sharding.batch):
            jax.block_until_ready(fed["image"])
        done += steps
        return float(steps * batch)

    work()
    return work, "images/s", ["jax", "tensorflow"]
