"""Process start to first step: uv run --group bench python -m benchmarks.startup."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

from benchmarks.harness import OURS, QUICK_STEP, arguments, in_turn, photographs, report

_STEP = {"size": 150, "batch": 20, "steps": 1}
_WARM, _COLD = f"{OURS} warm", f"{OURS} cold"
_PEERS = ("pytorch", "keras tensorflow", "keras jax")


def seconds_to_first_line(command: list[str], cache: str) -> float:
    """Returns the seconds until a process writes its first JSON line, which ends it."""
    environment = {**os.environ, "CATSDOGS_CACHE": cache}
    # With it, each start compiles the Python code of all packages again, which no user's does.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    found = any(line.startswith("{") for line in process.stdout)
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    if not found:
        raise SystemExit(f"{' '.join(command)} ended early, see above")
    return seconds


def whole_run(shape: Mapping[str, int], cache: str) -> float:
    """A run of configs/seed_cnn.py: imports, scan and decoding of all photographs, compilation."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["benchmarks.systems.first_step", "configs/seed_cnn.py", f"{folder}/run"]
        values = {"dir": photographs(), "image_size": shape["size"], "batch_size": shape["batch"]}
        overrides = [f"data.{key}={value}" for key, value in values.items()]
        return seconds_to_first_line([*command, *overrides], cache)


def step_alone(shape: Mapping[str, int], system: str, cache: str) -> float:
    """Imports, compilation and a step on made-up pictures."""
    command = ["benchmarks.worker", "train_step", system, json.dumps(shape)]
    return seconds_to_first_line(command, cache)


def cold(measure: Callable[[str], float]) -> float:
    """Measures with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        return measure(cache)


def _in_turn(
    kept: str, peers: list[str], rounds: int, *, quick: bool
) -> dict[tuple[str, str], list[float]]:
    """Returns the seconds of each round by case and system; `kept` is a folder for caches."""
    shape = QUICK_STEP if quick else _STEP
    ours: Mapping[str, Callable[[str], float]] = {
        "whole run": lambda cache: whole_run(shape, cache),
        "step alone": lambda cache: step_alone(shape, OURS, cache),
    }
    measures: dict[tuple[str, str], Callable[[], float]] = {}
    for case, measure in ours.items():
        measures[case, _WARM] = lambda case=case, measure=measure: measure(f"{kept}/{case}")
        measures[case, _COLD] = lambda measure=measure: cold(measure)
    for peer in peers:
        measures["step alone", peer] = lambda peer=peer: step_alone(shape, peer, kept)
    found: dict[tuple[str, str], list[float]] = {key: [] for key in measures}
    if quick:  # What fills our caches is a cold start, and shows that it works.
        for case in ours:
            found[case, _COLD].append(measures[case, _WARM]())
    else:
        for measure in measures.values():
            measure()  # Fills the caches, the operating system's among them.
    for _ in range(rounds):
        for key, measure in measures.items():
            if not (quick and key[1] == _COLD):
                found[key].append(measure())
    return found


def main() -> None:
    """Measures the start of a run, and of a step beside those of peers."""
    flags = arguments(__doc__ or "", rounds=5).parse_args()
    peers = [peer for peer in _PEERS if flags.only is None or peer in flags.only]
    with tempfile.TemporaryDirectory() as kept:
        found = _in_turn(kept, peers, 1 if flags.quick else flags.rounds, quick=flags.quick)
    rows = []
    for case in dict.fromkeys(case for case, _ in found):
        seconds = {system: values for (of, system), values in found.items() if of == case}
        rows += in_turn(case, seconds, "s", _WARM)
    packages = ("jax", "tensorflow", "keras", "torch") if peers else ("jax", "tensorflow")
    report(rows, {name: version(name) for name in packages}, flags)


if __name__ == "__main__":
    main()
