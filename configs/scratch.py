"""From scratch: a small ResNet that has seen nothing but the pictures it is given.

    python -m catsdogs_jax.train --config configs/scratch.py --config.data.dir=PHOTOS

Not measured to its end on this code; what was tried, docs/accuracy.md says. Fine-tuning
(configs/finetune.py) is far better, and takes minutes.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns what differs from the defaults of catsdogs_jax.config."""
    config = ml_collections.ConfigDict()
    config.data = {"source": "folder", "dir": "", "image_size": 128, "batch_size": 64}
    config.model = {"name": "resnet_small"}
    config.augment = {
        "flip": True,
        "crop": (0.25, 1.0),
        "rotate": 10.0,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "erase": 0.25,
        "mixup": 0.2,
        "cutmix": 1.0,
        "mix_probability": 0.5,
    }
    config.train = {
        "epochs": 150,
        "optimizer": "muon",
        "learning_rate": 2e-3,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "ema_decay": 0.998,
    }
    config.eval = {"every_epochs": 5, "batch_size": 40, "mirror": True}
    return config
