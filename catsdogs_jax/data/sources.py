"""Which picture files there are, and what each is labelled: folders and tables.

A source only lists; it opens no picture. What it lists is decoded, checked and split by the
manifest, in the same way for every source.
"""

import csv
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from catsdogs_jax.config import DataConfig
from catsdogs_jax.errors import UserError, nearest

if TYPE_CHECKING:
    from catsdogs_jax.data.scan import Scanned

PACK_INDEX = "records.json"
"""The file that makes a folder a pack, see `records`."""

SPLITS = ("train", "validation", "test")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_FLAT_NAME = re.compile(r"^(?P<label>[^\d\W][\w-]*?)[._-]?\d+$")
_NOT_PICTURES = {".csv", ".json", ".jsonl", ".txt", ".md", ".html", ".xml", ".db", ".ini", ".zip"}

HOW_TO_GET_DATA = (
    "give a folder that holds one folder of pictures per class, or train/ and validation/ with "
    "one folder per class each; for the cats and dogs of the README see docs/data.md, or try "
    "--config configs/quickstart.py, which needs no data"
)


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture file and what its source says about it.

    Attributes:
        file: Path below the root of the listing, with forward slashes.
        labels: Its class names; one, or any number for multi-label problems.
        split: "train", "validation" or "test"; none where the source does not say.
    """

    file: str
    labels: tuple[str, ...]
    split: str | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """All examples of a source.

    Attributes:
        root: The folder that `Example.file` is relative to.
        examples: Sorted by file.
        multilabel: Whether the source gives lists of labels.
        facts: What is known of the examples by file, if they need not be opened for it.
        quarantined: File and reason of each that was found unusable before, and is not listed.
    """

    root: Path
    examples: tuple[Example, ...]
    multilabel: bool = False
    facts: "Mapping[str, Scanned] | None" = None
    quarantined: tuple[tuple[str, str], ...] = ()


def list_source(config: DataConfig) -> Listing:
    """Lists the examples of the configured source.

    Raises:
        UserError: The folder or table is missing, empty or ambiguous.
    """
    if config.source == "table":
        return list_table(Path(config.table), here(config.dir) if config.dir else None)
    if config.source == "tfds":
        from catsdogs_jax.data import tfds

        return list_folder(tfds.export(config.name, config.dir))
    if config.source == "records":
        from catsdogs_jax.data import records

        return records.list_records(config)
    if config.source == "drawn":
        return _list_drawn(config)
    return list_folder(here(config.dir), asked=config.dir)


def here(folder: str) -> Path:
    """Returns a folder on this machine: itself, or the copy of what is behind a URL."""
    if "://" not in folder:
        return Path(folder)
    from catsdogs_jax.data.mirror import mirrored  # fsspec is slow to import.

    return mirrored(folder)


def _list_drawn(config: DataConfig) -> Listing:
    from catsdogs_jax.data import drawn
    from catsdogs_jax.data.places import cache_folder

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
        raise UserError(f"{str(root)!r} holds records: --config.data.source=records reads them")
    splits = _split_folders(root)
    examples: list[Example] = []
    for folder, split in splits or [(root, None)]:
        found = list(_labelled_files(folder))
        if not found:
            raise UserError(f"no pictures in {str(folder)!r}: {HOW_TO_GET_DATA}")
        for path, label in found:
            examples.append(Example(path.relative_to(root).as_posix(), (label,), split))
    return Listing(root, tuple(sorted(examples, key=lambda e: e.file)))


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    named = [
        (folder, _SPLIT_FOLDERS[folder.name.lower()])
        for folder in _subfolders(root)
        if folder.name.lower() in _SPLIT_FOLDERS
    ]
    others = [f.name for f in _subfolders(root) if f.name.lower() not in _SPLIT_FOLDERS]
    if named and others:
        raise UserError(
            f"{str(root)!r} holds split folders ({', '.join(f.name for f, _ in named)}) and others "
            f"({', '.join(others[:5])}): move the others away, or point data.dir one level lower"
        )
    taken = [split for _, split in named]
    doubled = [folder.name for folder, split in named if taken.count(split) > 1]
    if doubled:
        raise UserError(f"{str(root)!r} holds the same split twice: {', '.join(doubled)}")
    return named


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _labelled_files(folder: Path) -> Iterator[tuple[Path, str]]:
    classes = _subfolders(folder)
    for class_folder in classes:
        files = list(_files(class_folder.rglob("*")))
        if not files:
            raise UserError(
                f"class {class_folder.name!r} has no pictures in {str(class_folder)!r}: "
                "add some, or remove the folder"
            )
        yield from ((path, class_folder.name) for path in files)
    if classes:
        return
    for path in _files(folder.iterdir()):
        match = _FLAT_NAME.match(path.stem)
        if match is None:
            raise UserError(
                f"cannot tell the class of {path.name!r} in {str(folder)!r}: {HOW_TO_GET_DATA}, or "
                "name the files like cat.0.jpg"
            )
        yield path, match["label"]


def list_labelled(path: str | Path) -> Listing:
    """Lists the labelled pictures of a folder, a table (.csv, .jsonl) or a pack of records.

    Args:
        path: A path; or the URL of a folder or a pack, which is copied into the cache.

    Raises:
        UserError: As `list_folder`, `list_table` and `records.list_pack`.
    """
    path = here(str(path))
    if (path / PACK_INDEX).is_file():
        from catsdogs_jax.data import records

        return records.list_pack(path)
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
        below = list(_files(path.rglob("*"))) if path.is_dir() else [path]
        if not path.exists():
            raise UserError(f"no file or folder {str(path)!r}: check the name")
        if not below:
            raise UserError(f"no pictures in folder {str(path)!r}")
        found += below
    return found


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields everything that may be a picture: the content decides, not the ending."""
    for path in sorted(paths):
        if may_be_picture(path.name) and not path.is_dir():
            yield path


