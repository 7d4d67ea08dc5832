"""The data of a run: from the config to splits of pictures that yield batches."""

import dataclasses
from collections.abc import Mapping, Sequence

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.cache import on_disk
from catsdogs_jax.data.leaks import settle_leaks
from catsdogs_jax.data.manifest import Manifest, build_manifest
from catsdogs_jax.data.marks import apply_marks
from catsdogs_jax.data.pictures import Picture
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.scan_shares import check_same_listing
from catsdogs_jax.data.sources import list_source
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The pictures of a run, split and ready to be read.

    Attributes:
        manifest: What every picture is.
        preprocessing: How they become what the model sees.
        splits: The pictures of each split by name, as the model sees them.
        training: Those of the training split as they are decoded for training: larger by
            `AugmentConfig.margin`.
        leaks: Pairs of alike pictures in different splits that are left in the data.
    """

    manifest: Manifest
    preprocessing: Preprocessing
    splits: Mapping[str, PictureSet]
    training: PictureSet
    leaks: Sequence[tuple[Picture, Picture]]


def load_dataset(
    config: Config,
    *,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Dataset:
    """Lists, decodes, splits and checks the pictures that a config names.

    Of several processes each opens a part of the files; all return the same.

    Args:
        config: The run.
        mean: What the model takes from the colours, see `Preprocessing`.
        std: What it divides them by.

    Raises:
        UserError: See `sources`, `manifest`; or the batch is larger than the training split.
    """
    with hosts.together():
        listing = apply_marks(list_source(config.data), config.data.exclude, config.data.relabel)
    check_same_listing(listing)
    manifest = build_manifest(listing, config.data, config.seed)
    manifest, leaks = settle_leaks(manifest, config.data.leaks)
    count = manifest.counts["train"]
    if config.data.batch_size > count:
        raise UserError(
            f"data.batch_size is {config.data.batch_size}, but there are only {count} training "
            f"pictures: --config.data.batch_size={count} or less"
        )
    preprocessing = dataclasses.replace(preprocessing_of(config, manifest.task), mean=mean, std=std)
    sets, margin = picture_sets(manifest, preprocessing), config.augment.margin
    room = (config.data.cache_mb, config.data.disk_cache_mb)
    with hosts.together():
        kept = keep({**sets, "train": sets["train"].larger(margin)}, *room)
    splits = kept if margin == 1.0 else {**kept, "train": sets["train"]}
    return Dataset(manifest, preprocessing, splits, kept["train"], leaks)


def preprocessing_of(config: Config, task: Task) -> Preprocessing:
    """Returns how a config says that a picture becomes an input; colours are not normalised."""
    return Preprocessing(
        image_size=config.data.image_size,
        resize=config.data.resize,
        task=task,
        mirror=config.eval.mirror,
        zooms=config.eval.zooms,
        center_crop=config.eval.center_crop,
    )


def picture_sets(manifest: Manifest, preprocessing: Preprocessing) -> dict[str, PictureSet]:
    """Returns the pictures of each split, which are read when they are asked for."""
    return {
        name: PictureSet(manifest.split(name), manifest.root, preprocessing)
        for name in manifest.splits
    }


def keep(
    sets: Mapping[str, PictureSet], memory_mb: int = 0, disk_mb: int = 0
) -> dict[str, PictureSet]:
    """Returns the sets decoded in memory as far as there is room, then on disk."""
    free, kept = memory_mb * 2**20, {}
    for name, made in sets.items():
        if made.decoded_bytes <= free:
            kept[name] = made.in_memory()
            free -= made.decoded_bytes
        else:
            kept[name] = on_disk(made, disk_mb * 2**20) if disk_mb else made
    return kept
