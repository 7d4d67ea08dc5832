"""Shows what a model looks at: python -m catsdogs_jax.explain --workdir RUN FILE... --out DIR."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catsdogs_jax import cli, runtime
from catsdogs_jax.classifier import Classifier, load
from catsdogs_jax.data.pictures import Picture, Pictures
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.scan import scan_files
from catsdogs_jax.data.sources import find_files
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.insight import thumbnails
from catsdogs_jax.insight.network import Network
from catsdogs_jax.reporting.style import percent

_SIDE = 480
_GAP = 12
_METHODS = {
    "grad_cam": ("Grad-CAM",),
    "occlusion": ("occlusion",),
    "both": ("Grad-CAM", "occlusion"),
}


def explain(
    workdir: str | Path,
    files: Sequence[Path],
    out: str | Path,
    *,
    method: str = "both",
    label: str | None = None,
) -> list[tuple[Path, str]]:
    """Writes each picture beside heat maps of what speaks for a class.

    Args:
        workdir: The run folder.
        files: Picture files.
        out: The folder to write PNGs to.
        method: "grad_cam", "occlusion" or "both".
        label: Name of the class to explain; none: the likeliest of each picture.

    Returns:
        For each file the PNG and a line of what it shows; a file that cannot be used has its own
        path and the reason.

    Raises:
        UserError: There is no run, no such class, or the model has no map for Grad-CAM.
    """
    classifier = load(workdir)
    wanted = None if label is None else _class_index(label, classifier)
    found = []
    paths = [file.absolute() for file in files]
    for number, (path, facts) in enumerate(zip(paths, scan_files(paths), strict=True)):
        if isinstance(facts, str):
            found.append((path, facts))
            continue
        picture = Picture(str(path), (), "", **dataclasses.asdict(facts))
        pictures = PictureSet(Pictures.of([picture]), Path("/"), classifier.preprocessing)
        probabilities = classifier.preprocessing.task.probabilities(
            classifier.evaluate(pictures).logits
        )[0]
        index = int(probabilities.argmax()) if wanted is None else wanted
        shown = _panels(Network.of(classifier), pictures.read(0), index, method)
        target = Path(out) / f"{number:04d}-{path.stem}.png"  # Folders may share names of files.
        aspect = 1.0
        if classifier.preprocessing.resize == "stretch":
            aspect = facts.width / facts.height
        thumbnails.save_beside(shown, aspect, target, side=_SIDE, gap=_GAP)
        name = classifier.preprocessing.task.classes[index]
        maps = ", ".join(_METHODS[method])
        found.append((target, f"{name} {percent(probabilities[index])}; original, {maps}"))
    return found


def _panels(network: Network, image: np.ndarray, index: int, method: str) -> list[np.ndarray]:
    heats = []
    if "Grad-CAM" in _METHODS[method]:
        heats.append(network.grad_cam(image[None], [index])[0])
    if "occlusion" in _METHODS[method]:
        heats.append(network.occlusion(image, index))
    return [image, *(thumbnails.overlay(image, heat) for heat in heats)]


def _class_index(label: str, classifier: Classifier) -> int:
    classes = list(classifier.preprocessing.task.classes)
    if label not in classes:
        hint = nearest(label, classes)
        raise UserError(f"--class {label!r} is none of the model's: {', '.join(classes)}.{hint}")
    return classes.index(label)


def main(argv: Sequence[str]) -> None:
    """Parses flags, explains, prints one line a picture."""
    flags = parser().parse_args(argv)
    files = find_files(flags.pictures)
    runtime.start()
    found = explain(flags.workdir, files, flags.out, method=flags.method, label=flags.label)
    for path, words in found:
        print(f"{path}: {words}")
    if not any(path.parent == Path(flags.out) for path, _ in found):
        raise UserError(f"none of the {len(found)} files is a picture, see above")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "explain",
        "Write pictures beside heat maps of what speaks for a class.",
        "python -m catsdogs_jax.explain --workdir runs/mine photo.jpg --out maps",
    )
    made.add_argument("--workdir", required=True, metavar="RUN", help="the run folder")
    made.add_argument("--out", required=True, metavar="DIR", help="where the PNGs go")
    made.add_argument(
        "--method", choices=sorted(_METHODS), default="both", help="which heat maps [both]"
    )
    made.add_argument(
        "--class", dest="label", metavar="NAME", help="the class to explain [the likeliest]"
    )
    made.add_argument("pictures", nargs="+", metavar="FILE_OR_DIR", help="what to explain")
    return made


if __name__ == "__main__":
    cli.run(main)
