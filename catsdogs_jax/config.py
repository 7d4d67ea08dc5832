"""What a run is: one frozen, typed, fully defaulted tree of dataclasses.

A file in `configs/` names only what differs from the defaults here. Its `get_config()` returns an
`ml_collections.ConfigDict`; `config_reader.read_config` lays `--config.a.b=value` over it and turns
it at once into a `Config`, so that the rest of the program reads typed attributes and never asks
for a key that may be missing.
"""

import dataclasses
from typing import Any, Literal


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """Returns a dataclass field with a default, a line of help and the bounds of its value.

    Args:
        default: The value of a run that says nothing.
        help: One line for a reader of `--help`, with the unit.
        minimum: The smallest allowed value.
        above: Every allowed value is greater than this.
        maximum: The greatest allowed value.
        below: Every allowed value is less than this.
    """
    bounds = {"minimum": minimum, "above": above, "maximum": maximum, "below": below}
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, how they are labelled and split, and how large they become."""

    source: Literal["folder", "table", "records", "tfds", "drawn"] = option(
        "folder", "Where the pictures come from."
    )
    dir: str = option(
        "", "The folder of pictures (folder, table, records), or the cache (tfds, drawn)."
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
class ModelConfig:
    """Which network."""

    name: str = option(
        "seed_cnn", "A model of docs/models.md, or one of your own as my_package.my_module:MyModel."
    )
    widths: tuple[int, ...] = option(
        (), "Channels of each stage (convolution of seed_cnn); empty: the model's own.", minimum=1
    )
    depths: tuple[int, ...] = option((), "Blocks of each stage; empty: the model's own.", minimum=1)
    hidden: int | None = option(
        None, "Units of seed_cnn's dense layer before the head; none: 64.", minimum=1
    )
    patch: int | None = option(
        None, "Side of the squares that a ViT cuts pictures into; none: 16.", minimum=1
    )
    dropout: float | None = option(
        None,
        "Share of the values before the head dropped in training; none: the model's own.",
        minimum=0,
        below=1,
    )
    drop_path: float | None = option(
        None,
        "Share of pictures for which the last block is left out in training, earlier blocks less; "
        "none: the model's own.",
        minimum=0,
        below=1,
    )
    antialias: bool = option(False, "Blur before each halving of the picture (resnets).")
    dtype: Literal["float32", "bfloat16"] = option(
        "float32", "Type of the activations; parameters are always float32."
    )
    batch_norm: Literal["train", "frozen"] = option(
        "train",
        "BatchNorm in training: by the statistics of the batch, or as it is evaluated.",
    )
    convolutions: Literal["auto", "native", "compiled"] = option(
        "auto",
        "XLA's own convolutions, or ours compiled for this CPU (seed_cnn); auto: the faster.",
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how to optimise."""

    steps: int | None = option(None, "Length of the run in steps.", minimum=1)
    epochs: float | None = option(None, "Length of the run in epochs.", above=0)
    budget: str | None = option(None, "Length of the run as a time: 90s, 25m, 1h30m.")
    watchdog: str | None = option(
        "10m", "Show where every thread is when no step has ended for so long; none: never."
    )
    steps_per_epoch: int | None = option(
        None, "Steps called an epoch; none: one pass over the training pictures.", minimum=1
    )
    optimizer: Literal["adam", "adamw", "sgd", "lamb", "lion", "muon"] = option(
        "adam", "Update rule; sgd is Nesterov's, muon is AdamW for all but hidden kernels."
    )
    learning_rate: float = option(1e-3, "Peak learning rate.", above=0)
    schedule: Literal["constant", "linear", "cosine", "exponential", "one_cycle", "wsd"] = option(
        "constant", "Course of the learning rate after warm-up; wsd: constant, then a cooldown."
    )
    warmup: float = option(
        0.0, "Share of the run in which the rate rises from zero.", minimum=0, below=1
    )
    cooldown: float = option(
        0.2, "Share of the run in which the rate of wsd falls at the end.", above=0, maximum=1
    )
    final_rate: float = option(
        0.0,
        "Share of the peak at which linear, cosine, exponential and wsd end.",
        minimum=0,
        maximum=1,
    )
    momentum: float | None = option(
        None, "Momentum; none: the rule's own, sgd 0.9, muon 0.95.", minimum=0, below=1
    )
    betas: tuple[float, float] | None = option(
        None,
        "Decays of the two moments of adam, adamw, lamb, lion and muon's AdamW; none: the rule's "
        "own, 0.9 and 0.999 (lion 0.99).",
        minimum=0,
        below=1,
    )
    epsilon: float | None = option(
        None,
        "Added to the denominator of adam, adamw, lamb and muon; none: the rule's own, 1e-8 (lamb "
        "1e-6); Keras's Adam has 1e-7.",
        above=0,
    )
    weight_decay: float = option(
        0.0, "Weight decay of kernels; decoupled, but for sgd that of the gradient.", minimum=0
    )
    clip_norm: float | None = option(None, "Greatest global norm of the gradient.", above=0)
    ema_decay: float = option(
        0.0, "Decay of the average of parameters used to evaluate; 0: none.", minimum=0, below=1
    )
    loss: Literal["cross_entropy", "sigmoid", "focal"] = option(
        "cross_entropy",
        "Loss; sigmoid: binary cross-entropy of each class, also where only one is right.",
    )
    focal_gamma: float = option(
        2.0, "Exponent of the focal loss; the higher, the less easy pictures count.", minimum=0
    )
    label_smoothing: float = option(
        0.0, "Share of each target spread over all classes.", minimum=0, below=1
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "balanced: weigh each class by the inverse of its share of the training pictures."
    )
    teacher: str = option("", "A finished run folder whose model is learned from; empty: none.")
    teacher_weight: float = option(
        0.5, "Share of the teacher in the loss; the labels have the rest.", minimum=0, maximum=1
    )
    teacher_temperature: float = option(
        2.0, "What the logits are divided by where student and teacher are compared.", above=0
    )
    base_batch: int | None = option(
        None,
        "The batch that learning_rate is meant for: the rate is multiplied by data.batch_size / "
        "base_batch; give warmup with it. None: as it is.",
        minimum=1,
    )
    remat: Literal["none", "products", "blocks"] = option(
        "none",
        "What the backward pass computes again instead of keeping it: nothing; all but the "
        "results of convolutions and matrix products; all but what passes between blocks.",
    )
    microbatch: int | None = option(
        None,
        "Pictures in one gradient pass, a divisor of the batch whose gradients are accumulated; "
        "none: the fastest, on accelerators the whole batch.",
        minimum=1,
    )
    patience: int | None = option(
        None,
        "Evaluations without a better checkpoint.metric after which the run stops; none: it does "
        "not.",
        minimum=1,
    )
    deterministic: bool = option(
        True, "Bit for bit the same numbers on a GPU too, where that can be slower."
    )
    profile_steps: int = option(0, "Steps to profile for TensorBoard; 0: none.", minimum=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Whether to begin with published weights, and how much of the network to train then."""

    weights: str = option("", "imagenet, or a .pth or .safetensors file; empty: from scratch.")
    depth: Literal["probe", "head_then_all", "all"] = option(
        "all", "Fit the head alone; fit it, then train all; or train all with a fresh head."
    )
    layer_decay: float = option(
        1.0,
        "Factor on the learning rate from each stage of the model to the one before it.",
        above=0,
        maximum=1,
    )
    folds: int = option(5, "Folds that choose the strength of the head's penalty.", minimum=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """When to measure, and how."""

    every_steps: int | None = option(None, "Steps between evaluations.", minimum=1)
    every_epochs: float | None = option(None, "Epochs between evaluations.", above=0)
    batch_size: int | None = option(
        None, "Pictures in one evaluation step; none: data.batch_size.", minimum=1
    )
    thresholds: Literal["f1", "half"] = option(
        "f1", "Threshold of each label of multi-label problems: of greatest validation F1, or 0.5."
    )
    mirror: bool = option(
        False, "Average the logits of a picture and its mirror image; predictions do the same."
    )
    zooms: tuple[float, ...] = option(
        (1.0,),
        "Average the logits over these zooms (above 1 shows more); predictions do the same.",
        above=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When to save, and what to keep."""

    every_steps: int | None = option(
        None, "Steps between checkpoints besides those at evaluations.", minimum=1
    )
    keep_latest: int = option(2, "Newest checkpoints kept.", minimum=1)
    keep_best: int = option(1, "Best checkpoints kept.", minimum=1)
    metric: Literal["accuracy", "loss"] = option("accuracy", "Validation metric that chooses.")
    asynchronous: bool = option(True, "Write in the background while training goes on.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Over which devices the batch and the state are spread; a run may go on over others."""

    devices: int | None = option(None, "Number of devices; none: all there are.", minimum=1)
    fsdp: int = option(
        1,
        "Devices that share one copy of parameters and optimizer state (FSDP); 1: each has its "
        "own. Fewer than mesh.devices: such groups side by side (hybrid).",
        minimum=1,
    )
    fsdp_above: int = option(
        65536, "Arrays of fewer values than this are not sharded by mesh.fsdp.", minimum=0
    )
    fsdp_rules: tuple[str, ...] = option(
        (),
        "REGEX=AXIS for arrays whose path matches, first match first; AXIS none: not sharded. "
        "Others: along their longest axis that mesh.fsdp divides.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsConfig:
    """Where the course of the run is shown besides its folder; a run may go on with others."""

    trackers: tuple[str, ...] = option(
        (), "Experiment trackers besides TensorBoard: mlflow, wandb, or both."
    )
    project: str = option("catsdogs", "MLflow's experiment, and the project of wandb.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run."""

    seed: int = option(0, "Seed of weights, order, augmentation and splits.", minimum=0)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    finetune: FinetuneConfig = dataclasses.field(default_factory=FinetuneConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    records: RecordsConfig = dataclasses.field(default_factory=RecordsConfig)
