"""An index of shards that others wrote, so that their pictures are read where they are.

It is a pack (see `records`) whose shards lie elsewhere: a small folder of the cache with tables
that say where in which shard each picture is. It does not know what the pictures are: they are
scanned like those of a folder, by all processes in shares, and what is found is kept alike.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catsdogs_jax.data.containers import Container, read_all
from catsdogs_jax.data.places import cache_folder, is_far, make_once, set_store
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
        folder: Where the shards lie, an absolute path or a URL.
        container: Their format.
        classes: The names that labels are the numbers of.
        shards: In the order in which their pictures are numbered.
    """

    name: str
    folder: str
    container: Container
    classes: Sequence[str]
    shards: Sequence[Shard]


def index_once(shards: Shards) -> Path:
    """Returns the folder of an index of the shards, made unless they were indexed as they are.

    Of shards behind a URL each is copied for as long as it is read through; their pictures are then
    read from there, one request for each.

    Pictures are named by their split and their place in it: "train/0000123". Those that have no
    label, as in the test splits of contests, are quarantined.

    Raises:
        UserError: A shard is missing, cannot be read, or holds other records than it should; the
            package of their format is missing; or no single record of a far one can be read.
    """
    far = is_far(shards.folder)
    if far and shards.container != "tfrecord":
        raise UserError(
            f"data set {shards.name!r} in {shards.folder!r} is prepared as {shards.container}, but "
            "from a bucket data.stream reads tfrecord: prepare it so, or copy it to a disk"
        )
    stamps = _far_stamps(shards) if far else _stamps(shards)
    said = [_INDEX_VERSION, shards.folder, dataclasses.asdict(shards)["shards"], stamps]
    said += [shards.container, list(shards.classes)]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    def fill(folder: Path) -> None:
        total = sum(shard.count for shard in shards.shards)
        print(f"indexing  {total:,} pictures of {shards.name} in {shards.folder}", flush=True)
        _write_index(shards, folder)
        set_store(folder, shards.folder)

    settings = {"index of": shards.name, "digest": digest}
    return make_once(cache_folder() / "indexes" / digest, settings, fill)


def _stamps(shards: Shards) -> list[tuple[int, ...]]:
    """Returns what changes with each file, as `scan_index` takes it."""
    stamps = []
    for shard in shards.shards:
        path = Path(shards.folder) / shard.file
        try:
            found = path.stat()
        except OSError as error:
            why = error.strerror or error
            raise UserError(f"shard {str(path)!r} cannot be read ({why}): {_MEND}") from error
        stamps.append((found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns))
    return stamps


def _far_stamps(shards: Shards) -> list[str]:
    """Returns what the store says of the version of each file."""
    from catsdogs_jax.data.remote import tags_below  # fsspec is slow to import.

    tags = tags_below(shards.folder)
    for shard in shards.shards:
        if shard.file not in tags:
            raise UserError(f"shard {f'{shards.folder}/{shard.file}'!r} is missing: {_MEND}")
    return [tags[shard.file] for shard in shards.shards]


@contextlib.contextmanager
def _at_hand(shards: Shards, shard: Shard, draft: Path) -> Iterator[Path]:
    """Gives a shard as a file: one behind a URL as a passing copy beside the draft of the index."""
    if not is_far(shards.folder):
        yield Path(shards.folder) / shard.file
        return
    from catsdogs_jax.data.remote import fetch_url  # fsspec is slow to import.

    with fetch_url(f"{shards.folder}/{shard.file}", draft) as copy:
        yield copy


def _write_index(shards: Shards, folder: Path) -> None:
    counts: dict[str, int] = {}
    entries, unlabelled = [], []
    for number, shard in enumerate(shards.shards):
        first = counts.get(shard.split, 0)
        rows = []
        with _at_hand(shards, shard, folder) as path:
            size = path.stat().st_size
            for row in _rows(shards, shard, path, first):
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
                "bytes": size,
                "table": name,
                "table_sha256": hashlib.sha256(table).hexdigest(),
            }
        )
    index: Mapping[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "foreign": True,
        "source": shards.folder,
        "container": shards.container,
        "squares": None,
        "classes": list(shards.classes),
        "multilabel": False,
        "shards": entries,
        "quarantined": unlabelled,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _rows(shards: Shards, shard: Shard, path: Path, first: int) -> Iterator[Row]:
    """Yields where each picture of a shard lies, and its labels: one, or none.

    Args:
        shards: All of them.
        shard: This one.
        path: Where it is at hand.
        first: Number of its first picture in the split.
    """
    where, count = f"{shards.folder}/{shard.file}", 0
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
        raise UserError(f"shard {where!r} cannot be read ({why}): {_MEND}") from error
    if count != shard.count:
        raise UserError(f"shard {where!r} holds {count:,} of {shard.count:,} records: {_MEND}")
