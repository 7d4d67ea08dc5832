"""What a run is: one frozen, typed, fully defaulted tree of dataclasses.

A file in `configs/` names only what differs from the defaults here. Its `get_config()` returns an
`ml_collections.ConfigDict`; `reader.read_config` lays `--config.a.b=value` over it and turns
it at once into a `Config`, so that the rest of the program reads typed attributes and never asks
for a key that may be missing.
"""

from catsdogs_jax.config.learning import FinetuneConfig, ModelConfig, TrainConfig
from catsdogs_jax.config.pictures import AugmentConfig, DataConfig
from catsdogs_jax.config.run import CheckpointConfig, Config, EvalConfig, MeshConfig, RecordsConfig

__all__ = [
    "AugmentConfig",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "EvalConfig",
    "FinetuneConfig",
    "MeshConfig",
    "ModelConfig",
    "RecordsConfig",
    "TrainConfig",
]
