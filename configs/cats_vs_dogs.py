"""All of TensorFlow Datasets' cats_vs_dogs, downloaded by name.

    python -m catsdogs_jax.train --config configs/cats_vs_dogs.py

Not measured yet: the download needs the network. The length and the schedule are a starting point.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns what differs from the defaults of catsdogs_jax.config."""
    config = ml_collections.ConfigDict()
    config.data = {
        "source": "tfds",
        "name": "cats_vs_dogs",
        "image_size": 128,
        "batch_size": 64,
        "validation_share": 0.1,
        "test_share": 0.1,
    }
    config.model = {"name": "seed_cnn", "hidden": 128}
    config.augment = {"flip": True, "zoom": (0.8, 1.2)}
    config.train = {
        "epochs": 20,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warmup": 0.05,
        "ema_decay": 0.999,
    }
    config.eval = {"every_epochs": 1, "batch_size": 256}
    return config
