"""Promises of the search: it goes on, takes over what workers left, and writes the best down."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState
from PIL import Image

from catsdogs_jax import sweep
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict, read_config, with_values
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.search import study, trials
from catsdogs_jax.search.outcome import conclude_search, config_file
from catsdogs_jax.search.space import Space
from catsdogs_jax.search.study import MOST_RETRIES, WHOLE_RUN, Search, open_search
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.preemption import SignalStop

Tiny = Callable[..., Config]
SPACE = Space(
    {
        "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.hidden": {"low": 4, "high": 8},
    }
)


def opened(config: Config, storage: Path | str, count: int, **options: object) -> Search:
    return open_search(config, SPACE, str(storage), trials=count, **options)  # type: ignore[arg-type]


def leave_behind(search: Search, number: int) -> None:
    """Makes the worker of a trial look dead."""
    os.utime(search.heartbeat(number), (1, 1))


@pytest.fixture
def fake_runs(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Runs of two evaluations that train nothing; the accuracy follows from the rate."""
    configs: list[Config] = []

    def run(config: Config, workdir: Path, *, observe: Callable, test: bool) -> object:
        assert not test
        configs.append(config)
        accuracy = 100 * config.train.learning_rate
        for share in (0.5, 1.0):
            observe(share, {"accuracy": accuracy, "loss": 1.0})
        split = {"n": 9, "accuracy": accuracy, "accuracy_ci95": [0.0, 1.0], "loss": 1.0}
        return type("Result", (), {"values": {"splits": {"validation": split}}})

    monkeypatch.setattr(trials, "train_and_evaluate", run)
    return configs


