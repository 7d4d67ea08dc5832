"""Drawn cats and dogs, made by the package itself: a first run that needs no pictures."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns what differs from the defaults of catsdogs_jax.config."""
    config = ml_collections.ConfigDict()
    config.data = {"source": "drawn", "image_size": 64, "batch_size": 32}
    config.model = {"name": "seed_cnn", "dropout": 0.25}
    config.augment = {"flip": True, "zoom": (0.9, 1.1)}
    config.train = {
        "epochs": 8,
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "schedule": "one_cycle",
        "warmup": 0.2,
    }
    config.eval = {"every_epochs": 2, "batch_size": 120}
    return config
