"""Promises of repeated runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from catsdogs_jax import repeat
from catsdogs_jax.config import Config
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.train import train_and_evaluate
from tests.processes import ended, launched

Tiny = Callable[..., Config]


class StopOnce:
    """Asks to stop after the fourth step of the second run."""

    def __init__(self) -> None:
        self.runs = 0

    def requested(self, step: int) -> int | None:
        self.runs += step == 4
        return 15 if step == 4 and self.runs == 2 else None


@pytest.mark.heavy
def test_repeated_seeds_go_on_after_a_stop_and_report_mean_and_spread(
    tiny: Tiny, tmp_path: Path
) -> None:
    config, folder = tiny(seed=4), tmp_path / "runs"
    with pytest.raises(Interrupted, match="saved after step 4 of 6"):
        repeat.train_repeats(config, folder, 2, StopOnce())
    assert (folder / "seed_4/result.json").is_file()
    assert not (folder / "repeat.json").exists()
    values = repeat.train_repeats(config, folder, 2)
    assert values == json.loads((folder / "repeat.json").read_text())
    assert values["seeds"] == [4, 5]
    split = values["splits"]["validation"]
    for seed, accuracy in zip((4, 5), split["accuracy"], strict=True):
        alone = json.loads((folder / f"seed_{seed}/result.json").read_text())
        assert alone["splits"]["validation"]["accuracy"] == accuracy
        assert alone["config"]["seed"] == seed
    low, high = split["mean_ci95"]
    assert low <= split["mean"] <= high
    said = repeat.farewell(values, folder)
    assert "of 9 pictures over 2 seeds (95 % interval of the mean" in said
    assert "optimistic on validation" in said
    with Image.open(folder / "plots/repeat.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.long
def test_of_several_processes_one_speaks_and_writes(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(mesh={"devices": 2})
    said = ended(launched(tmp_path, config, processes=2, more=("--repeat", "2")))
    assert said.count("seed 1, run 2 of 2") == 1
    assert said.count("over 2 seeds (95 % interval of the mean") == 1
    assert json.loads((tmp_path / "run/repeat.json").read_text())["seeds"] == [0, 1]


def test_a_spread_of_one_seed_and_the_folder_of_a_single_run_are_refused(
    tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="at least 2 seeds"):
        repeat.train_repeats(tiny(), tmp_path / "run", 1)
    train_and_evaluate(tiny(train={"steps": 1}), tmp_path / "run")
    with pytest.raises(UserError, match="holds a single run"):
        repeat.train_repeats(tiny(), tmp_path / "run", 2)
