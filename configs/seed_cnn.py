"""The experiment of the Keras notebook: 2,000 cats and dogs, a CNN of three convolutions.

    python -m catsdogs_jax.train --config configs/seed_cnn.py --config.data.dir=PHOTOS

Results, hardware and versions are in the README under "The seed's experiment". The average of the
weights (`ema_decay`) and of the views at evaluation (`mirror`, `zooms`) are ours; the rest is the
notebook's.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns what differs from the defaults of catsdogs_jax.config."""
    config = ml_collections.ConfigDict()
    config.data = {"source": "folder", "dir": "", "image_size": 150, "batch_size": 20}
    config.model = {"name": "seed_cnn", "widths": (32, 32, 64), "hidden": 64, "dropout": 0.5}
    config.augment = {"shear": 0.2, "zoom": (0.8, 1.2), "flip": True}
    config.train = {
        "epochs": 100,
        "steps_per_epoch": 50,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "ema_decay": 0.998,
    }
    config.eval = {"every_epochs": 1, "batch_size": 100, "mirror": True, "zooms": (0.85, 1.0, 1.15)}
    return config
