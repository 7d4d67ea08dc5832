"""Waiting for pictures, config by config: uv run python -m benchmarks.waiting.

Trains each config that is meant for one machine for some steps, and reads which share of that time
no step ran, as the next pictures were not there yet. The first epoch decodes them; later ones find
them in the cache. (What each host of `configs/pod.py` must read, `catsdogs plan` says.)
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.harness import OURS, Row, arguments, photographs, report
from catsdogs_jax.config.reader import read_config

_QUICK = 0.05

_EPOCHS = {
    "quickstart": 2.0,
    "seed_cnn": 4.0,
    "multiclass": 2.0,
    "multilabel": 2.0,
    "cats_vs_dogs": 2.0,
    "finetune": 0.3,
    "scratch": 2.0,
}
"""Epochs of each: two passes over the pictures, and a minute or two of what is slow."""

_FLAGS = {
    # A named set is read from such a folder too, into which it is written once.
    "cats_vs_dogs": ("--config.data.source=folder", "--config.data.test_share=0"),
    "finetune": ("--config.finetune.depth=all",),
}


def main() -> None:
    """Trains, and prints a table."""
    parser = arguments(__doc__ or "", rounds=1)
    flags = parser.parse_args()
    photos, rows = photographs(), []
    for name, epochs in _EPOCHS.items():
        if flags.only is None or name in flags.only:
            epochs = _QUICK if flags.quick else epochs
            rounds = 1 if flags.quick else flags.rounds
            waits = [_wait(name, epochs, photos, kept=flags.quick) for _ in range(rounds)]
            middle, case = statistics.median(waits), f"{name}, {epochs:g} epochs"
            print(f"{case}: {middle:.3g} %", flush=True)
            rows.append(Row(case, OURS, middle, "%", None, min(waits), max(waits), len(waits)))
    report(rows, {name: version(name) for name in ("jax", "flax")}, flags)


def _wait(name: str, epochs: float, photos: Path, *, kept: bool) -> float:
    """Returns the share of the time, in percent, of a run; `kept`: with the user's cache."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "catsdogs_jax.train", "--config", f"configs/{name}.py"]
        command += ["--workdir", f"{folder}/run", f"--config.train.epochs={epochs}"]
        command += _FLAGS.get(name, ())
        if read_config(f"configs/{name}.py").data.source != "drawn":
            command.append(f"--config.data.dir={photos}")
        environment = os.environ if kept else {**os.environ, "CATSDOGS_CACHE": f"{folder}/cache"}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        result = json.loads((Path(folder) / "run/result.json").read_text())
    return 100 * result["train_data_wait"]


if __name__ == "__main__":
    main()
