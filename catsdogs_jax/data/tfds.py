"""TensorFlow Datasets: written out once as a folder of picture files, or read where they are.

The folder, or the index of the prepared shards, is then read by the same road as one's own
pictures or records: the same checks, the same order, the same decoder.
"""

import contextlib
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from catsdogs_jax.data.containers import CONTAINERS
from catsdogs_jax.data.foreign import Shard, Shards, index_once
from catsdogs_jax.data.places import cache_folder, is_far, make_once
from catsdogs_jax.data.sources import TFDS_INFO
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import UserError, first_line

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
    return export_builder(_prepared(name, data_dir))


def index(name: str, data_dir: str = "") -> Path:
    """Downloads a data set by name, if it is not there; returns an index of its pictures.

    Args:
        name: As for `export`.
        data_dir: As for `export`; behind a URL a data set must be prepared already.

    Raises:
        UserError: As `export` and `index_folder`; or there is none below the URL.
    """
    if is_far(data_dir):
        return _index_far(_newest(name, data_dir.rstrip("/")))
    return index_builder(_prepared(name, data_dir))


def _newest(name: str, below: str) -> str:
    """Returns the URL of the newest version, or the named one, of a data set below a URL."""
    from catsdogs_jax.data.remote import tags_below  # fsspec is slow to import.

    wanted, _, version = name.partition(":")
    found = [
        path.parent.name
        for path in map(PurePosixPath, tags_below(f"{below}/{wanted}"))
        if len(path.parts) == 2 and path.name == TFDS_INFO and version in ("", path.parent.name)
    ]
    if not found:
        raise UserError(
            f"no data set {name!r} is prepared in {below!r} (no {wanted}/{version or 'VERSION'}/"
            f"{TFDS_INFO}): check both names, or prepare it there with TensorFlow Datasets"
        )
    newest = max(found, key=lambda version: [int(part) for part in re.findall(r"\d+", version)])
    return f"{below}/{wanted}/{newest}"


def _index_far(url: str) -> Path:
    """Returns an index of the shards below a URL; only what describes them is copied."""
    from catsdogs_jax.data.remote import fetch_url, tags_below  # fsspec is slow to import.

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, *PurePosixPath(url).parts[-2:])
        folder.mkdir(parents=True)
        for file in tags_below(url):
            if file.endswith((".json", ".txt")) and "/" not in file:
                with fetch_url(f"{url}/{file}", folder) as copy:
                    copy.replace(folder / file)
        return index_builder(_read_builder(folder, url), url)


def index_folder(folder: Path) -> Path:
    """Returns an index of the shards in a folder that TFDS prepared, whose code is not needed.

    Args:
        folder: With the version as its name, for example cats_vs_dogs/4.0.1.

    Raises:
        UserError: As `index_builder`, or the description of the data set cannot be read.
    """
    return index_builder(_read_builder(folder, str(folder)))


def _read_builder(folder: Path, told: str) -> Any:
    tf()
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(str(folder.absolute()))
    except Exception as error:  # Of many kinds, from reading JSON to making the features.
        raise UserError(
            f"TensorFlow Datasets cannot read {told!r} ({first_line(error)}): prepare the data set "
            "again"
        ) from error


def _prepared(name: str, data_dir: str) -> Any:
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
    return builder


def export_builder(builder: Any, root: Path | None = None) -> Path:
    """Writes root/split/class/number.ending for every picture of a prepared TFDS builder.

    Args:
        builder: A `tfds.core.DatasetBuilder` with the features "image" and "label".
        root: The folder to write; none: one in the cache, named after the data set.

    Returns:
        The folder.

    Raises:
        UserError: The data set has no picture with one class label, or is only read in place.
    """
    classes, splits = _described(builder)
    if _file_format(builder) == "array_record":  # Of which tf.data reads nothing.
        raise UserError(
            f"data set {builder.info.name!r} is prepared as array_record, which is read in place: "
            "--config.data.stream=true"
        )
    root = root or cache_folder() / f"tfds-{_safe(builder.info.full_name)}"
    settings = {"tfds": builder.info.full_name, "splits": splits}

    def fill(folder: Path) -> None:
        for split in splits:
            _write_split(builder, split, classes, folder / _SPLITS[split])
        if not any(folder.iterdir()):
            raise UserError(
                f"data set {builder.info.name!r} has no picture whose class is known: choose "
                "another"
            )

    made = make_once(root, settings, fill)
    _remove_empty(made)
    return made


def index_builder(builder: Any, url: str | None = None) -> Path:
    """Returns an index of the shards that a builder has prepared, see `foreign`: nothing is copied.

    Args:
        builder: As for `export_builder`.
        url: Where the shards lie; none: in the builder's folder.

    Raises:
        UserError: As `export_builder` and `foreign.index_once`; or the shards are of a format of
            which no single record can be read.
    """
    classes, splits = _described(builder)
    name, found = builder.info.name, _file_format(builder)
    if found not in CONTAINERS:
        raise UserError(
            f"data set {name!r} is prepared as {found}, but data.stream reads "
            f"{' and '.join(CONTAINERS)}: prepare it so (--file_format of tfds build), or leave "
            "data.stream out, which copies the pictures"
        )
    shards = [
        Shard(_SPLITS[split], path.name, count)
        for split in splits
        for path, count in zip(
            builder.info.splits[split].filepaths,
            builder.info.splits[split].shard_lengths,
            strict=True,
        )
    ]
    names = [_safe(label) for label in classes]
    folder = url or str(builder.data_dir)
    if not is_far(folder):
        folder = str(Path(folder).absolute())
    return index_once(Shards(name, folder, found, names, shards))


def _file_format(builder: Any) -> str | None:
    found = builder.info.file_format
    return found and found.value


def _described(builder: Any) -> tuple[list[str], list[str]]:
    """Returns the names of a builder's classes and of its splits that we know."""
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
    return label.names, splits


def _write_split(builder: Any, split: str, classes: list[str], folder: Path) -> None:
    import tensorflow_datasets as tfds

    skip = {"image": tfds.decode.SkipDecoding()}  # The original bytes, not a re-encoded copy.
    read_config = tfds.ReadConfig(interleave_cycle_length=1)  # In the order of the files.
    data = builder.as_dataset(split=split, decoders=skip, read_config=read_config)
    for number, example in enumerate(data.as_numpy_iterator()):
        if example["label"] < 0:  # As in the test splits of contests: its class is not known.
            continue
        content = example["image"]
        ending = next((e for start, e in _ENDINGS if content.startswith(start)), ".img")
        path = folder / _safe(classes[example["label"]]) / f"{number:07d}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)  # Not before: a class may have none here.
        path.write_bytes(content)


def _remove_empty(root: Path) -> None:
    """Removes folders without pictures, which exports of earlier versions may hold."""
    for folder in (*root.glob("*/*"), *root.glob("*")):
        with contextlib.suppress(OSError):  # It holds some, or is not ours to change.
            folder.rmdir()


def _safe(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)