def may_be_picture(name: str) -> bool:
    """Whether a file with this name (or path, or URL) is looked into: not if hidden or a table."""
    path = PurePath(name)
    return not (path.name.startswith(".") or path.suffix.lower() in _NOT_PICTURES)


def list_table(table: Path, folder: Path | None) -> Listing:
    """Lists a .csv or .jsonl with the columns file, label (or labels) and, if wanted, split.

    Several labels of one picture are separated by "|" in a CSV, or are a list in JSONL.

    Args:
        table: The file to read.
        folder: What file names are relative to; none: the folder of the table.

    Raises:
        UserError: The table is missing, or a row has no file, label or known split.
    """
    if not table.is_file():
        raise UserError(
            f"no table {str(table)!r}: give a .csv or .jsonl with the columns file,label"
        )
    rows = _read_jsonl(table) if table.suffix.lower() == ".jsonl" else _read_csv(table)
    root = folder or table.parent
    if not root.is_dir():
        raise UserError(f"no folder {str(root)!r}: {HOW_TO_GET_DATA}")
    examples, multilabel = [], False
    for line, row in rows:
        multilabel |= "labels" in row or isinstance(row.get("label"), list)
        examples.append(_table_example(row, f"{table.name}, line {line}"))
    if not examples:
        raise UserError(f"table {str(table)!r} has no rows")
    multilabel |= any(len(example.labels) != 1 for example in examples)
    repeated = _first_repeated(example.file for example in examples)
    if repeated:
        raise UserError(f"table {str(table)!r} lists {repeated!r} twice")
    return Listing(root, tuple(sorted(examples, key=lambda e: e.file)), multilabel)


def _table_example(row: dict[str, object], where: str) -> Example:
    file, label = row.get("file"), row.get("labels", row.get("label"))
    if not isinstance(file, str) or not file or label is None:
        raise UserError(f"{where}: needs a file and a label, got {row}")
    labels = label if isinstance(label, list) else str(label).split("|")
    split = str(row.get("split") or "").lower()
    if split and split not in _SPLIT_FOLDERS:
        hint = nearest(split, list(SPLITS))
        raise UserError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}.{hint}")
    names = tuple(str(name).strip() for name in labels if str(name).strip())
    return Example(file, names, _SPLIT_FOLDERS.get(split))


def _read_csv(table: Path) -> list[tuple[int, dict[str, object]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows: list[tuple[int, dict[str, object]]] = [
                (reader.line_num, dict(row)) for row in reader
            ]
            columns = reader.fieldnames or []
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"cannot read table {str(table)!r}: {error}") from error
    if "file" not in columns or not {"label", "labels"} & set(columns):
        raise UserError(
            f"table {str(table)!r} has the columns {', '.join(columns) or 'none'}; "
            "it needs file and label (or labels), and may have split"
        )
    return rows


def _read_jsonl(table: Path) -> list[tuple[int, dict[str, object]]]:
    rows = []
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read table {str(table)!r}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{table.name}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{table.name}, line {number}: needs an object, got {line[:60]}")
        rows.append((number, row))
    return rows


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
