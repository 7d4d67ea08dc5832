"""What of a run is about pictures: where they come from, and how they are varied."""

import dataclasses
from typing import Literal

from catsdogs_jax.config.option import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, how they are labelled and split, and how large they become."""

    source: Literal["folder", "table", "records", "tfds", "drawn"] = option(
        "folder", "Where the pictures come from."
    )
    dir: str = option(
        "", "The folder of pictures (folder, table, records), or the cache (tfds, drawn)."
    )
    stream: bool = option(
        False,
        "Read each picture or record from the bucket, or from the shards of tfds, when it is "
        "needed; else copy first.",
    )
    table: str = option("", "A .csv or .jsonl of file,label[,split] for data.source=table.")
    name: str = option("", "The name of the TensorFlow data set for data.source=tfds.")
    labels: Literal["auto", "binary", "multiclass", "multilabel"] = option(
        "auto", "Kind of label; auto: binary for two classes, multilabel for lists of labels."
    )
    classes: tuple[str, ...] = option((), "Class names in order; empty: those found, sorted.")
    exclude: str = option("", "A CSV with a column file: pictures to leave out, as check writes.")
    relabel: str = option("", "A CSV of file,label: better labels, as check and report write.")
    image_size: int = option(150, "Side of the square that the model sees, pixels.", minimum=8)
    resize: Literal["stretch", "crop", "pad"] = option(
        "stretch", "How a picture becomes square: ignore aspect, centre crop, or black borders."
    )
    batch_size: int = option(32, "Pictures in one step, over all devices.", minimum=1)
    validation_share: float = option(
        0.2, "Share of each class held out when there is no validation split.", above=0, below=1
    )
    test_share: float = option(
        0.0, "Share of each class held out for a test split of our making.", minimum=0, below=1
    )
    drawn_train: int = option(2000, "Training pictures of data.source=drawn.", minimum=4)
    drawn_validation: int = option(600, "Validation pictures of data.source=drawn.", minimum=2)
    drawn_classes: tuple[str, ...] = option(
        ("cats", "dogs"),
        "Species of data.source=drawn: cats, dogs, rabbits, bears, foxes, mice, pigs, birds.",
    )
    drawn_animals: Literal["one", "several"] = option(
        "one", "Animals in a drawn picture; several: none to three, which makes it multi-label."
    )
    sampling: Literal["natural", "square_root", "balanced"] = option(
        "natural",
        "How often classes are trained on: by their pictures, by the square root, or all alike.",
    )
    leaks: Literal["report", "exclude", "error"] = option(
        "report",
        "Pictures alike in two splits: name them; leave out the training copy; or stop.",
    )
    cache_mb: int = option(
        4096, "Keep decoded pictures in memory if they fit in this many MiB; 0: never.", minimum=0
    )
    disk_cache_mb: int = option(
        16384,
        "Keep those that do not on disk, up to this many MiB over all runs; 0: never.",
        minimum=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random variation of the training pictures, on the device, inside the step."""

    flip: bool = option(False, "Mirror left to right with probability one half.")
    zoom: tuple[float, float] = option(
        (1.0, 1.0),
        "Range of the scale of each axis, drawn separately; above 1 shows more.",
        above=0,
    )
    shear: float = option(0.0, "Greatest shear angle, degrees.", minimum=0, below=90)
    rotate: float = option(0.0, "Greatest turn, degrees.", minimum=0, maximum=180)
    translate: float = option(0.0, "Greatest shift, share of the side.", minimum=0, below=1)
    crop: tuple[float, float] = option(
        (1.0, 1.0),
        "Range of the share of the area that a random crop shows; 0.25,1 is common from scratch.",
        above=0,
        maximum=1,
    )
    crop_ratio: tuple[float, float] = option(
        (3 / 4, 4 / 3), "Range of the crop's width divided by its height.", above=0
    )
    margin: float = option(
        1.0, "Decode larger by this factor, for crops and zooms to cut from.", minimum=1, maximum=4
    )
    size: int | None = option(
        None,
        "Side of what training sees, pixels; less than data.image_size is faster; none: the same.",
        minimum=8,
    )
    grow_from: tuple[int, ...] = option(
        (),
        "Sides, pixels, that training sees before `size`, one after the other, each for as many "
        "steps; 64,64 and then size 96: two thirds of the run at 64.",
        minimum=8,
    )
    brightness: float = option(0.0, "Greatest change of its factor 1.", minimum=0, maximum=1)
    contrast: float = option(0.0, "Greatest change of its factor 1.", minimum=0, maximum=1)
    saturation: float = option(0.0, "Greatest change of its factor 1.", minimum=0, maximum=1)
    hue: float = option(0.0, "Greatest turn, share of the circle.", minimum=0, maximum=0.5)
    policy: Literal["none", "trivial", "randaugment"] = option(
        "none", "Operations drawn for each picture: one (TrivialAugment) or several (RandAugment)."
    )
    policy_operations: int = option(
        2, "Operations that randaugment draws for a picture.", minimum=1, maximum=8
    )
    policy_strength: float | None = option(
        None,
        "Magnitude as a share of its range: trivial's greatest, randaugment's only; none: 1, 0.3.",
        above=0,
        maximum=1,
    )
    erase: float = option(
        0.0, "Share of the pictures in which a rectangle is covered.", minimum=0, maximum=1
    )
    erase_area: tuple[float, float] = option(
        (0.02, 1 / 3), "Range of the covered share of the area.", above=0, below=1
    )
    erase_fill: Literal["mean", "noise"] = option(
        "mean", "What covers it: the picture's mean colour, or random pixels."
    )
    mixup: float = option(
        0.0, "MixUp's alpha: pictures and targets are blended by Beta(alpha, alpha).", minimum=0
    )
    cutmix: float = option(
        0.0, "CutMix's alpha: a rectangle of another picture is pasted, likewise.", minimum=0
    )
    mix_probability: float = option(
        1.0, "Share of the pictures that are mixed, if mixup or cutmix is on.", above=0, maximum=1
    )
    cutmix_share: float = option(
        0.5, "Share of cutmix among the mixed, if both are on.", above=0, below=1
    )
