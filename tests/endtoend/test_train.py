"""Promises of a whole run."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import catsdogs_jax
from catsdogs_jax import predict as predict_command
from catsdogs_jax.classifier import load
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.evaluate import evaluate_folder
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.fastest import fastest_trainer
from catsdogs_jax.training.restore import restore_best
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import Trainer
from tests.processes import StopAfter

Tiny = Callable[..., Config]
SPLIT_KEYS = {
    "n",
    "accuracy",
    "accuracy_ci95",
    "loss",
    "auroc",
    "ece",
    "confusion_matrix",
    "classes",
    "positive_class",
    "precision",
    "recall",
    "f1",
    "without_leaks",
}
RESULT_KEYS = {"config", "step", "device", "device_count", "splits", "quarantined", "leaks"}


@pytest.fixture
def keep_trainer(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """Collects the trainers of runs, to restore their states."""
    kept: list[Trainer] = []

    def keep(*arguments: Any) -> Trainer:
        kept.append(fastest_trainer(*arguments))
        return kept[-1]

    monkeypatch.setattr("catsdogs_jax.training.prepare.fastest_trainer", keep)
    return kept


def last_state(workdir: Path, config: Config, trainer: Trainer) -> Any:
    with Checkpoints(RunFolder(workdir).checkpoints, config.checkpoint) as checkpoints:
        assert checkpoints.latest_step is not None
        return checkpoints.restore(checkpoints.latest_step, trainer.abstract_state())


@pytest.mark.draws
def test_a_run_leaves_everything_that_the_run_folder_promises(tiny: Tiny, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    result = train_and_evaluate(tiny(train={"steps": 40}), workdir)
    for name in ("config.json", "manifest.json", "metrics.jsonl", "result.json"):
        assert (workdir / name).is_file(), name
    for name in ("accuracy", "loss", "confusion_matrix", "model"):
        with Image.open(workdir / "plots" / f"{name}.png") as picture:
            assert min(picture.size) > 300
    assert list((workdir / "tensorboard").iterdir())
    values = json.loads((workdir / "result.json").read_text())
    assert values == json.loads(json.dumps(result.values))
    assert set(values) >= RESULT_KEYS | {"seconds", "train_images_per_second", "fingerprint"}
    split = values["splits"]["validation"]
    assert set(split) == SPLIT_KEYS
    assert split["n"] == 9
    assert split["accuracy"] == 1.0
    with (workdir / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 9
    assert all(row["true"] == row["predicted"] for row in rows)
    assert {row["split"] for row in rows} == {"validation"}
    assert float(rows[0]["blue"]) + float(rows[0]["red"]) == pytest.approx(1, abs=2e-6)
    farewell = result.farewell()
    assert "predict" in farewell
    assert str(workdir) in farewell
    assert "100.0% of 9 pictures" in farewell
    assert "chosen by validation accuracy: optimistic on validation" in farewell
    assert values["chosen_on"] == "validation"
    assert values["history"]["best_accuracy_ci95"] == split["accuracy_ci95"]


@pytest.mark.parametrize(
    ("stop_after", "model", "augment"),
    [
        (2, {}, {"margin": 1.5, "crop": (0.5, 1.0)}),
        pytest.param(
            3, {"widths": (16, 32), "convolutions": "compiled"}, {}, marks=pytest.mark.heavy
        ),
        pytest.param(7, {"widths": (16,), "convolutions": "native"}, {}, marks=pytest.mark.heavy),
    ],
    ids=["between evaluations, margin", "in an evaluation, kernels", "in the last evaluation"],
)
def test_stopping_and_going_on_gives_the_same_bits(
    tiny: Tiny,
    tmp_path: Path,
    keep_trainer: list[Trainer],
    stop_after: int,
    model: dict,
    augment: dict,
) -> None:
    config = tiny(
        model=model,
        augment={"flip": True, "zoom": (0.9, 1.1), **augment},
        train={"schedule": "cosine", "ema_decay": 0.9, "steps": 7},
    )
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_and_evaluate(config, whole)
    with pytest.raises(Interrupted, match=f"saved after step {stop_after} of 7"):
        train_and_evaluate(config, stopped, StopAfter(stop_after))
    assert not (stopped / "result.json").exists()
    train_and_evaluate(config, stopped)
    expected, found = (last_state(w, config, keep_trainer[0]) for w in (whole, stopped))
    assert int(expected.step) == int(found.step) == 7
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    for name in ("metrics.jsonl", "predictions.csv"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    if config.model.convolutions == "compiled":  # Several devices cannot, but have the parameters.
        assert restore_best(whole, make_sharding(2)).formulation.convolutions == "native"


@pytest.mark.heavy
def test_a_run_goes_on_in_the_formulation_that_it_began_with(
    tiny: Tiny, tmp_path: Path, keep_trainer: list[Trainer]
) -> None:
    config = tiny(model={"widths": (16,)})
    with pytest.raises(Interrupted):
        train_and_evaluate(config, tmp_path / "run", StopAfter(2))
    path = RunFolder(tmp_path / "run").formulation
    began = json.loads(path.read_text())
    other = {"compiled": "native", "native": "compiled"}[began["convolutions"]]
    path.write_text(json.dumps({"convolutions": other, "microbatch": 8}))
    train_and_evaluate(config, tmp_path / "run")
    assert keep_trainer[1].formulation.convolutions == other


def test_a_profile_is_written_where_tensorboard_finds_it(tiny: Tiny, tmp_path: Path) -> None:
    train_and_evaluate(tiny(train={"profile_steps": 2}), tmp_path / "run")
    assert list(tmp_path.glob("run/tensorboard/plugins/profile/*/*"))


def test_a_finished_run_is_finished_again_without_training(tiny: Tiny, tmp_path: Path) -> None:
    first = train_and_evaluate(tiny(), tmp_path / "run")
    lines = (tmp_path / "run/metrics.jsonl").read_text()
    again = train_and_evaluate(tiny(), tmp_path / "run")
    assert again.values["splits"] == first.values["splits"]
    assert (tmp_path / "run/metrics.jsonl").read_text() == lines


@pytest.mark.heavy
def test_32_photographs_are_learned_by_heart(photos: Path, tmp_path: Path) -> None:
    for label in ("cats", "dogs"):
        paths = sorted((photos / "train" / label).iterdir())[:16]
        for split in ("train", "validation"):
            folder = tmp_path / "few" / split / label
            folder.mkdir(parents=True)
            for path in paths:
                (folder / path.name).symlink_to(path.absolute())
    config = config_from_dict(
        {
            "data": {"dir": str(tmp_path / "few"), "image_size": 48, "batch_size": 16},
            "model": {"widths": (16, 16), "hidden": 32, "dropout": 0.0},
            "train": {"steps": 150, "learning_rate": 3e-3},
            "eval": {"every_steps": 50},
            "mesh": {"devices": 1},
        }
    )
    result = train_and_evaluate(config, tmp_path / "run")
    assert result.values["splits"]["validation"]["accuracy"] == 1.0
    assert result.values["leaks"] >= 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"dir": "/nowhere"}}, "no folder '/nowhere'.*one folder of pictures per class"),
        ({"data": {"batch_size": 32}}, "data.batch_size is 32, but there are only 24"),
        ({"mesh": {"devices": 99}}, "mesh.devices is 99"),
        ({"mesh": {"devices": 3}}, "3 devices cannot share evenly: use 6 or 9"),
        ({"model": {"name": "sedcnn"}}, "Did you mean 'seed_cnn'"),
        ({"model": {"widths": (4, 4, 4, 4)}}, "data.image_size is 16: too small"),
    ],
)
def test_a_mistake_ends_before_anything_is_written(
    tiny: Tiny, tmp_path: Path, change: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train_and_evaluate(tiny(**change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluate_and_predict_agree_with_the_run(
    tiny: Tiny, tmp_path: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    config = tiny(train={"steps": 12, "ema_decay": 0.5}, data={"image_size": 17})
    trained = train_and_evaluate(config, workdir)
    measured = evaluate_folder(workdir, colours / "validation", tmp_path / "out")
    assert set(measured.values) >= RESULT_KEYS
    expected, found = trained.values["splits"]["validation"], measured.values["splits"]["test"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["confusion_matrix"] == expected["confusion_matrix"]
    assert measured.values["seen"] == {"train": 0, "validation": 9}
    (colours / "validation/red/bad.jpg").write_bytes(b"<html>")
    capsys.readouterr()
    predict_command.main(["--workdir", str(workdir), str(colours / "validation")])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    with (workdir / "predictions.csv").open() as stream:
        known = {f"{colours}/{row['file']}": row for row in csv.DictReader(stream)}
    assert len(rows) == 10
    for row in rows:
        if row["error"]:
            assert row["file"].endswith("bad.jpg")
            assert "not a picture" in row["error"]
            continue
        assert row["predicted"] == known[row["file"]]["predicted"]
        assert float(row["red"]) == pytest.approx(float(known[row["file"]]["red"]), abs=2e-6)


def test_predictions_keep_the_order_given(tiny: Tiny, tmp_path: Path, colours: Path) -> None:
    train_and_evaluate(tiny(), tmp_path / "run")
    files = [colours / "validation" / name for name in ("red/3.png", "blue/1.png", "red/0.png")]
    classifier = load(tmp_path / "run")
    found = classifier.predict([*files, tmp_path / "missing.png"])
    assert [p.file for p in found] == [*files, tmp_path / "missing.png"]
    assert "No such file" in found[-1].error
    one = classifier.predict(files[:1])[0].probabilities
    assert one is not None
    assert one == pytest.approx(found[0].probabilities, rel=1e-5)


def command(*words: str | Path, **options: Any) -> subprocess.Popen:
    environment = {**os.environ, "XLA_FLAGS": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_mistyped_key_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs/quickstart.py"
    process = command(
        "catsdogs_jax.train", "--config", config, "--config.data.bach_size=3", cwd=tmp_path
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out == ""
    expected = "error: unknown config key 'data.bach_size'. Did you mean 'data.batch_size'?\n"
    assert err == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.heavy
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path: Path, colours: Path) -> None:
    config = tmp_path / "some.py"
    config.write_text(
        "import ml_collections\n\ndef get_config():\n"
        "    config = ml_collections.ConfigDict()\n"
        f"    config.data = {{'dir': {str(colours)!r}, 'image_size': 16, 'batch_size': 8}}\n"
        "    config.model = {'widths': (4,), 'hidden': 8}\n"
        "    config.train = {'steps': 100000}\n"
        "    config.eval = {'every_steps': 50}\n"
        "    return config\n"
    )
    words = ("catsdogs_jax.train", "--config", config, "--workdir", tmp_path / "run")
    process = command(*words)
    metrics, deadline = tmp_path / "run/metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "the same command goes on from there" in err
    assert "cpu" in out.splitlines()[0]
    assert list((tmp_path / "run/checkpoints").iterdir())


def test_the_facade_is_the_whole_library() -> None:
    assert catsdogs_jax.load is load
    assert catsdogs_jax.train_and_evaluate is train_and_evaluate
    with pytest.raises(AttributeError, match="nothing"):
        _ = catsdogs_jax.nothing
