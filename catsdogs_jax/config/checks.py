"""What no single key of a config can tell: which of them go together."""

import re
from collections.abc import Mapping
from typing import Any

from catsdogs_jax.config import Config, DataConfig, TrainConfig
from catsdogs_jax.durations import seconds_of
from catsdogs_jax.errors import UserError, nearest

TRACKERS = ("mlflow", "wandb")

_RULES_WITH: Mapping[str, tuple[str, ...]] = {
    "momentum": ("sgd", "muon"),
    "betas": ("adam", "adamw", "lamb", "lion", "muon"),
    "epsilon": ("adam", "adamw", "lamb", "muon"),
}


def check_together(config: Config) -> None:
    """Checks what no single key can tell.

    Raises:
        UserError: Two keys do not go together.
    """
    train, evaluation = config.train, config.eval
    _exactly_one("train", steps=train.steps, epochs=train.epochs, budget=train.budget)
    if evaluation.every_steps is not None or evaluation.every_epochs is not None:
        every = {"every_steps": evaluation.every_steps, "every_epochs": evaluation.every_epochs}
        _exactly_one("eval", **every)
    _check_duration("train.budget", train.budget)
    _check_duration("train.watchdog", train.watchdog)
    if config.finetune.depth != "all" and not config.finetune.weights:
        raise UserError(
            f"finetune.depth is {config.finetune.depth!r}, which needs weights to begin with: "
            "--config.finetune.weights=imagenet, or a file"
        )
    if config.finetune.depth == "probe":
        _check_probe(config)
    _check_augment(config)
    _check_optimizer(config.train)
    if config.train.base_batch is not None and not config.train.warmup:
        raise UserError(
            "train.base_batch scales the rate to the batch, which must be warmed up: "
            "--config.train.warmup=0.05"
        )
    for name in config.records.trackers:
        if name not in TRACKERS:
            hint = nearest(name, list(TRACKERS))
            raise UserError(f"records.trackers is {name!r}, not of {', '.join(TRACKERS)}.{hint}")
    for rule in config.mesh.fsdp_rules:
        parse_rule(rule)
    _check_data(config.data)
    if config.data.sampling != "natural" and config.train.class_weights != "none":
        raise UserError(
            f"data.sampling={config.data.sampling} and train.class_weights="
            f"{config.train.class_weights} both even out the classes: choose one of them"
        )


def _check_probe(config: Config) -> None:
    """Checks that nothing is asked of steps that a probe does not take."""
    if config.train.budget:
        raise UserError(
            f"train.budget is {config.train.budget!r}, but finetune.depth=probe takes no step: "
            "leave it out, or --config.finetune.depth=head_then_all"
        )
    if config.data.sampling != "natural":
        raise UserError(
            f"data.sampling={config.data.sampling} draws the pictures of steps, but "
            "finetune.depth=probe takes none: --config.train.class_weights=balanced"
        )


def _check_data(data: DataConfig) -> None:
    far = data.source in ("folder", "table", "records") and "://" in data.dir
    if data.stream and not far and data.source != "tfds":
        raise UserError(
            "data.stream reads pictures or records from a bucket: --config.data.dir=gs://..., "
            f"or a data set of --config.data.source=tfds, not {data.source} in {data.dir!r}"
        )
    shares = data.validation_share + data.test_share
    if shares >= 1:
        raise UserError(
            f"data.validation_share + data.test_share is {shares:g}: nothing is left to train on."
        )
    drawn, least = data.drawn_classes, 2 if data.drawn_animals == "one" else 1
    if len(set(drawn)) < len(drawn) or len(drawn) < least:
        raise UserError(
            f"config key 'data.drawn_classes' is {', '.join(drawn) or 'empty'}, but must name "
            f"{least} or more different species."
        )
    needs = {
        "table": ("table", data.table),
        "records": ("dir", data.dir),
        "tfds": ("name", data.name),
    }
    if data.source in needs and not needs[data.source][1]:
        key = needs[data.source][0]
        raise UserError(f"data.source={data.source} needs --config.data.{key}=...")


