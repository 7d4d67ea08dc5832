"""An index of shards that others wrote, so that their pictures are read where they are.

It is a pack (see `records`) whose shards lie elsewhere: a small folder of the cache with tables
that say where in which shard each picture is. It does not know what the pictures are: they are
scanned like those of a folder, by all processes in shares, and what is found is kept alike.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catsdogs_jax.data.containers import Container, read_all
from catsdogs_jax.data.places import cache_folder, make_once, set_store
from catsdogs_jax.data.records import FORMAT, INDEX, VERSION
from catsdogs_jax.data.shards import Row, table_of
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import UserError, first_line

_INDEX_VERSION = 1
"""Raise it whenever other rows are made of the same shards."""

_MEND = "prepare the data set again"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records.

    Attributes:
        split: "train", "validation" or "test".
        file: Its name in the folder of the shards.
        count: Records in it.
    """

    split: str
    file: str
    count: int


@dataclasses.dataclass(frozen=True)
class Shards:
    """Records that are `tf.train.Example`s of one picture, "image", and one class, "label".

    Attributes:
        name: Of the data set.
        folder: Where the shards lie, an absolute path.
        container: Their format.
        classes: The names that labels are the numbers of.
        shards: In the order in which their pictures are numbered.
    """

    name: str
    folder: Path
    container: Container
    classes: Sequence[str]
    shards: Sequence[Shard]


def index_once(shards: Shards) -> Path:
    """Returns the folder of an index of the shards, made unless they were indexed as they are.

    Pictures are named by their split and their place in it: "train/0000123". Those that have no
    label, as in the test splits of contests, are quarantined.

    Raises:
        UserError: A shard is missing, cannot be read, or holds other records than it should; the
            package of their format is missing.
    """
    stamps = [_stamp(shards.folder / shard.file) for shard in shards.shards]
    said = [_INDEX_VERSION, str(shards.folder), dataclasses.asdict(shards)["shards"], stamps]
    said += [shards.container, list(shards.classes)]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    def fill(folder: Path) -> None:
        total = sum(shard.count for shard in shards.shards)
        print(f"indexing  {total:,} pictures of {shards.name} in {shards.folder}", flush=True)
        _write_index(shards, folder)
        set_store(folder, str(shards.folder))

    settings = {"index of": shards.name, "digest": digest}
    return make_once(cache_folder() / "indexes" / digest, settings, fill)


def _stamp(path: Path) -> tuple[int, ...]:
    """Returns what changes with a file, as `scan_index` takes it."""
    try:
        found = path.stat()
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"shard {str(path)!r} cannot be read ({why}): {_MEND}") from error
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _write_index(shards: Shards, folder: Path) -> None:
    counts: dict[str, int] = {}
    entries, unlabelled = [], []
    for number, shard in enumerate(shards.shards):
        first = counts.get(shard.split, 0)
        rows = []
        for row in _rows(shards, shard, first):
            if row["labels"]:
                rows.append(row)
            else:
                unlabelled.append({"file": row["file"], "reason": "has no label"})
        counts[shard.split] = first + shard.count
        table = table_of(rows)
        name = f"{number:05d}.pictures.jsonl.gz"
        (folder / name).write_bytes(table)
        entries.append(
            {
                "file": shard.file,
                "split": shard.split,
                "pictures": len(rows),
                "bytes": (shards.folder / shard.file).stat().st_size,
                "table": name,
                "table_sha256": hashlib.sha256(table).hexdigest(),
            }
        )
    index: Mapping[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "foreign": True,
        "source": str(shards.folder),
        "container": shards.container,
        "squares": None,
        "classes": list(shards.classes),
        "multilabel": False,
        "shards": entries,
        "quarantined": unlabelled,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _rows(shards: Shards, shard: Shard, first: int) -> Iterator[Row]:
    """Yields where each picture of a shard lies, and its labels: one, or none.

    Args:
        shards: All of them.
        shard: This one.
        first: Number of its first picture in the split.
    """
    path, count = shards.folder / shard.file, 0
    try:
        for place, record in read_all(shards.container, path):
            features = tf().train.Example.FromString(record).features.feature
            (image,), (label,) = (
                features["image"].bytes_list.value,
                features["label"].int64_list.value,
            )
            yield {
                "file": f"{shard.split}/{first + count:07d}",
                # TFDS writes -1 where a label is not known.
                "labels": [shards.classes[label]] if label >= 0 else [],
                "split": shard.split,
                "place": place,
                # Found rather than parsed for: wherever the same bytes stand, they are the picture.
                "size": record.index(image) + len(image),
                "bytes": len(image),
            }
            count += 1
    except UserError:
        raise
    except Exception as error:  # Of the package that reads the format, or of what it reads.
        why = first_line(error)
        raise UserError(f"shard {str(path)!r} cannot be read ({why}): {_MEND}") from error
    if count != shard.count:
        raise UserError(f"shard {str(path)!r} holds {count:,} of {shard.count:,} records: {_MEND}")
