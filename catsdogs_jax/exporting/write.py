"""Makes a bundle of a finished run."""

import dataclasses
import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

import catsdogs_jax
from catsdogs_jax.classifier import Classifier
from catsdogs_jax.classifier import load as load_run
from catsdogs_jax.data.contents import read_picture
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.exporting import measure
from catsdogs_jax.exporting.bundle import FORMAT_VERSION
from catsdogs_jax.exporting.card import model_card
from catsdogs_jax.exporting.formats import EXTRA, FORMATS, write_format
from catsdogs_jax.exporting.measure import Reference
from catsdogs_jax.exporting.network import Network, calibrated_thresholds, read_network
from catsdogs_jax.exporting.runtimes import RUNTIMES
from catsdogs_jax.run_folder import write_json, write_text

_EXAMPLES = 128
_NOISE = 8
_VERSIONS = (
    "jax",
    "jaxlib",
    "flax",
    "numpy",
    "tensorflow",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may choose about a bundle.

    Attributes:
        formats: Names of `FORMATS`.
        golden: Validation pictures that go into the bundle; 0: noise in their place.
        originals: Whether the files of the golden pictures go with them.
        licence: Of the weights, in words.
        pictures: Validation pictures to measure on, at most.
        calibrated: Whether a temperature is fitted; else it is 1.
    """

    formats: Sequence[str]
    golden: int = 8
    originals: bool = False
    licence: str = "not stated"
    pictures: int = 600
    calibrated: bool = True


def export_run(
    workdir: str | Path,
    out: str | Path,
    options: Options,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes a bundle of the best checkpoint of a run; returns what `export.json` holds.

    Args:
        workdir: The run folder.
        out: A new or empty folder.
        options: See there.
        report: Called with a line as each format begins.

    Raises:
        UserError: There is no run, its pictures are gone, `out` is in use, or a format is unknown,
            lacks its modules, or cannot take the model.
    """
    workdir, out = Path(workdir), Path(out)
    check_formats(options.formats)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {str(out)!r} is in use: give a new or empty folder")
    network, step = read_network(workdir)
    classifier = load_run(workdir)
    validation = measure.split_of(workdir, classifier, "validation")
    training = measure.split_of(workdir, classifier, "train")
    logits = _logits(network, classifier, validation)
    calibration = measure.calibrate(logits, validation)
    if not options.calibrated:
        calibration |= {"temperature": 1.0, "why_none": "not asked for"}
    network = dataclasses.replace(network, temperature=calibration["temperature"])
    reference = _reference(network, classifier, measure.spread(validation, options.pictures))
    out.mkdir(parents=True, exist_ok=True)
    examples = _read(measure.spread(training, _EXAMPLES))
    formats = {}
    for name in FORMATS:
        if name in options.formats:
            report(f"{name}: {FORMATS[name].words}")
            formats[name] = _written(name, network, out, examples, reference)
    facts = {
        "format_version": FORMAT_VERSION,
        "name": workdir.resolve().name,
        "licence": options.licence,
        "step": step,
        "calibration": calibration,
        **_about(network, reference),
        "differences": {
            "training (predictions.csv)": measure.training_difference(workdir, reference),
            "predict": measure.predict_difference(classifier, reference),
        },
        "formats": formats,
        "golden": _golden(out, options, reference, network, formats),
    }
    write_text(out / "README.md", model_card(facts))
    facts["files"] = hashes(out)
    write_json(out / "export.json", facts)  # Last: whoever sees it finds the rest complete.
    return facts


def _about(network: Network, reference: Reference) -> dict[str, Any]:
    """Returns what `export.json` says of the model and of how it was measured."""
    return {
        "classes": list(network.preprocessing.task.classes),
        "model": dataclasses.asdict(network.model),
        "preprocessing": network.preprocessing.to_dict(),
        "thresholds": calibrated_thresholds(network.preprocessing, network.temperature),
        "versions": _versions(),
        "device": f"{platform.machine()}, {jax.devices()[0].device_kind}",
        "n": len(reference.images),
        "accuracy": reference.accuracy(reference.uncalibrated),
        "tolerance": measure.TOLERANCE,
        "accuracy_tolerance": measure.ACCURACY_TOLERANCE,
    }


def check_formats(names: Sequence[str]) -> None:
    """Checks that formats exist and can be written here.

    Raises:
        UserError: One does not, or cannot.
    """
    for name in names:
        if name not in FORMATS:
            raise UserError(
                f"--format {name!r} is unknown; there are {', '.join(FORMATS)}."
                f"{nearest(name, list(FORMATS))}"
            )
        missing = FORMATS[name].missing()
        if missing or not RUNTIMES[name].ready():
            lacking = ", ".join(missing) or RUNTIMES[name].install
            raise UserError(f"--format {name} needs {lacking}, which is not installed: {EXTRA}")


def hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of a bundle but `export.json`, by its path in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.name != "export.json"
    }


