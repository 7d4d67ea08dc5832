"""Promises of a bundle."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import export
from catsdogs_jax.classifier import Classifier
from catsdogs_jax.classifier import load as load_run
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.data.decode import to_square
from catsdogs_jax.errors import UserError, package
from catsdogs_jax.exporting import bundle as bundles
from catsdogs_jax.exporting import load, runtimes
from catsdogs_jax.exporting.formats import FORMATS, OUTPUTS
from catsdogs_jax.exporting.network import Network, resized
from catsdogs_jax.exporting.onnx_graph import to_onnx
from catsdogs_jax.exporting.write import Options, export_run
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.train import train_and_evaluate

COLOURS = {"blue": (60, 60, 200), "red": (190, 70, 80), "violet": (130, 60, 150)}
EXACT = [name for name in FORMATS if not FORMATS[name].quantised]


def paint_table(folder: Path, kind: str) -> Path:
    """Paints noisy pictures, some with a wrong label, and lists them."""
    rng, lines = np.random.default_rng(0), []
    names = list(COLOURS)[: 2 if kind == "binary" else 3]
    for split, count in (("train", 8), ("validation", 8)):
        for label, name in enumerate(names):
            for number in range(count):
                noise = rng.integers(-50, 50, (24, 20 + number, 3))
                pixels = (np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)
                file = f"{split}-{label}-{number}.png"
                Image.fromarray(pixels).save(folder / file)
                shown = names[label - 1] if number == 0 else name
                several = [shown, names[label - 1]] if number % 3 else [shown]
                found = sorted(set(several)) if kind == "multilabel" else shown
                lines.append(json.dumps({"file": file, "label": found, "split": split}))
    table = folder / "pictures.jsonl"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def train(folder: Path, kind: str) -> Path:
    config = {
        "data": {"source": "table", "table": str(paint_table(folder, kind)), "image_size": 16},
        "model": {"widths": (8,), "hidden": 16},
        "train": {"steps": 30, "learning_rate": 3e-3},
        "eval": {"zooms": (1.0, 0.8), "every_steps": 30},
        "mesh": {"devices": 1},
    }
    config["data"]["batch_size"] = 8
    train_and_evaluate(config_from_dict(config), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run of a problem with two classes."""
    return train(tmp_path_factory.mktemp("binary"), "binary")


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the run in every format."""
    out = tmp_path_factory.mktemp("bundle") / "all"
    export_run(run, out, Options(tuple(FORMATS), golden=3, originals=True, licence="CC0"))
    return out


@pytest.fixture(scope="module")
def classifier(run: Path) -> Classifier:
    return load_run(run)


def files_of(run: Path) -> list[Path]:
    return sorted(run.parent.glob("validation-*.png"))


def predicted(classifier: Classifier, files: list[Path]) -> np.ndarray:
    return np.array([row.probabilities for row in classifier.predict(files)], np.float64)


@pytest.mark.parametrize("name", EXACT)
def test_each_format_gives_the_probabilities_of_predict(
    name: str, run: Path, bundle: Path, classifier: Classifier
) -> None:
    files, wanted = files_of(run), predicted(classifier, files_of(run))
    opened = load(bundle, name)
    found = opened.predict(
        [*files[:4], *(file.read_bytes() for file in files[4:])], calibrated=False
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert opened.classes == classifier.preprocessing.task.classes


@pytest.mark.parametrize("name", EXACT)
def test_calibrated_probabilities_are_those_at_the_stated_temperature(
    name: str, run: Path, bundle: Path, classifier: Classifier
) -> None:
    opened = load(bundle, name)
    temperature = opened.facts["calibration"]["temperature"]
    assert temperature != 1.0
    odds = predicted(classifier, files_of(run))
    wanted = 1 / (1 + (odds[:, 0] / odds[:, 1]) ** (1 / temperature))
    np.testing.assert_allclose(opened.predict(files_of(run))[:, 1], wanted, atol=1e-4)


def test_int8_keeps_the_accuracy_and_says_how_far_it_is(bundle: Path) -> None:
    facts = json.loads((bundle / "export.json").read_text())
    for name in ("onnx-int8", "tflite-int8"):
        entry = facts["formats"][name]
        assert entry["passed"] == (entry["accuracy_lost"] <= 1 / facts["n"] + 1e-9)
        assert 0 < entry["difference"] < 0.2
    assert facts["differences"]["predict"] < 1e-6
    assert facts["differences"]["training (predictions.csv)"] < 1e-5


def test_verify_checks_every_format_and_finds_each_change(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.main(["--verify", str(bundle)])
    told = capsys.readouterr().out
    assert all(f"{name}: largest difference" in told for name in FORMATS)
    assert "decoder: largest difference 0 " in told
    facts = json.loads((bundle / "export.json").read_text())
    for number, damage in enumerate((golden_of_noise, weights_of_zeros, no_weights)):
        copy = tmp_path / str(number)
        shutil.copytree(bundle, copy)
        damage(copy)
        facts["formats"] = {"safetensors": facts["formats"]["safetensors"]}
        (copy / "export.json").write_text(json.dumps(facts))
        with pytest.raises(SystemExit) as ended:
            export.main(["--verify", str(copy)])
        assert ended.value.code == 1
        told = capsys.readouterr().out
        assert "is not what was exported" in told or "is missing" in told
        assert "ABOVE 0.0001" in told or "cannot be run" in told


def golden_of_noise(folder: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(folder / "golden/00.png")


def weights_of_zeros(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({k: np.zeros_like(v) for k, v in weights.items()}, folder / "model.safetensors")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def test_a_damaged_bundle_is_told_in_words(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    original = copy / json.loads((copy / "export.json").read_text())["golden"]["originals"][0]
    original.write_bytes(original.read_bytes()[:60])
    with pytest.raises(SystemExit) as ended:
        export.main(["--verify", str(copy)])
    assert ended.value.code == 1
    assert f"decoder: golden/{original.name} cannot be read" in capsys.readouterr().out
    for name in ("onnx", "stablehlo", "safetensors"):
        path = copy / f"model.{name}"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(UserError, match=f"model.{name}' cannot be opened .*export the bundle"):
            load(copy, name)


def test_verify_names_what_it_cannot_run(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "catsdogs_jax.exporting.runtimes.importlib.util.find_spec",
        lambda name: None if name in ("onnxruntime", "ai_edge_litert", "tensorflow") else name,
    )
    export.main(["--verify", str(bundle)])
    told = capsys.readouterr().out
    assert "onnx: not checked, `uv pip install onnxruntime`" in told
    assert "stablehlo: largest difference" in told
    assert load(bundle).format == "stablehlo"


def test_a_picture_of_any_size_goes_through_the_graphs_that_resize(
    run: Path, bundle: Path, classifier: Classifier
) -> None:
    import onnxruntime

    from catsdogs_jax.data.tensorflow import tf

    file = files_of(run)[5]
    whole = np.array(Image.open(file))[None]
    square = load(bundle).decode(file)
    session = onnxruntime.InferenceSession(bundle / "resize.onnx")
    exported = jax.export.deserialize(bytearray((bundle / "resize.stablehlo").read_bytes()))
    for found in (session.run(None, {"images": whole})[0], exported.call(whole)):
        assert np.abs(np.asarray(found)[0].astype(int) - square).max() <= 1
    loaded = tf().saved_model.load(str(bundle / "savedmodel")).signatures
    for found in (
        loaded["any_size"](images=whole),
        loaded["encoded"](files=tf().constant([file.read_bytes()])),
    ):
        given = found["uncalibrated"].numpy()
        np.testing.assert_allclose(given, predicted(classifier, [file]), atol=5e-3)


@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_resizing_in_the_graph_is_the_decoders(resize: Any) -> None:
    rng = np.random.default_rng(0)
    for height, width in ((97, 41), (20, 33)):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        found = np.asarray(jax.jit(resized, static_argnums=(1, 2))(image[None], 32, resize))[
            0
        ].astype(int)
        assert np.abs(found - to_square(image, 32, resize)).max() <= 1


@pytest.mark.heavy
def test_thresholds_of_many_labels_decide_as_predict_does(tmp_path: Path) -> None:
    run = train(tmp_path, "multilabel")
    export_run(run, tmp_path / "out", Options(["onnx"], golden=0))
    bundle, classifier = load(tmp_path / "out"), load_run(run)
    rows = classifier.predict(files_of(run))
    np.testing.assert_allclose(
        bundle.predict(files_of(run), calibrated=False),
        np.array([row.probabilities for row in rows]),
        atol=1e-4,
    )
    spelled = [bundle.spell(row) for row in bundle.predict(files_of(run))]
    assert spelled == [row.predicted for row in rows]


@pytest.mark.parametrize(
    ("name", "size", "fields"),
    [
        pytest.param(
            "resnet18", 32, {"widths": (4, 4, 4, 4), "antialias": True}, marks=pytest.mark.heavy
        ),
        pytest.param(
            "efficientnet_lite0",
            32,
            {"widths": (8,) * 7, "depths": (1,) * 7},
            marks=pytest.mark.heavy,
        ),
        ("convnext_tiny", 16, {"widths": (8, 16), "depths": (1, 1)}),
        ("vit_tiny", 32, {"widths": (64,), "depths": (1,)}),
    ],
)
def test_onnx_takes_every_kind_of_model(name: str, size: int, fields: dict[str, Any]) -> None:
    import onnxruntime

    config = config_from_dict({"model": {"name": name, **fields}}, together=False).model
    task = Task("multiclass", ("a", "b", "c"))
    abstract = Network.build(config, Preprocessing(size, "crop", task, mirror=True))
    rng = np.random.default_rng(0)
    draw = {
        True: lambda shape: rng.normal(0, 0.2, shape),
        False: lambda shape: rng.uniform(1, 2, shape),
    }
    params, statistics = (
        jax.tree.map(lambda leaf, make=draw[trained]: make(leaf.shape).astype(np.float32), tree)
        for trained, tree in ((True, abstract.params), (False, abstract.statistics))
    )
    network = dataclasses.replace(abstract, params=params, statistics=statistics, temperature=2.0)
    (n,) = jax.export.symbolic_shape("n")
    model = to_onnx(lambda x: network(x), (n, size, size, 3), OUTPUTS, name)
    images = rng.integers(0, 256, (2, size, size, 3), np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    wanted = jax.jit(lambda x: network(x))(images)
    assert 0 < np.abs(wanted[0] - wanted[1]).max() < 1
    for found, exact in zip(session.run(None, {"images": images}), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(found), exact, atol=1e-4)


def test_an_operation_that_onnx_has_not_is_named() -> None:
    with pytest.raises(UserError, match="'cumsum' of my model"):
        to_onnx(lambda x: (x.cumsum(axis=1),), (1, 4, 4, 3), ["y"], "my model")


def test_mistakes_are_told_in_a_line(run: Path, bundle: Path, tmp_path: Path) -> None:
    for words, message in (
        (["--workdir", str(run), "--out", str(tmp_path / "x"), "--format", "onxx"], "mean 'onnx'"),
        (["--workdir", str(run), "--out", str(bundle)], "is in use"),
        (["--workdir", str(run)], "--out is missing"),
        (["--verify", str(run)], "holds no bundle"),
        (["--verify", str(bundle), "--golden", "3"], "not with --verify"),
    ):
        with pytest.raises(UserError, match=message):
            export.main(words)
    with pytest.raises(UserError, match="holds no 'coreml'"):
        load(bundle, "coreml")
    with pytest.raises(UserError, match="picture 0 cannot be used: not a picture"):
        load(bundle).predict([b"no picture"])


def test_a_bundle_that_nothing_here_runs_tells_what_to_install_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    formats = {"onnx": {}, "onnx-int8": {}, "savedmodel": {}}
    monkeypatch.setattr(bundles, "read_facts", lambda _: {"formats": formats})
    monkeypatch.setattr(runtimes.Runtime, "ready", lambda _: False)
    with pytest.raises(UserError) as told:
        load(tmp_path)
    onnx, tensorflow = package("onnxruntime"), package("tensorflow")
    words = f"nothing here runs onnx or onnx-int8 or savedmodel: {onnx}; or {tensorflow}"
    assert str(told.value) == words
