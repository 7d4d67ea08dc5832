"""How long a run is, and when it evaluates and saves, in steps."""

import dataclasses

from catsdogs_jax.config import Config


@dataclasses.dataclass(frozen=True)
class Plan:
    """The course of a run.

    Attributes:
        steps: Length of the run; 0 for a probe, which is fitted without any.
        steps_per_epoch: Steps called an epoch; not always whole.
        eval_every: Steps between evaluations; the last step is always followed by one.
        save_every: Steps between checkpoints besides those at evaluations; none: no others.
    """

    steps: int
    steps_per_epoch: float
    eval_every: int
    save_every: int | None

    def evaluates_after(self, step: int) -> bool:
        """Whether an evaluation follows this step, counted from 1."""
        return step % self.eval_every == 0 or step == self.steps

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint follows this step, counted from 1."""
        asked = self.save_every is not None and step % self.save_every == 0
        return asked or self.evaluates_after(step)

    def epoch(self, step: int) -> float:
        """Returns the epochs finished after this step."""
        return step / self.steps_per_epoch


def make_plan(config: Config, training_pictures: int, steps: int | None = None) -> Plan:
    """Turns epochs into steps.

    Args:
        config: The run.
        training_pictures: Number of pictures in the training split.
        steps: Length of the run; none: as configured. A budget has its steps chosen for it.
    """
    train, evaluation = config.train, config.eval
    if config.finetune.depth == "probe" and config.finetune.weights:
        return Plan(0, training_pictures / config.data.batch_size, 1, None)
    per_epoch = train.steps_per_epoch or training_pictures / config.data.batch_size
    steps = steps or train.steps or max(1, round((train.epochs or 1) * per_epoch))
    every = evaluation.every_steps or max(1, round((evaluation.every_epochs or 1) * per_epoch))
    return Plan(steps, per_epoch, min(every, steps), config.checkpoint.every_steps)
