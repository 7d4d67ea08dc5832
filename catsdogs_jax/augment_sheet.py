"""Draws what the training steps of a config see."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.errors import UserError
from catsdogs_jax.task import Task
from catsdogs_jax.training.step import picture_keys, vary

PICTURES = 6
VARIATIONS = 6


def draw_augmentation(
    config: Config, path: Path, pictures: int = PICTURES, variations: int = VARIATIONS
) -> Path:
    """Draws pictures of the first training batch as they are, and as steps would vary them.

    The first variation is exactly what the first step of a run with this config sees; the others
    are what the next steps would make of the same pictures at the same places.

    Args:
        config: The run.
        path: The PNG to write.
        pictures: Rows of the sheet; fewer if the batch is smaller.
        variations: Columns of the sheet besides the picture itself.

    Returns:
        `path`.

    Raises:
        UserError: The data cannot be read, or the file cannot be written.
    """
    # Only one batch is needed: the others are neither decoded nor kept.
    data = dataclasses.replace(config.data, cache_mb=0, disk_cache_mb=0)
    train = load_dataset(dataclasses.replace(config, data=data)).training
    task = train.preprocessing.task
    batch = next(iter(train.training_batches(0, 1, config.data.batch_size, config.seed)))
    images, targets = np.asarray(batch["image"]), np.asarray(batch["target"])
    shown = [varied(config, step, images, targets) for step in range(variations)]

    from catsdogs_jax.reporting.sheet import Cell, draw_sheet  # Matplotlib: not earlier.

    rows = []
    for place in range(min(pictures, len(images))):
        cells = [Cell(images[place], spell(task, targets[place]))]
        cells += [Cell(seen[place], spell(task, made[place])) for seen, made in shown]
        rows.append(cells)
    headings = ["as decoded", *(f"step {step + 1}" for step in range(variations))]
    try:
        return draw_sheet(
            rows, headings, path, title="Training pictures, varied", note=describe(config)
        )
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the sheet to {str(path)!r}: {error}") from error


def varied(
    config: Config, step: int, images: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a batch as one of the first steps sees it: uint8 [B, size, size, 3] and targets.

    Targets are float32 [B, outputs].
    """
    keys, augment = picture_keys(config.seed, jnp.int32(step), len(images)), config.augment
    if augment.grow_from:
        augment = dataclasses.replace(augment, size=augment.grow_from[0])
    seen, made = _vary(augment, keys, jnp.asarray(images), jnp.asarray(targets))
    return np.asarray(seen).round().clip(0, 255).astype(np.uint8), np.asarray(made)


_vary = jax.jit(vary, static_argnums=0)


def spell(task: Task, target: np.ndarray) -> tuple[str, ...]:
    """Returns the classes of a target [outputs], a line for each and its share if it is mixed."""
    row = np.array([1.0 - target[0], target[0]]) if task.kind == "binary" else target
    present = [index for index in np.argsort(-row, kind="stable") if row[index] >= 0.005]
    if all(row[index] > 0.995 for index in present):
        return (" | ".join(task.classes[index] for index in present) or "none",)
    return tuple(f"{row[index]:.0%} {task.classes[index]}" for index in present)


def describe(config: Config) -> str:
    """Returns what of the augmentation differs from the defaults, in one line."""
    asked = [
        f"{field.name} {_short(getattr(config.augment, field.name))}"
        for field in dataclasses.fields(config.augment)
        if getattr(config.augment, field.name) != field.default
    ]
    return f"augment: {', '.join(asked) or 'nothing'}. Seed {config.seed}."


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{number:.3g}" for number in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
