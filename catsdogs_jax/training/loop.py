"""The training loop, as a ladder: fit, advance, record."""

import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.data.feed import Feed
from catsdogs_jax.durations import seconds_of
from catsdogs_jax.errors import Diverged, Interrupted
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.run_folder import RunFolder, write_json
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.early_stop import EarlyStop, early_stop
from catsdogs_jax.training.evaluation import Evaluation, GivenUp, evaluate
from catsdogs_jax.training.goodput import Goodput
from catsdogs_jax.training.optimizer import make_schedule, scaled
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.preemption import Observer, Stop, unobserved
from catsdogs_jax.training.progress import Stopwatch
from catsdogs_jax.training.records import NoRecords, Records
from catsdogs_jax.training.resident import stacked
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.thresholds import with_thresholds
from catsdogs_jax.training.trainer import Trainer
from catsdogs_jax.training.watchdog import Watchdog
from catsdogs_jax.training.witness import Witness

_IN_FLIGHT = 2
_FILES_NAMED = 5

InFlight = deque[tuple[int, dict[str, Any]]]
"""Last step and metrics of the calls that may not be done yet, the first first."""


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
        goodput: Where the time goes.
        observe: Is told of each evaluation, before the state is saved.
    """

    config: Config
    plan: Plan
    trainer: Trainer
    dataset: Dataset
    checkpoints: Checkpoints
    records: Records | NoRecords
    stop: Stop
    goodput: Goodput
    observe: Observer = unobserved

    def __post_init__(self) -> None:
        self.stopwatch = Stopwatch(self.config.data.batch_size)
        data = self.config.data
        self._pictures = self.dataset.training
        self._order = data.batch_size, self.config.seed, data.sampling
        self._witness = Witness(self._pictures, data.batch_size, self.config.seed)
        wait = self.config.train.watchdog
        self._watchdog = Watchdog(None if wait is None else seconds_of(wait))
        self._schedule = make_schedule(scaled(self.config), self.plan.steps)

    def restore(self, step: int) -> TrainState:
        """Returns the state of a checkpoint."""
        return self.checkpoints.restore(step, self.trainer.abstract_state())

    def measure_start(self, state: TrainState, train: Mapping[str, float]) -> None:
        """Evaluates, records and saves a state before the first step, as step 0.

        Args:
            state: The state.
            train: Accuracy and loss on the training pictures.
        """
        try:
            result = self._evaluate(state, 0)
        except GivenUp:
            raise self._interrupted(0, self.stop.requested(0) or 0) from None
        validation = {"epoch": 0.0, "accuracy": result.accuracy, "loss": result.loss}
        metrics = {"train": {"epoch": 0.0, **train}, "validation": validation}
        self.records.write(0, metrics, {})
        self.checkpoints.save(state, 0, self._preprocessing(result), validation)

    def fit(self, state: TrainState, first_step: int) -> TrainState:
        """Trains from a state after `first_step` steps to the end of the plan, or an early one.

        Raises:
            Interrupted: A signal asked to stop; the state is saved.
            Diverged: The loss is not finite any more.
        """
        programs = self.trainer.programs if self.plan.steps else [self.trainer.evaluate]
        self.goodput.begin(first_step, sum(one.seconds for one in programs))
        recorded = max((row["step"] for row in self.records.rows), default=0)
        unrecorded = self._pictures.training_order(recorded, first_step, *self._order)
        self._witness.recall(recorded, unrecorded)
        state = self._evaluate_what_a_signal_cut_short(state, first_step)
        if self.ended_early() is not None:
            return state
        hooks = self.records.hooks(self.plan.steps, self.config.train.profile_steps)
        in_flight: InFlight = deque()
        # What moves between host and device is asked for.
        with (
            self._feed(first_step, in_flight) as feed,
            self._watchdog,
            self.goodput.spend("step"),
            jax.transfer_guard("disallow"),
        ):
            self.stopwatch.restart(feed.waited)
            step = first_step
            for batch in feed:
                stage = self.trainer.after(step)
                state, metrics = (stage.resident or stage.train)(state, batch)
                steps = np.size(metrics["failed"])
                step += steps
                # Copied behind the step: where it is read, below, it is on the host already.
                with jax.transfer_guard_device_to_host("allow"):
                    metrics["failed"].copy_to_host_async()
                in_flight.append((step, metrics))
                self._confirm(in_flight, _IN_FLIGHT, state)
                for hook in hooks:
                    hook(step)
                state = self._after_steps(steps, step, state, feed, in_flight)
                if self.plan.evaluates_after(step) and self.ended_early() is not None:
                    break
        return state

    def ended_early(self) -> EarlyStop | None:
        """Returns why the run ends before its last step; none if it does not."""
        metric, patience = self.config.checkpoint.metric, self.config.train.patience
        found = early_stop(self.records.rows, metric, patience) if patience else None
        return found if found is not None and found.step < self.plan.steps else None

    def _confirm(self, in_flight: InFlight, left: int, state: TrainState) -> None:
        """Waits until at most `left` calls are in flight, and stops the run if one has failed.

        This bounds the batches that wait on the device as well.
        """
        while len(in_flight) > left:
            step, metrics = in_flight.popleft()
            failed = np.atleast_1d(jax.device_get(metrics["failed"]))
            if failed.any():
                first = int(failed.argmax())
                told = {
                    name: np.atleast_1d(values)[first]
                    for name, values in jax.device_get(metrics).items()
                }
                self._stop_for_failure(step - len(failed) + 1 + first, told, state)

    def _after_steps(
        self, steps: int, step: int, state: TrainState, feed: Feed, in_flight: InFlight
    ) -> TrainState:
        """Does what follows a call of some steps, of which `step` is the last."""
        self.stopwatch.tick(steps)
        self._watchdog.pat()
        for taken in range(step - steps + 1, step + 1):
            self._witness.taken(taken)
        self.checkpoints.check()
        self.goodput.note(step, feed.waited)
        self.records.progress.step(step, feed.waited)
        measured, preprocessing = None, self.dataset.preprocessing
        if self.plan.evaluates_after(step):
            self._confirm(in_flight, 0, state)
            # A signal leaves the evaluation to the run that goes on.
            with contextlib.suppress(GivenUp):
                state, measured, preprocessing = self._record(step, state, feed.waited)
        signal_number = self.stop.requested(step)
        if self.plan.saves_after(step) or signal_number is not None:
            self._confirm(in_flight, 0, state)
            with self.goodput.spend("checkpoint"):
                self.checkpoints.save(state, step, preprocessing, measured)
            self.goodput.keep(step, feed.waited)
        if signal_number is not None:
            self.checkpoints.prove(step, state)
            raise self._interrupted(step, signal_number)
        if measured is not None:
            self.stopwatch.restart(feed.waited)
        return state

    def _record(
        self, step: int, state: TrainState, waited: float
    ) -> tuple[TrainState, dict[str, float], Preprocessing]:
        """Evaluates, writes both splits' metrics, begins new sums, and chooses thresholds."""
        sums = jax.device_get(state.sums)  # Waits for the steps since the last record.
        speed = self.stopwatch.read(waited)
        epoch = self.plan.epoch(step)
        rate = float(self._learning_rate(step - 1))
        train = {"epoch": epoch, "accuracy": float(sums.accuracy), "loss": float(sums.mean_loss)}
        result = self._evaluate(state, step)
        self._check_evaluation(step, state, result.loss)
        validation = {"epoch": epoch, "accuracy": result.accuracy, "loss": result.loss}
        train |= {"learning_rate": rate, "digest": self._witness.spell()}
        metrics = {"train": train, "validation": validation}
        self.records.write(step, metrics, speed)
        self.observe(step / self.plan.steps, validation)
        return self.trainer.reset_sums(state), validation, self._preprocessing(result)

    def _evaluate(self, state: TrainState, step: int) -> Evaluation:
        """Measures a state on the validation split; a signal makes it give up."""
        with self.goodput.spend("evaluation"):
            return evaluate(
                self.trainer.evaluate,
                state.evaluated_params,
                state.evaluated_statistics,
                self.dataset.splits["validation"],
                self.trainer.eval_batch,
                self.trainer.sharding,
                given_up=lambda: self._asked_to_stop(step),
            )

    def _asked_to_stop(self, step: int) -> bool:
        """Is asked after each batch of an evaluation."""
        self._watchdog.pat()
        return self.stop.requested(step) is not None

    def _preprocessing(self, result: Evaluation) -> Preprocessing:
        """Returns what goes with the weights that were evaluated on the validation split."""
        given = self.dataset.preprocessing
        if self.config.eval.thresholds == "half":
            return given
        return with_thresholds(given, result.logits, self.dataset.splits["validation"].targets)

    def _evaluate_what_a_signal_cut_short(self, state: TrainState, step: int) -> TrainState:
        """Evaluates after the step of the checkpoint, if the run before stopped meanwhile.

        Raises:
            Interrupted: A signal came again.
        """
        recorded = not jax.device_get(state.sums.count)  # A record begins new sums.
        if step == 0 or recorded or not self.plan.evaluates_after(step):
            return state
        try:
            with jax.transfer_guard("disallow"):
                state, measured, preprocessing = self._record(step, state, 0.0)
        except GivenUp:
            raise self._interrupted(step, self.stop.requested(step) or 0) from None
        self.checkpoints.replace(state, step, preprocessing, measured)
        return state

    def _interrupted(self, step: int, signal_number: int) -> Interrupted:
        saved = f"saved after step {step} of {self.plan.steps}" if step else "nothing saved yet"
        return Interrupted(
            f"stopped by signal {signal_number}: {saved} in {str(self.records.folder)!r}; the same "
            "command goes on from there",
            signal_number,
        )

    def _learning_rate(self, step: int) -> float:
        with jax.transfer_guard("allow"):  # A schedule computes one scalar from a Python int.
            return float(np.asarray(self._schedule(step)))

    def _stop_for_failure(
        self, step: int, metrics: Mapping[str, np.ndarray], state: TrainState
    ) -> NoReturn:
        """Saves the state, which is that before the step, and names what the step was made of."""
        rate = self._learning_rate(step - 1)
        files = self._pictures.files_of_step(step, *self._order)
        numbers = {"loss": float(metrics["loss"]), "gradient_norm": float(metrics["gradient_norm"])}
        # Text in place of numbers: JSON has none for what is not finite.
        told = {name: f"{value:g}" for name, value in numbers.items()}
        report = RunFolder(self.records.folder).failure
        if hosts.is_first():
            write_json(report, {"step": step, "learning_rate": rate, **told, "files": files})
        if step > 1:
            sound = dataclasses.replace(state, failed=self.trainer.sharding.everywhere(np.False_))
            self.checkpoints.save(sound, step - 1, self.dataset.preprocessing, None)
            self.checkpoints.wait()
        raise Diverged(
            f"the training loss is {told['loss']} at step {step} (gradient norm "
            f"{told['gradient_norm']}, learning rate {rate:g}) of the pictures "
            f"{', '.join(map(repr, files[:_FILES_NAMED]))}{' ...' * (len(files) > _FILES_NAMED)}, "
            f"all in {str(report)!r}; the state before it is "
            f"{f'saved as step {step - 1}' if step > 1 else 'that of the start'}: look at them, or "
            f"try --config.train.learning_rate={self.config.train.learning_rate / 10:g} or "
            "--config.train.clip_norm=1 in a new --workdir"
        )

    def _check_evaluation(self, step: int, state: TrainState, loss: float) -> None:
        if math.isfinite(loss):
            return
        self.checkpoints.save(state, step, self.dataset.preprocessing, None)
        self.checkpoints.wait()
        raise Diverged(
            f"the validation loss is {loss} at step {step}, though every training loss was finite; "
            f"the state is saved as step {step}: look at the validation pictures, or try a lower "
            "--config.train.learning_rate in a new --workdir"
        )

    def _feed(self, first_step: int, in_flight: InFlight) -> Feed:
        places = self.trainer.sharding.places(self.config.data.batch_size)
        which = (first_step, self.plan.steps, *self._order, places)
        sharding, resident = self.trainer.sharding, self.trainer.resident
        if resident is None:
            batches = self._pictures.training_batches(*which)
        else:
            batches = self._pictures.training_rows(*which)
        fed = self._witness.watched(batches, first_step, places)
        if resident:
            fed = stacked(fed, resident.calls(self.plan, first_step, self.trainer.earlier))
        return Feed(
            fed,
            sharding.batches if resident else sharding.batch,
            busy=lambda: bool(in_flight) and not in_flight[-1][1]["loss"].is_ready(),
        )