def _check_optimizer(train: TrainConfig) -> None:
    """Checks that no option is given that would be ignored."""
    if train.profile_steps and (train.steps_per_call or 1) > 1:
        raise UserError(
            f"train.profile_steps profiles single steps, not calls of {train.steps_per_call}: "
            "--config.train.steps_per_call=1"
        )
    if train.optimizer == "adam" and train.weight_decay:
        raise UserError("train.weight_decay has no effect on adam: --config.train.optimizer=adamw")
    for name, rules in _RULES_WITH.items():
        if getattr(train, name) is not None and train.optimizer not in rules:
            raise UserError(
                f"train.{name} is {getattr(train, name)}, which {train.optimizer} does not have "
                f"(but {', '.join(rules)} do): leave it out, or choose --config.train.optimizer"
            )
    if train.final_rate and train.schedule in ("constant", "one_cycle"):
        raise UserError(
            f"train.final_rate is {train.final_rate:g}, but train.schedule {train.schedule} has an "
            "end of its own: choose linear, cosine, exponential or wsd"
        )
    if train.schedule == "exponential" and not train.final_rate:
        raise UserError(
            "train.schedule=exponential never reaches 0: give --config.train.final_rate=0.01"
        )
    if train.schedule == "wsd" and train.warmup + train.cooldown > 1:
        raise UserError(
            f"train.warmup + train.cooldown is {train.warmup + train.cooldown:g}, more than the "
            "whole run (1): lower one of them"
        )


def _check_duration(key: str, text: str | None) -> None:
    if text is None:
        return
    try:
        seconds_of(text)
    except ValueError as error:
        raise UserError(f"config key {key!r}: {error}") from error


def parse_rule(rule: str) -> tuple[str, int | None]:
    """Returns the regular expression and the axis of "REGEX=AXIS".

    Raises:
        UserError: It has another form.
    """
    pattern, _, axis = rule.rpartition("=")
    try:
        re.compile(pattern)
        if not pattern or not (axis == "none" or axis.isdigit()):
            raise ValueError
    except (re.error, ValueError):
        raise UserError(
            f"mesh.fsdp_rules holds {rule!r}, but must hold REGEX=AXIS with AXIS a number or none, "
            "for example hidden/kernel=0"
        ) from None
    return pattern, None if axis == "none" else int(axis)


def _check_augment(config: Config) -> None:
    augment = config.augment
    for name in ("zoom", "crop", "crop_ratio", "erase_area"):
        low, high = getattr(augment, name)
        if low > high:
            raise UserError(
                f"config key 'augment.{name}' is {low}, {high}: give the smaller one first."
            )
    low, high = augment.crop_ratio
    if not low <= 1 <= high:
        raise UserError(
            f"config key 'augment.crop_ratio' is {low}, {high}: give a range with 1 inside, as no "
            "other rectangle can show the whole of a square."
        )
    if augment.size and augment.size > config.data.image_size:
        raise UserError(
            f"augment.size is {augment.size}, more than data.image_size {config.data.image_size}: "
            f"give a smaller one, or --config.data.image_size={augment.size}"
        )
    crop = config.eval.center_crop
    if crop and crop > config.data.image_size:
        raise UserError(
            f"eval.center_crop is {crop}, more than data.image_size {config.data.image_size}: "
            f"give a smaller one, or --config.data.image_size={crop}"
        )
    for size in augment.grow_from:
        if size > config.trained_size:
            raise UserError(
                f"augment.grow_from has {size}, more than the {config.trained_size} pixels that "
                "training ends with: give sides that grow towards it"
            )
    if (augment.mixup or augment.cutmix) and config.data.batch_size < 2:
        name = "mixup" if augment.mixup else "cutmix"
        raise UserError(
            f"augment.{name} mixes each picture with its neighbour in the batch, but "
            "data.batch_size is 1: --config.data.batch_size=2 or more"
        )


def _exactly_one(group: str, **values: Any) -> None:
    given = [f"{group}.{name}" for name, value in values.items() if value is not None]
    if len(given) != 1:
        *others, last = (f"{group}.{name}" for name in values)
        raise UserError(
            f"give exactly one of {', '.join(others)} and {last}: "
            f"{' and '.join(given) or 'none of them'} {'is' if not given else 'are'} set."
        )
