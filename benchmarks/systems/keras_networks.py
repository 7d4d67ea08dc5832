"""The networks of the benchmarks, written in Keras."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

layers = keras.layers


def seed_cnn(size: int) -> Any:
    """Returns the notebook's network, with a logit in place of the sigmoid."""
    model = keras.Sequential([keras.Input((size, size, 3))])
    for width in (32, 32, 64):
        model.add(layers.Conv2D(width, 3, activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(1))
    return model


def resnet18(size: int) -> Any:
    """Returns torchvision's ResNet-18 with one logit, but for Keras's padding and epsilon."""
    inputs = keras.Input((size, size, 3))
    x = layers.ReLU()(_conv_norm(inputs, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for width in (64, 128, 256, 512):
        for stride in (1 if width == 64 else 2, 1):
            branch = layers.ReLU()(_conv_norm(x, width, 3, stride))
            branch = _conv_norm(branch, width, 3)
            if stride > 1:
                x = _conv_norm(x, width, 1, stride)
            x = layers.ReLU()(layers.add([x, branch]))
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))


def efficientnet_lite0(size: int) -> Any:
    """Returns EfficientNet-Lite0 with 1,000 logits, as in tensorflow/tpu."""
    inputs = keras.Input((size, size, 3))
    x = layers.ReLU(6)(_conv_norm(inputs, 32, 3, 2))
    for count, kernel, first, factor, width in (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ):
        for number in range(count):
            x = _inverted(x, kernel, 1 if number else first, factor, width)
    x = layers.ReLU(6)(_conv_norm(x, 1280, 1))
    return keras.Model(inputs, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))


NETWORKS: Mapping[str, Callable[[int], Any]] = {"seed_cnn": seed_cnn, "resnet18": resnet18}
"""Those that are trained."""


def _inverted(x: Any, kernel: int, stride: int, factor: int, width: int) -> Any:
    channels = x.shape[-1]
    y = layers.ReLU(6)(_conv_norm(x, channels * factor, 1)) if factor > 1 else x
    y = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)(y)
    y = layers.ReLU(6)(layers.BatchNormalization()(y))
    y = _conv_norm(y, width, 1)
    return layers.add([x, y]) if stride == 1 and channels == width else y


def _conv_norm(x: Any, width: int, kernel: int, stride: int = 1) -> Any:
    x = layers.Conv2D(width, kernel, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)
