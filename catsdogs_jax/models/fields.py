"""Checks of the fields of `config.model` against the model that is to read them."""

import dataclasses
from collections.abc import Collection, Sequence

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError

_OF_EVERY_MODEL = {"name", "dtype", "convolutions"}


def check_fields(config: ModelConfig, used: Collection[str]) -> None:
    """Checks that nothing was set that the model does not read.

    Args:
        config: The model's group of the config.
        used: Names of the fields that the model reads, besides name, dtype and convolutions.

    Raises:
        UserError: A field that the model does not read differs from its default.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in {*used, *_OF_EVERY_MODEL} and value != field.default:
            raise UserError(
                f"model.{field.name} is {value!r}, but {config.name} has no such part: leave it at "
                f"{field.default!r} (this model reads {', '.join(sorted(used))})"
            )


def check_stages(name: str, widths: Sequence[int], depths: Sequence[int]) -> None:
    """Checks that each stage has its channels and its number of blocks.

    Raises:
        UserError: There are more widths than depths, or fewer.
    """
    if len(widths) != len(depths):
        raise UserError(
            f"model.widths {tuple(widths)} are {len(widths)} stages, but model.depths "
            f"{tuple(depths)} of {name} are {len(depths)}: give one number a stage in both"
        )


def check_count(name: str, values: Sequence[int], stages: int) -> None:
    """Checks that a model whose stages are fixed has one number for each.

    Raises:
        UserError: There are more or fewer.
    """
    if len(values) != stages:
        raise UserError(
            f"{name} has {stages} stages, but model.widths or model.depths has {len(values)} "
            f"({tuple(values)}): give {stages} numbers, or leave it empty"
        )
