"""What of a run is about the model: its layers, how it is trained, what it begins with."""

import dataclasses
from typing import Literal

from catsdogs_jax.config.option import option


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
    sam_radius: float = option(
        0.0,
        "Take the gradient this far uphill (sharpness-aware minimisation), which doubles the work; "
        "0: where the parameters are.",
        minimum=0,
    )
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
    steps_per_call: int | None = option(
        None,
        "Steps that the devices take in one call, of pictures that lie on them; none: 8 on "
        "accelerators where the decoded training pictures fit, else 1, and pictures are sent.",
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
