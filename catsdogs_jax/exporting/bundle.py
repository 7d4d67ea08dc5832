"""A bundle that is ready to classify pictures; it needs no run folder."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.data.decode import BadPicture, decode_square, read_header
from catsdogs_jax.errors import UPGRADE, UserError, nearest, package
from catsdogs_jax.exporting.runtimes import RUNTIMES, Run, reason_of
from catsdogs_jax.preprocessing import Preprocessing

FORMAT_VERSION = 1
_BATCH = 32

Picture = str | Path | bytes
"""A file, or what stands in one."""


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A model of a bundle in one of its formats.

    Attributes:
        folder: The bundle.
        format: The format that runs, for example "onnx".
        facts: What `export.json` holds.
        preprocessing: Size, resizing, task and thresholds of the run.
    """

    folder: Path
    format: str
    facts: Mapping[str, Any]
    preprocessing: Preprocessing
    _run: Run

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return self.preprocessing.task.classes

    def decode(self, picture: Picture) -> np.ndarray:
        """Returns what the graph is given: uint8 [size, size, 3], by the decoder of training.

        Raises:
            BadPicture: It cannot be decoded.
            OSError: The file cannot be read.
        """
        data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        to = self.preprocessing
        return decode_square(data, read_header(data), to.image_size, to.resize)

    def probabilities(self, images: np.ndarray, *, calibrated: bool = True) -> np.ndarray:
        """Returns float64 probabilities [n, classes] of decoded pictures.

        Args:
            images: uint8 [n, size, size, 3].
            calibrated: Whether the temperature is applied; `predict` of the run does not.
        """
        parts = [self._run(images[k : k + _BATCH]) for k in range(0, len(images), _BATCH)]
        found = [part[0 if calibrated else 1] for part in parts]
        return np.concatenate([np.empty((0, len(self.classes))), *found]).astype(np.float64)

    def predict(self, pictures: Sequence[Picture], *, calibrated: bool = True) -> np.ndarray:
        """Returns float64 probabilities [n, classes] of files or of their bytes.

        Raises:
            UserError: One of them is no picture.
        """
        found = [np.empty((0, len(self.classes)))]
        for start in range(0, len(pictures), _BATCH):
            batch = range(start, min(start + _BATCH, len(pictures)))
            images = np.stack([self._decoded(pictures, number) for number in batch])
            found.append(self.probabilities(images, calibrated=calibrated))
        return np.concatenate(found)

    def spell(self, probabilities: np.ndarray) -> str:
        """Returns the predicted class for calibrated probabilities [classes], or several by "|"."""
        thresholds = self.facts["thresholds"] or 0.5
        if self.preprocessing.task.kind == "binary":
            (thresholds,) = self.facts["thresholds"]
        return self.preprocessing.task.spell(probabilities, thresholds)

    def _decoded(self, pictures: Sequence[Picture], number: int) -> np.ndarray:
        try:
            return self.decode(pictures[number])
        except BadPicture as error:
            given = pictures[number]
            name = f"picture {number}" if isinstance(given, bytes) else repr(str(given))
            raise UserError(f"{name} cannot be used: {error}") from error


def load(folder: str | Path, format: str | None = None) -> Bundle:
    """Loads a bundle.

    Args:
        folder: What `python -m catsdogs_jax.export --out` wrote.
        format: One of its formats; none: the first that this environment can run.

    Raises:
        UserError: The folder holds no bundle, the bundle no such format, its runtime is missing, or
            its file is broken.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    names = list(facts["formats"])
    if format is not None and format not in names:
        raise UserError(
            f"{str(folder)!r} holds no {format!r} but {', '.join(names)}.{nearest(format, names)}"
        )
    wanted = names if format is None else [format]
    ready = [name for name in RUNTIMES if name in wanted and RUNTIMES[name].ready()]
    if not ready:
        needed = dict.fromkeys(RUNTIMES[name].install for name in wanted)
        installs = "; or ".join(package(name) for name in needed)
        raise UserError(f"nothing here runs {' or '.join(wanted)}: {installs}")
    path = folder / facts["formats"][ready[0]]["files"][0]
    try:
        run = RUNTIMES[ready[0]].open(path)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Runtimes raise many types on broken files.
        raise UserError(
            f"{str(path)!r} cannot be opened ({reason_of(error)}): copy or export the bundle anew"
        ) from error
    return Bundle(folder, ready[0], facts, Preprocessing.from_dict(facts["preprocessing"]), run)


def read_facts(folder: Path) -> dict[str, Any]:
    """Reads `export.json` of a bundle.

    Raises:
        UserError: There is none, it is broken, or it is newer than this version of the library.
    """
    path = folder / "export.json"
    if not path.is_file():
        raise UserError(
            f"{str(folder)!r} holds no bundle (no export.json): give a folder that "
            "python -m catsdogs_jax.export --out wrote"
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{str(path)!r} is broken ({error}): copy or export the bundle anew"
        ) from error
    if facts["format_version"] > FORMAT_VERSION:
        raise UserError(
            f"{str(folder)!r} is a bundle of format {facts['format_version']}, this version of "
            f"catsdogs_jax reads up to {FORMAT_VERSION}: {UPGRADE}"
        )
    return facts
