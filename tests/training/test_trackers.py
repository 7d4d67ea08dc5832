"""Promises of the trackers: they are told everything, go on with their run, and never end ours."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.errors import UserError
from catsdogs_jax.train import train_and_evaluate

Tiny = Callable[..., Config]
pytestmark = pytest.mark.draws


class AtFour:
    def requested(self, step: int) -> int | None:
        return 15 if step == 4 else None


@pytest.fixture
def package(request: pytest.FixtureRequest) -> Any:
    """The tracker's package, of the dependency group `trackers`."""
    if os.environ.get("CATSDOGS_REQUIRE_TRACKERS") == "1":
        return __import__(request.param)
    return pytest.importorskip(request.param)


def stop_and_go_on(tiny: Tiny, workdir: Path, name: str) -> None:
    """Trains to step 4, then, by the same command, to the end at step 6."""
    config = tiny(records={"trackers": (name,)})
    with pytest.raises(Exception, match="step 4"):
        train_and_evaluate(config, workdir, AtFour())
    train_and_evaluate(config, workdir)


@pytest.mark.parametrize("package", ["mlflow"], indirect=True)
@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_the_whole_of_a_run_that_was_resumed(
    package: Any, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/tracked.db")
    stop_and_go_on(tiny, tmp_path / "run", "mlflow")
    client = package.MlflowClient()
    experiment = client.get_experiment_by_name("catsdogs")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.learning_rate"] == "0.01"
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert [metric.step for metric in history] == [3, 6]
    images = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {name.rpartition("_")[0] for name in images} == {"confusion_matrix", "samples"}


@pytest.mark.parametrize("package", ["wandb"], indirect=True)
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_keeps_a_resumed_run_under_one_id(
    package: Any, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    stop_and_go_on(tiny, tmp_path / "run", "wandb")
    (name,) = (tmp_path / "run" / "wandb_run.txt").read_text().split()
    parts = sorted((tmp_path / "run" / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert len(parts) == 2
    assert b"validation/accuracy" in parts[0].read_bytes()
    assert list(parts[1].parent.glob("files/media/images/samples_*.png"))


@pytest.mark.heavy
def test_a_tracker_that_fails_is_one_warning_and_the_run_goes_on(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from catsdogs_jax.data.tensorflow import tf

    tf()
    from catsdogs_jax.training import records, trackers

    class Gone:
        run_id = "7"

        def __init__(self, *_: Any):
            pass

        def __getattr__(self, _: str) -> Any:
            raise ConnectionError("server gone\nmore")

    monkeypatch.setattr(trackers, "_WRITERS", {"mlflow": Gone})
    monkeypatch.setattr(records.importlib.util, "find_spec", lambda _: True)
    result = train_and_evaluate(tiny(records={"trackers": ("mlflow",)}), tmp_path / "run")
    assert result.values["step"]
    assert capfd.readouterr().err.count("warning: mlflow fails (server gone): no more") == 1
    assert (tmp_path / "run" / "mlflow_run.txt").read_text() == "7\n"
    tensorboard = b"".join(p.read_bytes() for p in (tmp_path / "run/tensorboard").iterdir())
    assert b"_hparams_/session_start_info" in tensorboard
    assert b"train.learning_rate" in tensorboard
    assert b"confusion_matrix" in tensorboard
    assert tensorboard.count(b"\x89PNG") == 2


def test_a_tracker_that_is_unknown_or_not_installed_ends_nothing_but_the_start(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catsdogs_jax.training import records

    with pytest.raises(UserError, match="Did you mean 'mlflow'"):
        tiny(records={"trackers": ("mflow",)})
    monkeypatch.setattr(records.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"uv sync --inexact --extra wandb`, or .*'\.\[wandb\]'"):
        train_and_evaluate(tiny(records={"trackers": ("wandb",)}), tmp_path / "run")
