"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.training.plan import Plan

HIGH_DATA_WAIT = 0.1
"""Share of the time spent waiting for pictures from which the remedy is named."""


class Stopwatch:
    """Measures training speed between records: pictures a second, and the share spent waiting.

    Args:
        batch: Pictures in a step.
    """

    def __init__(self, batch: int):
        self._batch = batch
        self._images = 0
        self._seconds = 0.0
        self._waits = 0.0
        self.restart(0.0)

    def restart(self, waited: float) -> None:
        """Begins an interval; `waited` is the reader's total waiting time so far, seconds."""
        self._start, self._waited, self._steps = time.perf_counter(), waited, 0

    def tick(self, steps: int = 1) -> None:
        """Counts steps."""
        self._steps += steps

    def read(self, waited: float) -> dict[str, float]:
        """Returns the speed of the interval; call it when the device has finished the steps."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        images = self._steps * self._batch
        self._images += images
        self._seconds += seconds
        self._waits += waited - self._waited
        share = (waited - self._waited) / seconds
        return {"images_per_second": images / seconds, "data_wait": share}

    @property
    def images_per_second(self) -> float | None:
        """Speed over all intervals of this process; none before the first was read."""
        return self._images / self._seconds if self._seconds else None

    @property
    def data_wait(self) -> float | None:
        """Share of the time spent waiting for data, over the same intervals."""
        return self._waits / self._seconds if self._seconds else None


class Silence:
    """The progress of a process that does not speak."""

    def step(self, step: int, waited: float) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Closes nothing."""


class Progress:
    """Shows how far a run is, how fast, and how good.

    Args:
        plan: Length of the run.
        first_step: Steps that an earlier run has finished.
        batch: Pictures in a step.
        in_memory: Whether the training pictures are kept decoded.
        held_out: Number of validation pictures.
    """

    def __init__(self, plan: Plan, first_step: int, batch: int, *, in_memory: bool, held_out: int):
        self._plan, self._batch, self._in_memory = plan, batch, in_memory
        self._held_out, self._legend = held_out, True
        self._start = time.perf_counter()
        self._first = self._shown = first_step
        self._console = Console(highlight=False, soft_wrap=True)
        self._bar = Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=plan.steps, completed=first_step)
        self._bar.start()

    def step(self, step: int, waited: float) -> None:
        """Moves the bar after a step."""
        if self._bar.disable or step < self._shown + 5:
            return
        self._shown = step
        seconds = time.perf_counter() - self._start
        speed = (step - self._first) * self._batch / seconds
        words = f"{speed:.0f} images/s, data wait {waited / seconds:.1%}"
        self._bar.update(self._task, completed=step, description=words)

    def record(
        self, step: int, metrics: Mapping[str, Mapping[str, float]], speed: Mapping[str, float]
    ) -> None:
        """Prints one line for an evaluation."""
        if self._legend:
            self._legend = False
            self._console.print(
                "accuracies: train, over the pictures since the last line while it learns from "
                f"them; validation, n = {self._held_out:,} [95 % interval]",
                markup=False,
            )
        width = len(str(self._plan.steps))
        whole = self._plan.epoch(self._plan.steps)
        parts = [f"epoch {self._plan.epoch(step):5.1f}/{whole:g}  step {step:{width}}"]
        for split, values in metrics.items():
            accuracy, loss = 100 * values["accuracy"], values["loss"]
            interval = self._interval(values["accuracy"]) if split == "validation" else ""
            parts.append(f"{split} accuracy {accuracy:5.1f} %{interval}  loss {loss:.3f}")
        if speed:
            rate, wait = speed["images_per_second"], speed["data_wait"]
            parts.append(f"{rate:.0f} images/s  wait {wait:.1%}")
        self._console.print("  |  ".join(parts), markup=False)
        if speed.get("data_wait", 0.0) > HIGH_DATA_WAIT and not self._in_memory:
            self._console.print(
                "  training waits for pictures: raise --config.data.cache_mb (memory) or "
                "--config.data.disk_cache_mb so that they are decoded once, or store them smaller",
                markup=False,
            )

    def _interval(self, accuracy: float) -> str:
        low, high = wilson_interval(round(accuracy * self._held_out), self._held_out)
        return f" [{100 * low:.1f}, {100 * high:.1f}]"

    def close(self) -> None:
        """Removes the bar."""
        self._bar.stop()
