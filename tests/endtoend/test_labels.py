"""Promises of runs of several classes and of several labels, from the table to the prediction."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import predict as predict_command
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.evaluate import evaluate_folder
from catsdogs_jax.result import Result
from catsdogs_jax.train import train_and_evaluate

Tiny = Callable[..., Config]
CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "data.drawn_train": "96",
    "data.drawn_validation": "64",
    "data.image_size": "16",
    "model.widths": "4",
    "model.hidden": "8",
    "model.convolutions": "native",
    "train.microbatch": "32",
    "train.epochs": "2",
    "mesh.devices": "1",
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def shipped(name: str, workdir: Path) -> tuple[Result, dict[str, Any]]:
    """Runs a config of the project on few and small pictures."""
    result = train_and_evaluate(read_config(CONFIGS / f"{name}.py", SMALL), workdir)
    return result, json.loads((workdir / "result.json").read_text())["splits"]["validation"]


@pytest.mark.heavy
@pytest.mark.draws
def test_the_multiclass_config_ends_with_a_table_and_plots_of_its_classes(tmp_path: Path) -> None:
    result, split = shipped("multiclass", tmp_path / "run")
    assert split["n"] == 64
    assert np.array(split["confusion_matrix"]).shape == (8, 8)
    assert split["top_k"]["k"] == 5
    assert split["top_k"]["accuracy"] >= split["accuracy"]
    assert [row["class"] for row in split["per_class"]] == split["classes"]
    assert [row["support"] for row in split["per_class"]] == [8] * 8
    for name in ("confusion_matrix", "per_class"):
        with Image.open(tmp_path / f"run/plots/{name}.png") as picture:
            assert min(picture.size) > 300
    assert "top-5" in result.farewell()
    assert "macro F1" in result.farewell()
    root = json.loads((tmp_path / "run/manifest.json").read_text())["root"]
    measured = evaluate_folder(tmp_path / "run", root, tmp_path / "out").values["splits"]
    assert measured["validation"]["per_class"] == split["per_class"]
    assert (tmp_path / "out/plots/per_class_validation.png").is_file()


@pytest.mark.heavy
@pytest.mark.draws
def test_the_multilabel_config_saves_thresholds_that_predict_uses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, split = shipped("multilabel", tmp_path / "run")
    classes, thresholds = split["classes"], [row["threshold"] for row in split["per_class"]]
    assert len(set(thresholds)) > 1
    assert np.array(split["confusion_matrix"]).shape == (5, 2, 2)
    assert "mAP" in result.farewell()
    found = rows(tmp_path / "run/predictions.csv")
    assert any(row["true"] == "" for row in found)
    for row in found:
        named = [n for n, t in zip(classes, thresholds, strict=True) if float(row[n]) > t]
        assert row["predicted"] == "|".join(named)
    at_half = [[n for n in classes if float(row[n]) > 0.5] for row in found]
    assert any(row["predicted"] != "|".join(n) for row, n in zip(found, at_half, strict=True))
    right = np.mean([row["true"] == row["predicted"] for row in found])
    assert right == pytest.approx(split["exact_match"])
    root = json.loads((tmp_path / "run/manifest.json").read_text())["root"]
    capsys.readouterr()
    files = [str(Path(root, row["file"])) for row in found[:9]]
    predict_command.main(["--workdir", str(tmp_path / "run"), *files])
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["predicted"] for row in printed] == [row["predicted"] for row in found[:9]]
    assert list(printed[0]) == ["file", "predicted", *classes, "error"]


def labelled(colours: Path, ending: str) -> Path:
    """Writes a table in which red pictures are labelled, some twice, and others carry no label."""
    table, examples = colours / f"labels{ending}", []
    for path in sorted(colours.rglob("*.png")):
        split, colour, _ = path.relative_to(colours).parts
        labels = ["red"] * (colour == "red") + ["even"] * (int(path.stem) % 2 == 0)
        examples.append((str(path.relative_to(colours)), labels, split))
    if ending == ".csv":
        lines = [f"{file},{'|'.join(labels)},{split}" for file, labels, split in examples]
        table.write_text("\n".join(["file,labels,split", *lines]))
    else:
        keys = ("file", "labels", "split")
        lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in examples]
        table.write_text("\n".join(lines))
    return table


@pytest.mark.heavy
def test_tables_with_unlabelled_pictures_go_from_training_to_evaluation(
    tiny: Tiny, tmp_path: Path, colours: Path
) -> None:
    table = labelled(colours, ".csv")
    data = {"source": "table", "table": str(table), "sampling": "balanced"}
    config = tiny(data=data, train={"steps": 40}, eval={"every_steps": 20})
    trained = train_and_evaluate(config, tmp_path / "run").values["splits"]["validation"]
    assert trained["classes"] == ["even", "red"]
    assert [row["support"] for row in trained["per_class"]] == [5, 5]
    assert trained["per_class"][1]["f1"] == 1
    files = {row["file"]: row for row in rows(tmp_path / "run/predictions.csv")}
    assert files["validation/blue/1.png"]["true"] == ""
    assert files["validation/red/0.png"]["true"] == "even|red"
    again = evaluate_folder(tmp_path / "run", labelled(colours, ".jsonl"), tmp_path / "out")
    found = again.values["splits"]["validation"]
    assert found["exact_match"] == trained["exact_match"]
    assert found["mean_average_precision"] == pytest.approx(trained["mean_average_precision"])
    assert found["loss"] == pytest.approx(trained["loss"], rel=1e-5)