@pytest.mark.heavy
def test_a_sweep_goes_on_where_it_stopped_and_writes_the_best_config(
    tiny: Tiny, tmp_path: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("red", "blue"):  # A test split, which the search must not look at.
        (colours / "test" / name).mkdir(parents=True)
        (colours / "test" / name / "0.png").symlink_to(colours / "validation" / name / "0.png")
    (tmp_path / "c.py").write_text(config_file(tiny(), "A config."))
    (tmp_path / "space.json").write_text(json.dumps(SPACE.entries))
    words = ["--config", str(tmp_path / "c.py"), "--space", str(tmp_path / "space.json")]
    words += ["--storage", str(tmp_path / "sweep.log"), "--reduction", "1", "--trials"]
    sweep.main([*words, "1"])
    assert capsys.readouterr().out.count("length  ") == 1
    sweep.main([*words, "2"])
    said = capsys.readouterr().out
    assert said.count("length  ") == 1
    assert "best of 2 finished trials (0 ended early)" in said
    found = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2
    assert {trial["n"] for trial in found["trials"]} == {9}
    result = json.loads((tmp_path / "sweep/trials/00000/result.json").read_text())
    assert list(result["splits"]) == ["validation"]
    with Image.open(tmp_path / "sweep/plots/history.png") as picture:
        assert min(picture.size) > 300
    best = found["trials"][found["best"]]
    assert read_config(tmp_path / "sweep/best_config.py") == with_values(tiny(), best["parameters"])


@pytest.mark.heavy
def test_the_trial_of_a_killed_worker_is_tried_again_from_its_checkpoint(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = opened(tiny(), tmp_path / "sweep.log", 1)
    dead = search.next_trial()
    assert dead is not None
    run = search.run_folder(search.study.trials[0])
    config = with_values(tiny(), dead.params)
    with pytest.raises(Interrupted):  # What a kill after this checkpoint leaves behind.
        train_and_evaluate(config, run, StopAfter(3), observe=lambda *_: dead.report(0.5, 500))
    leave_behind(search, 0)
    again = opened(tiny(), tmp_path / "sweep.log", 1)
    trial = again.next_trial()
    assert trial is not None
    assert trial.params == dead.params
    capsys.readouterr()
    trials.run_trial(again, trial)
    assert "going on  from the checkpoint of step 3" in capsys.readouterr().out
    states = [trial.state for trial in again.study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]
    assert set(again.study.trials[1].intermediate_values) == {500, 1000}
    assert again.next_trial() is None


class StopAfter(SignalStop):
    """Asks to stop after one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def requested(self, step: int) -> int | None:
        return signal.SIGTERM if step == self.step else None


def test_a_database_works_as_a_file_does(
    tiny: Tiny, tmp_path: Path, fake_runs: list[Config]
) -> None:
    url = f"sqlite:///{tmp_path}/sweep.db"
    with pytest.raises(UserError, match="is a database: give --workdir"):
        opened(tiny(), url, 2)
    search = opened(tiny(), url, 6, workdir=str(tmp_path / "shared"), reduction=1)
    assert search.next_trial() is not None
    leave_behind(search, 0)
    while (trial := search.next_trial()) is not None:
        trials.run_trial(search, trial)
    assert len(fake_runs) == 6
    outcome = conclude_search(search)
    assert outcome.finished == 6
    assert sum(outcome.importance.values()) == pytest.approx(1)
    assert "importance: train.learning_rate" in outcome.farewell()
    with Image.open(tmp_path / "shared/plots/importance.png") as picture:
        assert min(picture.size) > 200
    assert search.study.trials[0].params == search.study.trials[1].params


def test_successive_halving_ends_the_trials_that_do_not_lead(
    tiny: Tiny, tmp_path: Path, fake_runs: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    search = opened(tiny(), tmp_path / "sweep.log", 8)
    while (trial := search.next_trial()) is not None:
        trials.run_trial(search, trial)
    outcome = conclude_search(search)
    assert len(fake_runs) == 8
    assert 1 <= outcome.finished < 8
    assert "ended early: after 50% of its run its validation accuracy" in capsys.readouterr().out
    assert outcome.best.value == max(trial.value or 0 for trial in outcome.trials)
    rates = [config.train.learning_rate for config in fake_runs]
    other = opened(tiny(), tmp_path / "other.log", 2)  # The same seed draws the same settings.
    for rate in rates[:2]:
        trial = other.next_trial()
        assert trial is not None
        trials.run_trial(other, trial)
        assert trial.params["train.learning_rate"] == rate


@pytest.mark.parametrize("reduction", range(2, 11))
def test_there_are_three_rungs(reduction: int) -> None:
    pruner = study._pruner(reduction)
    assert isinstance(pruner, SuccessiveHalvingPruner)
    first = pruner._min_resource
    assert isinstance(first, int)
    assert first * reduction**2 < WHOLE_RUN <= first * reduction**3
    assert first >= WHOLE_RUN / reduction**3


def test_a_stopped_trial_goes_back_to_the_queue_and_is_given_up_in_the_end(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("saved", signal.SIGTERM)

    monkeypatch.setattr(trials, "train_and_evaluate", stopped)
    search = opened(tiny(), tmp_path / "sweep.log", 1)
    for _ in range(MOST_RETRIES + 1):
        trial = search.next_trial()
        assert trial is not None
        with pytest.raises(Interrupted):
            trials.run_trial(search, trial)
    assert search.next_trial() is None
    assert len({search.run_folder(trial) for trial in search.study.trials}) == 1
    with pytest.raises(UserError, match="no trial has finished"):
        conclude_search(search)


def test_a_trial_that_cannot_run_ends_the_search_with_its_settings(
    tiny: Tiny, tmp_path: Path
) -> None:
    search = opened(tiny(data={"dir": "/nowhere"}), tmp_path / "sweep.log", 1)
    trial = search.next_trial()
    assert trial is not None
    with pytest.raises(UserError, match=r"trial 0 .train.*hidden=7. cannot run: no folder '/nowh"):
        trials.run_trial(search, trial)


def test_another_space_or_config_in_the_same_storage_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    opened(tiny(), tmp_path / "sweep.log", 1)
    with pytest.raises(UserError, match="study of another config .seed: 0 -> 1"):
        opened(tiny(seed=1), tmp_path / "sweep.log", 1)
    other = Space({"train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}})
    with pytest.raises(UserError, match="study of another space"):
        open_search(tiny(), other, str(tmp_path / "sweep.log"), trials=1)


def test_a_config_file_says_what_differs_and_reads_back_the_same(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(seed=3, augment={"zoom": (0.9, 1.1)}, train={"clip_norm": 1.0})
    path = tmp_path / "config.py"
    path.write_text(config_file(config, "A config."))
    assert config_to_dict(read_config(path)) == config_to_dict(config)
    assert "dropout" not in path.read_text()
