"""The data of a run: from the config to splits of pictures that yield batches."""

import dataclasses
from collections.abc import Mapping

from catsdogs_jax.config import Config
from catsdogs_jax.data.cache import on_disk
from catsdogs_jax.data.leaks import settle_leaks
from catsdogs_jax.data.manifest import Manifest, Picture, build_manifest
from catsdogs_jax.data.marks import apply_marks
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.sources import list_source
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The pictures of a run, split and ready to be read.

    Attributes:
        manifest: What every picture is.
        preprocessing: How they become what the model sees.
        splits: The pictures of each split by name.
        leaks: Pairs of alike pictures in different splits that are left in the data.
    """

    manifest: Manifest
    preprocessing: Preprocessing
    splits: Mapping[str, PictureSet]
    leaks: tuple[tuple[Picture, Picture], ...]


def load_dataset(
    config: Config,
    *,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Dataset:
    """Lists, decodes, splits and checks the pictures that a config names.

    Args:
        config: The run.
        mean: What the model takes from the colours, see `Preprocessing`.
        std: What it divides them by.

    Raises:
        UserError: See `sources`, `manifest`; or the batch is larger than the training split.
    """
    listing = apply_marks(list_source(config.data), config.data.exclude, config.data.relabel)
    manifest = build_manifest(listing, config.data, config.seed)
    manifest, leaks = settle_leaks(manifest, config.data.leaks)
    count = len(manifest.split("train"))
    if config.data.batch_size > count:
        raise UserError(
            f"data.batch_size is {config.data.batch_size}, but there are only {count} training "
            f"pictures: --config.data.batch_size={count} or less"
        )
    preprocessing = Preprocessing(
        image_size=config.data.image_size,
        resize=config.data.resize,
        task=manifest.task,
        mirror=config.eval.mirror,
        zooms=config.eval.zooms,
        mean=mean,
        std=std,
    )
    splits = picture_sets(manifest, preprocessing, config.data.cache_mb, config.data.disk_cache_mb)
    return Dataset(manifest, preprocessing, splits, tuple(leaks))


def picture_sets(
    manifest: Manifest, preprocessing: Preprocessing, memory_mb: int = 0, disk_mb: int = 0
) -> dict[str, PictureSet]:
    """Returns the pictures of each split: decoded in memory, else on disk, else read as needed."""
    free = memory_mb * 2**20
    sets = {}
    for name in manifest.splits:
        made = PictureSet.create(manifest.split(name), manifest.root, preprocessing)
        if made.decoded_bytes <= free:
            made = made.in_memory()
            free -= made.decoded_bytes
        elif disk_mb:
            made = on_disk(made, disk_mb * 2**20)
        sets[name] = made
    return sets
