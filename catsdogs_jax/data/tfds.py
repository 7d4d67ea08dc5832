"""TensorFlow Datasets, written out once as a folder of the original picture files.

The folder is then read by the same road as one's own pictures: the same checks, the same order,
the same decoder.
"""

import re
from pathlib import Path
from typing import Any

from catsdogs_jax.data.places import cache_folder, make_once
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import UserError

_ENDINGS = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"))
_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def export(name: str, data_dir: str = "") -> Path:
    """Downloads a data set by name and returns the folder of its pictures.

    Args:
        name: As in the TFDS catalogue, for example "cats_vs_dogs" or "beans:0.1.0".
        data_dir: Where TFDS keeps its files; empty: its own default.

    Raises:
        UserError: TFDS knows no such data set, cannot download it, or it has no class labels.
    """
    tf()  # Before TFDS imports it, so that its devices are hidden.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
        builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(
            f"data.name is {name!r}, which TensorFlow Datasets does not know: see the list at "
            "https://www.tensorflow.org/datasets/catalog"
        ) from error
    except (OSError, tfds.download.DownloadError) as error:
        raise UserError(f"TensorFlow Datasets could not get {name!r}: {error}") from error
    return export_builder(builder)


def export_builder(builder: Any, root: Path | None = None) -> Path:
    """Writes root/split/class/number.ending for every picture of a prepared TFDS builder.

    Args:
        builder: A `tfds.core.DatasetBuilder` with the features "image" and "label".
        root: The folder to write; none: one in the cache, named after the data set.

    Returns:
        The folder.

    Raises:
        UserError: The data set has no picture with one class label.
    """
    import tensorflow_datasets as tfds

    features = dict((builder.info.features or {}).items())
    label = features.get("label")
    if "image" not in features or not isinstance(label, tfds.features.ClassLabel):
        raise UserError(
            f"data set {builder.info.name!r} has the features {', '.join(features)}; "
            "it needs an image and a label that is a class"
        )
    unknown = [split for split in builder.info.splits if split not in _SPLITS]
    splits = [split for split in builder.info.splits if split in _SPLITS]
    if not splits:
        raise UserError(f"data set {builder.info.name!r} has only the splits {unknown}")
    root = root or cache_folder() / f"tfds-{_safe(builder.info.full_name)}"
    settings = {"tfds": builder.info.full_name, "splits": splits}

    def fill(folder: Path) -> None:
        for split in splits:
            _write_split(builder, split, label.names, folder / _SPLITS[split])

    return make_once(root, settings, fill)


def _write_split(builder: Any, split: str, classes: list[str], folder: Path) -> None:
    import tensorflow_datasets as tfds

    skip = {"image": tfds.decode.SkipDecoding()}  # The original bytes, not a re-encoded copy.
    read_config = tfds.ReadConfig(interleave_cycle_length=1)  # In the order of the files.
    data = builder.as_dataset(split=split, decoders=skip, read_config=read_config)
    for name in classes:
        (folder / _safe(name)).mkdir(parents=True)
    for number, example in enumerate(data.as_numpy_iterator()):
        content = example["image"]
        ending = next((e for start, e in _ENDINGS if content.startswith(start)), ".img")
        path = folder / _safe(classes[example["label"]]) / f"{number:07d}{ending}"
        path.write_bytes(content)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)
