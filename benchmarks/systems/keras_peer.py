"""Keras, on TensorFlow or on JAX."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.systems.tuning import tune_allocator

Work = tuple[Callable[[], float], str, list[str]]


def _start(variant: str) -> str:
    backend = "jax" if "jax" in variant else "tensorflow"
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tune_allocator(variant)
    return backend


def _trained(network: str, size: int) -> Any:
    """Returns a network compiled as in the notebook, but on logits."""
    import keras

    from benchmarks.systems.keras_networks import NETWORKS  # Keras: its backend is set by now.

    model = NETWORKS[network](size)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def train_step(
    variant: str, *, size: int, batch: int, steps: int, network: str = "seed_cnn"
) -> Work:
    """`train_on_batch` of float pictures."""
    backend = _start(variant)
    model = _trained(network, size)
    rng = np.random.default_rng(0)
    pictures = rng.random((batch, size, size, 3), np.float32)
    targets = rng.integers(0, 2, (batch, 1)).astype(np.float32)

    def work() -> float:
        for _ in range(steps):
            model.train_on_batch(pictures, targets)
        return float(steps * batch)

    work()
    return work, "images/s", ["keras", backend]


def forward(variant: str, *, size: int, batch: int, steps: int) -> Work:
    """EfficientNet-Lite0 without gradients: `predict_on_batch` of float pictures."""
    backend = _start(variant)
    from benchmarks.systems.keras_networks import efficientnet_lite0

    model = efficientnet_lite0(size)
    pictures = np.random.default_rng(0).random((batch, size, size, 3), np.float32)

    def work() -> float:
        for _ in range(steps):
            model.predict_on_batch(pictures)
        return float(steps * batch)

    work()
    return work, "images/s", ["keras", backend]


def epoch(variant: str, *, folder: str, batch: int, steps: int) -> Work:
    """The notebook's loop: `ImageDataGenerator.flow_from_directory` and `fit`."""
    backend = _start(variant)
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    model = _trained("seed_cnn", 150)
    generator = ImageDataGenerator(
        rescale=1.0 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True
    )
    flow = generator.flow_from_directory(
        f"{folder}/train", target_size=(150, 150), batch_size=batch, class_mode="binary"
    )

    def work() -> float:
        model.fit(flow, steps_per_epoch=steps, epochs=1, verbose=0)
        return float(steps * batch)

    work()
    return work, "images/s", ["keras", backend, "pillow", "scipy"]


def read(variant: str, *, folder: str, size: int, batch: int) -> Work:
    """`keras.utils.image_dataset_from_directory`, which is tf.data."""
    _start("tensorflow")
    import keras

    made: Any = keras.utils.image_dataset_from_directory(
        f"{folder}/train", image_size=(size, size), batch_size=batch, verbose=False
    )
    cached = made.cache() if variant == "cached" else made
    dataset = cached.prefetch(2)

    def work() -> float:
        return float(sum(len(pictures) for pictures, _ in dataset.as_numpy_iterator()))

    work()
    return work, "images/s", ["keras", "tensorflow"]
