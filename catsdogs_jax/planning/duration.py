"""How long a run takes, from the time of its steps and the speed of its input."""

import dataclasses

from catsdogs_jax.config import Config
from catsdogs_jax.planning.decoder import Decoder
from catsdogs_jax.planning.problem import Problem
from catsdogs_jax.training.plan import Plan


@dataclasses.dataclass(frozen=True)
class Duration:
    """Where the time of a run goes, seconds.

    Attributes:
        steps: Number of training steps.
        training: All training steps, input included; or the features that a probe is fitted to.
        evaluation: All evaluations.
        decoding: Decoding once, before the first step, of pictures that are kept decoded.
        wanted: Pictures a second that the devices could take.
        kept: Whether the decoded pictures are kept in memory or on disk.
        waits: Whether the devices wait for pictures.
    """

    steps: int
    training: float
    evaluation: float
    decoding: float
    wanted: float
    kept: bool
    waits: bool

    @property
    def total(self) -> float:
        """Seconds of the whole run; start and compilation are not in it."""
        return self.training + self.evaluation + self.decoding


def duration_of(
    config: Config,
    problem: Problem,
    plan: Plan,
    step: float,
    evaluation: float,
    decoder: Decoder,
    hosts: int,
) -> Duration:
    """Returns the time of a run whose steps take this long.

    Args:
        config: The run.
        problem: The size of its data.
        plan: Its length.
        step: Seconds of a training step with the largest pictures; of a probe, `features_seconds`.
        evaluation: Seconds of an evaluation step.
        decoder: What a host decodes.
        hosts: Hosts that decode.
    """
    batch, size = config.data.batch_size, config.data.image_size
    pictures, step = problem.train + problem.validation, step * config.trained_share
    room = max(config.data.cache_mb, config.data.disk_cache_mb) * 2**20
    decoded = (
        problem.train * round(size * config.augment.margin) ** 2 + problem.validation * size**2
    )
    kept, rate = 3 * decoded <= room, decoder.pictures_per_second * hosts
    input_step = 0.0 if kept else batch / rate
    held = -(-problem.validation // (config.eval.batch_size or batch))
    evaluations = max(1, -(-plan.steps // plan.eval_every))
    input_evaluation = 0.0 if kept else problem.validation / rate
    return Duration(
        steps=plan.steps,
        training=(plan.steps or problem.train / batch) * max(step, input_step),
        evaluation=evaluations * max(held * evaluation, input_evaluation),
        # Each host keeps all of them: any may be in its share of a batch.
        decoding=pictures / decoder.pictures_per_second if kept else 0.0,
        wanted=batch / step,
        kept=kept,
        waits=input_step > step,
    )


def features_seconds(config: Config, evaluation: float) -> float:
    """Returns the seconds in which a probe has the features of `data.batch_size` pictures.

    Args:
        config: The run.
        evaluation: Seconds of an evaluation step, which sees each picture in every view.
    """
    batch = config.data.batch_size
    # Of each picture and of its mirror image.
    return evaluation * 2 / config.eval.views * batch / (config.eval.batch_size or batch)
