"""How a picture file becomes what the model sees; saved beside the weights it belongs to."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from catsdogs_jax.errors import UPGRADE, UserError
from catsdogs_jax.task import Task

Views = Literal["run", "none", "mirror", "zooms", "all"]
"""Test-time augmentation: see `Preprocessing.with_views`."""

ZOOMS = (0.85, 1.0, 1.15)
"""The zooms of "zooms" and "all", those of configs/seed_cnn.py."""

FORMAT_VERSION = 3
"""1: one threshold; 2: `threshold` may be a list, one a class; 3: `center_crop`."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Everything that train, evaluate and predict must agree on.

    Attributes:
        image_size: Side of the square picture, pixels.
        resize: "stretch", "crop" or "pad", see `DataConfig.resize`.
        center_crop: Side of the centre of each view that the model sees, pixels; none: all of it.
        mean: Mean of each of the red, green and blue values, after division by 255.
        std: Their standard deviation, after division by 255.
        task: The kind of labels and the class names.
        threshold: Probability above which the second of two classes, or a label, is predicted; for
            multi-label problems one for all labels or one each.
        mirror: Whether the logits of a picture and of its mirror image are averaged.
        zooms: Zooms of the views whose logits are averaged, see `catsdogs_jax.augment.zoomed`.
    """

    image_size: int
    resize: Literal["stretch", "crop", "pad"]
    task: Task
    threshold: float | tuple[float, ...] = 0.5
    mirror: bool = False
    zooms: tuple[float, ...] = (1.0,)
    center_crop: int | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def seen_size(self) -> int:
        """Side of the pictures that the model sees when it does not learn, pixels."""
        return self.center_crop or self.image_size

    def center(self, images: jax.Array) -> jax.Array:
        """Returns the centre [n, seen_size, seen_size, 3] of pictures [n, size, size, 3]."""
        start = (images.shape[1] - self.seen_size) // 2
        end = start + self.seen_size
        return images[:, start:end, start:end]

    def normalize(self, images: jax.Array) -> jax.Array:
        """Returns float32 pictures, (pixel / 255 - mean) / std, for pictures [n, h, w, 3]."""
        scaled = images.astype(jnp.float32) / 255.0
        mean, std = (jnp.asarray(values).reshape(1, 1, 1, 3) for values in (self.mean, self.std))
        return (scaled - mean) / std

    def seen(self, images: jax.Array) -> jax.Array:
        """Returns one view of pictures as the model sees it: their centre, normalised."""
        return self.normalize(self.center(images))

    def with_views(self, views: Views) -> "Preprocessing":
        """Returns the same with other views of a picture, whose logits are averaged.

        Args:
            views: "run": those that the run was evaluated with. "none": the picture alone.
                "mirror": its mirror image too. "zooms": three zooms. "all": both, six views.
        """
        if views == "run":
            return self
        zooms = ZOOMS if views in ("zooms", "all") else (1.0,)
        return dataclasses.replace(self, mirror=views in ("mirror", "all"), zooms=zooms)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON types, with the version of the format."""
        return {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Preprocessing":
        """Reads what `to_dict` wrote.

        Raises:
            UserError: The format is newer than this version of the library.
        """
        values = dict(tree)
        version = values.pop("format_version")
        if version > FORMAT_VERSION:
            raise UserError(
                f"the weights were saved in format {version}, this version of catsdogs_jax reads "
                f"up to {FORMAT_VERSION}: {UPGRADE}"
            )
        task, threshold = values.pop("task"), values.pop("threshold")
        return cls(
            task=Task(task["kind"], tuple(task["classes"])),
            threshold=tuple(threshold) if isinstance(threshold, list) else threshold,
            mean=tuple(values.pop("mean")),
            std=tuple(values.pop("std")),
            zooms=tuple(values.pop("zooms", (1.0,))),
            **values,
        )
