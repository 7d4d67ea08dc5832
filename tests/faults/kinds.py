"""The kinds of faults: each injects one, and returns what was lost (nothing, if all is well)."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.faults.child import log_of
from tests.faults.harness import Harness, Missed


def killed(harness: Harness) -> str:
    """SIGKILL at any moment from the start of the process to its end."""
    run = harness.new_run()
    end = time.monotonic() + harness.random.uniform(0, harness.seconds)
    harness.start_and_kill(run, lambda: time.monotonic() > end)
    return harness.verdict(run)


def killed_in_training(harness: Harness) -> str:
    """SIGKILL between two steps or in one; most of a short run's time is its start and its end."""
    run, rows = harness.new_run(), harness.random.randint(0, 2)
    patience, metrics = harness.random.uniform(0, 0.05), run / "metrics.jsonl"
    begun: list[float] = []

    def training() -> bool:
        if not begun and metrics.exists() and metrics.read_bytes().count(b"\n") >= rows:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() > begun[0] + patience

    harness.start_and_kill(run, training)
    return harness.verdict(run)


def killed_while_saving(harness: Harness) -> str:
    """SIGKILL while a checkpoint is written: its folder has no final name yet."""
    run, saves = harness.new_run(), harness.random.randint(1, 6)
    patience = harness.random.uniform(0, 0.02)
    seen: dict[str, float] = {}

    def saving() -> bool:
        for path in run.glob("checkpoints/*.orbax-checkpoint-tmp"):
            seen.setdefault(path.name, time.monotonic())
        return len(seen) >= saves and time.monotonic() > max(seen.values()) + patience

    harness.start_and_kill(run, saving)
    return harness.verdict(run)


def terminated(harness: Harness) -> str:
    """SIGTERM, or Ctrl-C, at any moment: the exit code tells, and nothing is lost."""
    run = harness.new_run()
    number = harness.random.choice([signal.SIGTERM, signal.SIGINT])
    end = time.monotonic() + harness.random.uniform(0, harness.seconds)
    code = harness.start_and_kill(run, lambda: time.monotonic() > end, number)
    # The system ends a process that has not come so far that it handles signals.
    if code not in (0, 128 + number, -number) and not (code == 1 and not run.exists()):
        return f"exit code {code}"
    return harness.verdict(run)


def disk_full(harness: Harness) -> str:
    """No file may grow over some size: writes fail as on a full disk."""
    run = harness.half_run() if harness.random.random() < 0.5 else harness.new_run()
    code, said = harness.finish(run, largest_file=harness.random.randint(300, 6000))
    if code not in (0, 2):
        return f"exit code {code}: {said[-500:]}"
    if code == 0:
        raise Missed
    if "error: " not in said:
        return f"no reason given: {said[-500:]}"
    return harness.verdict(run)


def picture_broken(harness: Harness) -> str:
    """A picture is cut off between two runs: the second refuses, until it is put back."""
    run = harness.half_run()
    picture = harness.random.choice(sorted(harness.pictures.rglob("*.png")))
    whole = picture.read_bytes()
    picture.write_bytes(whole[: harness.random.randrange(len(whole))])
    try:
        code, said = harness.finish(run)
    finally:
        picture.write_bytes(whole)
    if code != 2 or "pictures have changed" not in said:
        return f"a changed picture was not noticed (exit code {code})"
    return harness.verdict(run)


def second_run(harness: Harness) -> str:
    """The same command while the run goes on: refused, and the first one ends as ever."""
    run = harness.new_run()
    first = harness.start(run)
    while first.is_alive() and not (run / "checkpoints").exists():
        time.sleep(0.001)
    shutil.copy(f"{run}.log", f"{run}.first.log")
    code, said = harness.finish(run)
    first.join()
    if code == 0:  # The first had ended.
        raise Missed
    if first.exitcode or code != 2 or "another run" not in said:
        return f"exit codes {first.exitcode} and {code}: {said[-300:]}"
    return harness.verdict(run)


def damaged(harm: Callable[[Harness, Path], None]) -> Callable[[Harness], str]:
    """Returns a fault that harms the newest checkpoint of a run that was killed."""

    def fault(harness: Harness) -> str:
        run = harness.half_run()
        steps = [p for p in (run / "checkpoints").iterdir() if p.name.isdigit()]
        newest = max(steps, key=lambda path: int(path.name))
        harm(harness, newest)
        lost = harness.verdict(run)
        said = log_of(run).read_text(errors="replace")
        if not lost and f"step {newest.name} is broken" not in said and harm is not _flip:
            return "a broken checkpoint was not named"
        return lost

    return fault


def _files(step: Path) -> list[Path]:
    return sorted(p for p in step.rglob("*") if p.is_file() and p.stat().st_size)


def _data(harness: Harness, step: Path) -> Path:
    names = ("_CHECKPOINT_METADATA", "commit_success.txt")
    return harness.random.choice([p for p in _files(step) if p.relative_to(step).name not in names])


def _truncate(harness: Harness, step: Path) -> None:
    path = _data(harness, step)
    os.truncate(path, harness.random.randrange(path.stat().st_size))


def _flip(harness: Harness, step: Path) -> None:
    path = harness.random.choice(_files(step))
    data = bytearray(path.read_bytes())
    data[harness.random.randrange(len(data))] ^= 1 << harness.random.randrange(8)
    path.write_bytes(data)


def _delete(harness: Harness, step: Path) -> None:
    for _ in range(harness.random.randint(1, 5)):
        _data(harness, step).unlink()


def _empty(harness: Harness, step: Path) -> None:
    del harness
    for path in _files(step):
        os.truncate(path, 0)


def _marker_only(harness: Harness, step: Path) -> None:
    del harness
    for path in step.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


KINDS: Mapping[str, Callable[[Harness], str]] = {
    "killed at a random moment": killed,
    "killed in training": killed_in_training,
    "killed while saving": killed_while_saving,
    "checkpoint truncated": damaged(_truncate),
    "checkpoint bit-flipped": damaged(_flip),
    "checkpoint half deleted": damaged(_delete),
    "checkpoint emptied": damaged(_empty),
    "checkpoint: marker without data": damaged(_marker_only),
    "SIGTERM or Ctrl-C": terminated,
    "disk full": disk_full,
    "picture cut off": picture_broken,
    "second run in the folder": second_run,
}
