"""The training loop, as a ladder: fit, advance, record."""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.data.feed import Feed
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.early_stop import EarlyStop, early_stop
from catsdogs_jax.training.evaluation import Evaluation, evaluate
from catsdogs_jax.training.optimizer import make_schedule
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.preemption import Stop
from catsdogs_jax.training.progress import Stopwatch
from catsdogs_jax.training.records import Records
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.thresholds import with_thresholds
from catsdogs_jax.training.trainer import Trainer

_IN_FLIGHT = 2


@dataclasses.dataclass
class Loop:
    """What the loop needs, and the watch that it reads.

    Attributes:
        config: The run.
        plan: Its course.
        trainer: Compiled steps.
        dataset: Pictures.
        checkpoints: Where the state is saved.
        records: Where metrics go.
        stop: May ask to stop after a step.
    """

    config: Config
    plan: Plan
    trainer: Trainer
    dataset: Dataset
    checkpoints: Checkpoints
    records: Records
    stop: Stop

    def __post_init__(self) -> None:
        self.stopwatch = Stopwatch(self.config.data.batch_size)
        self._schedule = make_schedule(self.config.train, self.plan.steps)

    def restore(self, step: int) -> TrainState:
        """Returns the state of a checkpoint."""
        return self.checkpoints.restore(step, self.trainer.abstract_state())

    def measure_start(self, state: TrainState, train: Mapping[str, float]) -> None:
        """Evaluates, records and saves a state before the first step, as step 0.

        Args:
            state: The state.
            train: Accuracy and loss on the training pictures.
        """
        result = self._evaluate(state)
        validation = {"epoch": 0.0, "accuracy": result.accuracy, "loss": result.loss}
        metrics = {"train": {"epoch": 0.0, **train}, "validation": validation}
        self.records.write(0, metrics, {})
        self.checkpoints.save(state, 0, self._preprocessing(result), validation)

    def fit(self, state: TrainState, first_step: int) -> TrainState:
        """Trains from a state after `first_step` steps to the end of the plan, or an early one.

        Raises:
            Interrupted: A signal asked to stop; the state is saved.
            UserError: The loss is not finite any more.
        """
        if self.ended_early() is not None:
            return state
        hooks = self.records.hooks(self.plan.steps, self.config.train.profile_steps)
        in_flight: deque[jax.Array] = deque()
        # What moves between host and device is asked for.
        with self._feed(first_step, in_flight) as feed, jax.transfer_guard("disallow"):
            self.stopwatch.restart(feed.waited)
            for step, batch in enumerate(feed, first_step + 1):
                state, metrics = self.trainer.train(state, batch)
                in_flight.append(metrics["loss"])
                if len(in_flight) > _IN_FLIGHT:  # Bounds the batches that wait on the device.
                    in_flight.popleft().block_until_ready()
                state = self._after_step(step, state, feed, hooks)
                if self.plan.evaluates_after(step) and self.ended_early() is not None:
                    break
        return state

    def ended_early(self) -> EarlyStop | None:
        """Returns why the run ends before its last step; none if it does not."""
        metric, patience = self.config.checkpoint.metric, self.config.train.patience
        found = early_stop(self.records.rows, metric, patience) if patience else None
        return found if found is not None and found.step < self.plan.steps else None

    def _after_step(
        self, step: int, state: TrainState, feed: Feed, hooks: Sequence[Callable[[int], object]]
    ) -> TrainState:
        self.stopwatch.tick()
        self.checkpoints.check()
        self.records.progress.step(step, feed.waited)
        for hook in hooks:
            hook(step)
        measured, preprocessing = None, self.dataset.preprocessing
        if self.plan.evaluates_after(step):
            state, measured, preprocessing = self._record(step, state, feed)
        signal_number = self.stop.requested(step)
        if self.plan.saves_after(step) or signal_number is not None:
            self.checkpoints.save(state, step, preprocessing, measured)
        if signal_number is not None:
            self.checkpoints.prove(step, state)
            raise Interrupted(
                f"stopped by signal {signal_number}: saved after step {step} of {self.plan.steps} "
                f"in {str(self.records.folder)!r}; the same command goes on from there",
                signal_number,
            )
        if measured is not None:
            self.stopwatch.restart(feed.waited)
        return state

    def _record(
        self, step: int, state: TrainState, feed: Feed
    ) -> tuple[TrainState, dict[str, float], Preprocessing]:
        """Evaluates, writes both splits' metrics, begins new sums, and chooses thresholds."""
        sums = jax.device_get(state.sums)  # Waits for the steps since the last record.
        speed = self.stopwatch.read(feed.waited)
        epoch = self.plan.epoch(step)
        rate = float(self._learning_rate(step - 1))
        train = {"epoch": epoch, "accuracy": float(sums.accuracy), "loss": float(sums.mean_loss)}
        self._check_finite(step, train["loss"], rate)
        result = self._evaluate(state)
        validation = {"epoch": epoch, "accuracy": result.accuracy, "loss": result.loss}
        metrics = {"train": {**train, "learning_rate": rate}, "validation": validation}
        self.records.write(step, metrics, speed)
        return self.trainer.reset_sums(state), validation, self._preprocessing(result)

    def _evaluate(self, state: TrainState) -> Evaluation:
        return evaluate(
            self.trainer.evaluate,
            state.evaluated_params,
            state.statistics,
            self.dataset.splits["validation"],
            self.trainer.eval_batch,
            self.trainer.sharding,
        )

    def _preprocessing(self, result: Evaluation) -> Preprocessing:
        """Returns what goes with the weights that were evaluated on the validation split."""
        given = self.dataset.preprocessing
        if self.config.eval.thresholds == "half":
            return given
        return with_thresholds(given, result.logits, self.dataset.splits["validation"].targets)

    def _learning_rate(self, step: int) -> float:
        with jax.transfer_guard("allow"):  # A schedule computes one scalar from a Python int.
            return float(np.asarray(self._schedule(step)))

    def _check_finite(self, step: int, loss: float, rate: float) -> None:
        if not math.isfinite(loss):
            last = self.checkpoints.latest_step
            raise UserError(
                f"the training loss is {loss} at step {step} (learning rate {rate:g}); the last "
                f"good checkpoint is of step {last or 'none'}: try --config.train.learning_rate="
                f"{rate / 10:g} or --config.train.clip_norm=1 in a new --workdir"
            )

    def _feed(self, first_step: int, in_flight: Sequence[Any]) -> Feed:
        data = self.config.data
        batches = self.dataset.splits["train"].training_batches(
            first_step, self.plan.steps, data.batch_size, self.config.seed, data.sampling
        )
        return Feed(
            batches,
            self.trainer.sharding.batch,
            busy=lambda: bool(in_flight) and not in_flight[-1].is_ready(),
        )