def _written(
    name: str, network: Network, out: Path, examples: np.ndarray, reference: Reference
) -> dict[str, Any]:
    """Writes and measures one format; returns its entry of `export.json`."""
    files = write_format(name, network, out, examples)
    run = RUNTIMES[name].open(out / files[0])
    found = measure.measure(run, reference, quantised=FORMATS[name].quantised)
    sizes = [
        path.stat().st_size
        for file in files
        for path in [out / file, *(out / file).rglob("*")]
        if path.is_file()
    ]
    return {"files": files, "bytes": sum(sizes), **found}


def _reference(network: Network, classifier: Classifier, pictures: measure.PictureSet) -> Reference:
    logits = _logits(network, classifier, pictures).astype(np.float64)
    task = network.preprocessing.task
    return Reference(
        pictures,
        _read(pictures),
        task.probabilities(logits / network.temperature),
        task.probabilities(logits),
    )


def _logits(network: Network, classifier: Classifier, pictures: measure.PictureSet) -> np.ndarray:
    """Returns the run's logits; those of the same weights in float32 if it rounds to bfloat16."""
    if classifier.config.model.dtype == "float32":
        return classifier.evaluate(pictures).logits
    compute = jax.jit(lambda images: network.logits(images))
    batches = pictures.evaluation_batches(min(32, len(pictures)))
    return np.concatenate([compute(batch["image"]) for batch in batches])[: len(pictures)]


def _read(pictures: measure.PictureSet) -> np.ndarray:
    return np.stack([pictures.read(k) for k in range(len(pictures))])


def _golden(
    out: Path,
    options: Options,
    reference: Reference,
    network: Network,
    formats: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Writes the golden pictures; returns what each format says of them."""
    size = network.preprocessing.image_size
    if options.golden:
        chosen = np.linspace(0, len(reference.images) - 1, options.golden).astype(int)
        chosen = np.unique(chosen)
        images = reference.images[chosen]
        kept = [reference.pictures.pictures[k] for k in chosen]
    else:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (_NOISE, size, size, 3), np.uint8)
        kept = []
    folder = out / "golden"
    folder.mkdir()
    names = [f"golden/{number:02d}.png" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(out / name)
    originals = []
    if options.originals:
        for number, one in enumerate(kept):
            originals.append(f"golden/{number:02d}.original{Path(one.file).suffix}")
            data = read_picture(reference.pictures.root, one.file, one.content_hash)
            (out / originals[-1]).write_bytes(data)
    exact = [np.asarray(v) for v in jax.jit(lambda x: network(x))(images)]
    expected = {"float": [values.tolist() for values in exact]}
    for name, entry in formats.items():
        if FORMATS[name].quantised:
            run = RUNTIMES[name].open(out / entry["files"][0])
            expected[name] = [np.asarray(values).tolist() for values in run(images)]
    return {"pictures": names, "originals": originals, "expected": expected}


def _versions() -> dict[str, str]:
    found = {"catsdogs_jax": catsdogs_jax.__version__, "python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
