"""Which picture files there are, and what each is labelled: folders and tables.

A source only lists; it opens no picture. What it lists is decoded, checked and split by the
manifest, in the same way for every source.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.listing import SPLIT_NAMES, Example, Examples, Listing
from catsdogs_jax.data.places import cache_folder, origin_of
from catsdogs_jax.data.tables import list_table
from catsdogs_jax.data.walk import files_below, subfolders
from catsdogs_jax.errors import UserError

PACK_INDEX = "records.json"
"""The file that makes a folder a pack, see `records`."""

TFDS_INFO = "dataset_info.json"
"""The file that TensorFlow Datasets writes beside its shards."""

_FLAT_NAME = re.compile(r"^(?P<label>[^\d\W][\w-]*?)[._-]?\d+$")

HOW_TO_GET_DATA = (
    "give a folder that holds one folder of pictures per class, or train/ and validation/ with "
    "one folder per class each; for the cats and dogs of the README see docs/data.md, or try "
    "--config configs/quickstart.py, which needs no data"
)


def list_source(config: DataConfig) -> Listing:
    """Lists the examples of the configured source.

    Raises:
        UserError: The folder or table is missing, empty or ambiguous.
    """
    if config.source == "table":
        folder = here(config.dir, stream=config.stream) if config.dir else None
        return list_table(Path(config.table), folder)
    if config.source == "tfds":
        from catsdogs_jax.data import records, tfds

        if config.stream:
            return records.list_pack(tfds.index(config.name, config.dir))
        return list_folder(tfds.export(config.name, config.dir))
    if config.source == "records":
        from catsdogs_jax.data import records

        return records.list_records(config)
    if config.source == "drawn":
        return _list_drawn(config)
    return list_folder(here(config.dir, stream=config.stream), asked=config.dir)


def here(folder: str, *, stream: bool = False) -> Path:
    """Returns a folder on this machine: itself, or a copy of what is behind a URL.

    Args:
        folder: A path or a URL.
        stream: Whether to copy no picture: small files stand in for them, see `mirror.stood_in`.
    """
    if "://" not in folder:
        return Path(folder)
    from catsdogs_jax.data import mirror  # fsspec is slow to import.

    return mirror.stood_in(folder) if stream else mirror.mirrored(folder)


def _list_drawn(config: DataConfig) -> Listing:
    from catsdogs_jax.data import drawn

    species, several = config.drawn_classes, config.drawn_animals == "several"
    drawn.check_species(species)
    name = f"drawn-v{drawn.VERSION}-{config.drawn_train}-{config.drawn_validation}"
    if several or species != drawn.DEFAULT_SPECIES:
        name = "-".join([name, *species, *(["several"] if several else [])])
    root = Path(config.dir) if config.dir else cache_folder() / name
    counts = {"train": config.drawn_train, "validation": config.drawn_validation}
    if several:
        return list_table(drawn.write_table(root, species=species, **counts), None)
    return list_folder(drawn.write_folder(root, species=species, **counts))


def list_folder(root: Path, asked: str | None = None) -> Listing:
    """Lists a folder per class, with or without split folders above, or flat `cat.0.jpg` names.

    Raises:
        UserError: There is no such folder, or no pictures in a layout we know.
    """
    if asked == "" or not root.is_dir():
        what = f"no folder {str(root)!r}" if asked != "" else "data.dir is not set"
        raise UserError(f"{what}: {HOW_TO_GET_DATA}")
    if (root / PACK_INDEX).is_file():
        raise UserError(
            f"{origin_of(root)!r} holds records: --config.data.source=records reads them"
        )
    examples = Examples.of([])
    for folder, split in _split_folders(root) or [(root, None)]:
        before = len(examples)
        for file, label in _labelled_files(root, folder):
            examples.append(Example(file, (label,), split))
        if len(examples) == before:
            raise UserError(f"no pictures in {origin_of(folder)!r}: {HOW_TO_GET_DATA}")
    return Listing(root, examples)


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    named = [
        (folder, SPLIT_NAMES[folder.name.lower()])
        for folder in subfolders(root)
        if folder.name.lower() in SPLIT_NAMES
    ]
    others = [f.name for f in subfolders(root) if f.name.lower() not in SPLIT_NAMES]
    if named and others:
        raise UserError(
            f"{origin_of(root)!r} holds split folders ({', '.join(f.name for f, _ in named)}) and "
            f"others ({', '.join(others[:5])}): move the others away, or point data.dir one level "
            "lower"
        )
    taken = [split for _, split in named]
    doubled = [folder.name for folder, split in named if taken.count(split) > 1]
    if doubled:
        raise UserError(f"{origin_of(root)!r} holds the same split twice: {', '.join(doubled)}")
    return named


def _labelled_files(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yields path below the root and class of each picture of a folder, in the order of paths."""
    classes = subfolders(folder)
    for class_folder in classes:
        file = None
        for file in files_below(class_folder, root):
            yield file, class_folder.name
        if file is None:
            raise UserError(
                f"class {class_folder.name!r} has no pictures in {origin_of(class_folder)!r}: "
                "add some, or remove the folder"
            )
    if classes:
        return
    for file in files_below(folder, root):
        name = PurePath(file)
        match = _FLAT_NAME.match(name.stem)
        if match is None:
            raise UserError(
                f"cannot tell the class of {name.name!r} in {origin_of(folder)!r}: "
                f"{HOW_TO_GET_DATA}, or name the files like cat.0.jpg"
            )
        yield file, match["label"]


def list_labelled(path: str | Path) -> Listing:
    """Lists the labelled pictures of a folder, a table (.csv, .jsonl) or a pack of records.

    Args:
        path: A path; or the URL of a folder or a pack, which is copied into the cache. Of a folder
            that TensorFlow Datasets prepared the shards are read in place.

    Raises:
        UserError: As `list_folder`, `list_table`, `records.list_pack` and `tfds.index_folder`.
    """
    path = here(str(path))
    if (path / PACK_INDEX).is_file():
        from catsdogs_jax.data import records

        return records.list_pack(path)
    if (path / TFDS_INFO).is_file():
        from catsdogs_jax.data import records, tfds

        return records.list_pack(tfds.index_folder(path))
    if path.suffix.lower() in (".csv", ".jsonl"):
        return list_table(path, None)
    return list_folder(path, asked=str(path))


def find_files(names: Iterable[str]) -> list[Path]:
    """Returns the files given and those below the folders given, in order.

    Raises:
        UserError: A name is neither, or a folder holds no pictures.
    """
    found: list[Path] = []
    for path in map(Path, names):
        below = [path / name for name in files_below(path)] if path.is_dir() else [path]
        if not path.exists():
            raise UserError(f"no file or folder {str(path)!r}: check the name")
        if not below:
            raise UserError(f"no pictures in folder {str(path)!r}")
        found += below
    return found
