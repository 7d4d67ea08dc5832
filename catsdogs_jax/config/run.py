"""A whole run: what it measures and keeps, over which devices, and all other parts."""

import dataclasses
from typing import Literal

from catsdogs_jax.config.learning import FinetuneConfig, ModelConfig, TrainConfig
from catsdogs_jax.config.option import option
from catsdogs_jax.config.pictures import AugmentConfig, DataConfig


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
    center_crop: int | None = option(
        None,
        "Side of the centre of a picture that evaluation sees, pixels; predictions do the same; "
        "none: the whole of data.image_size.",
        minimum=8,
    )
    zooms: tuple[float, ...] = option(
        (1.0,),
        "Average the logits over these zooms (above 1 shows more); predictions do the same.",
        above=0,
    )

    @property
    def views(self) -> int:
        """How many views of a picture the logits are averaged over."""
        return len(self.zooms) * (2 if self.mirror else 1)


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

    @property
    def trained_size(self) -> int:
        """Side of the pictures that training sees, pixels; see `evaluated_size`."""
        return self.augment.size or self.data.image_size

    @property
    def evaluated_size(self) -> int:
        """Side of the pictures that evaluation and predictions see, pixels."""
        return self.eval.center_crop or self.data.image_size

    @property
    def trained_sizes(self) -> tuple[int, ...]:
        """Sides that training sees one after the other, each for as many steps."""
        return *self.augment.grow_from, self.trained_size

    @property
    def trained_share(self) -> float:
        """Pixels of a training picture, mean over the run, as a share of those of the last ones."""
        sizes = self.trained_sizes
        return sum(size**2 for size in sizes) / (len(sizes) * sizes[-1] ** 2)
