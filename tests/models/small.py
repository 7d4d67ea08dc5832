"""Every registered model in a size that compiles quickly."""

from typing import Any

import pytest

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models import model_names

STAGED = {"widths": (8, 16), "depths": (1, 1), "dropout": 0.1, "drop_path": 0.1}
VIT = {"widths": (64,), "depths": (1,), "dropout": 0.1, "drop_path": 0.1}
LITE = {"widths": (8,) * 7, "depths": (1, 1, 2, 1, 1, 1, 1), "dropout": 0.1, "drop_path": 0.1}
SMALL: dict[str, dict[str, Any]] = {
    "seed_cnn": {"widths": (4, 6), "hidden": 8},
    "resnet_small": {**STAGED, "antialias": True},
    "resnet18": STAGED,
    "resnet34": STAGED,
    "resnet50": STAGED,
    "efficientnet_lite0": LITE,
    "efficientnet_lite1": LITE,
    "efficientnet_lite2": LITE,
    "convnext_tiny": STAGED,
    "vit_tiny": VIT,
    "vit_small": VIT,
}
"""How each model is made small; one that is not named here is built as it is."""

_LIGHT = ("seed_cnn", "resnet_small", "vit_tiny")


def every_model() -> list[Any]:
    """Returns the names of all models as parameters of a test, most as heavy: they compile long."""
    return [
        name if name in _LIGHT else pytest.param(name, marks=pytest.mark.heavy)
        for name in model_names()
    ]


def small_config(name: str, **options: Any) -> ModelConfig:
    """Returns the fields of a small model of a name, and others."""
    return ModelConfig(name=name, **SMALL.get(name, {}), **options)
