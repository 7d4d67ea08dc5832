"""Trains a ResNet-50 on ImageNet, on a slice of TPUs or GPUs: 90 epochs, batches of 1,024.

    catsdogs plan --config configs/pod.py --topology v5e:4x4 --pictures 1331167 --classes 1000
    catsdogs train --config configs/pod.py --config.data.dir=FOLDER

The first says, on any machine, whether it fits, what binds it and how long it takes; docs/launch.md
says how to start the second on several hosts. It was compiled for TPUs that are not there, never
run at this size.
The rate is that of Goyal et al., 2017 (https://arxiv.org/abs/1706.02677), scaled to the batch, with
its warm-up of five epochs.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns what differs from the defaults of catsdogs_jax.config."""
    config = ml_collections.ConfigDict()
    config.data = {
        "source": "folder",
        "dir": "",
        "image_size": 224,
        "resize": "crop",
        "batch_size": 1024,
    }
    config.model = {"name": "resnet50", "dtype": "bfloat16"}
    config.augment = {"flip": True, "crop": (0.08, 1.0), "margin": 1.15}
    config.train = {
        "epochs": 90,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "base_batch": 256,
        "momentum": 0.9,
        "schedule": "cosine",
        "warmup": 5 / 90,
        "weight_decay": 1e-4,
        "label_smoothing": 0.1,
    }
    config.eval = {"every_epochs": 1, "batch_size": 1024}
    return config
