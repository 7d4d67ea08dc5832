"""Checks a bundle anywhere: its files, and what each format says of the golden pictures."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catsdogs_jax.data.decode import BadPicture, decode_square, read_header
from catsdogs_jax.errors import UserError, package
from catsdogs_jax.exporting.bundle import read_facts
from catsdogs_jax.exporting.runtimes import RUNTIMES, reason_of

INT8_TOLERANCE = 0.05
"""Largest difference of an int8 probability from the one at export: runtimes sum and round int8 in
other ways on other CPUs."""

_LEVELS = 2
"""Largest difference of a decoded golden picture, of 255: libjpeg-turbo may differ by CPU."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What was found of one part of a bundle.

    Attributes:
        words: In one line.
        passed: Whether it is right; none: it was not checked.
    """

    words: str
    passed: bool | None


def verify(folder: str | Path) -> list[Check]:
    """Checks every file and every format of a bundle that this environment can run.

    Raises:
        UserError: The folder holds no bundle.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    checks = [_files(folder, facts)]
    images = _golden(folder, facts)
    if isinstance(images, Check):
        return [*checks, images]
    checks += [_format(folder, facts, name, images) for name in facts["formats"]]
    if facts["golden"]["originals"]:
        checks.append(_decoder(folder, facts, images))
    return checks


def _files(folder: Path, facts: Mapping[str, Any]) -> Check:
    wrong = []
    for name, wanted in facts["files"].items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            wrong.append(f"{name} is not what was exported")
    if wrong:
        return Check(f"files: {', '.join(wrong)}", False)
    return Check(f"files: {len(facts['files'])} as exported (SHA-256)", True)


def _golden(folder: Path, facts: Mapping[str, Any]) -> np.ndarray | Check:
    """Returns the golden pictures, uint8 [n, size, size, 3]."""
    size, found = facts["preprocessing"]["image_size"], []
    for name in facts["golden"]["pictures"]:
        try:
            with Image.open(folder / name) as image:
                found.append(np.array(image.convert("RGB")))
        except Exception as error:  # Pillow's plugins raise many types on broken files.
            return Check(f"golden pictures: {name} cannot be read ({error})", False)
        if found[-1].shape != (size, size, 3):
            return Check(f"golden pictures: {name} is not {size} pixels square", False)
    return np.stack(found)


def _format(folder: Path, facts: Mapping[str, Any], name: str, images: np.ndarray) -> Check:
    runtime, entry = RUNTIMES.get(name), facts["formats"][name]
    if runtime is None:
        return Check(f"{name}: not checked, this version of catsdogs_jax does not know it", None)
    if not runtime.ready():
        return Check(f"{name}: not checked, {package(runtime.install)}", None)
    own = facts["golden"]["expected"].get(name)
    tolerance = facts["tolerance"] if own is None else INT8_TOLERANCE
    wanted = facts["golden"]["expected"]["float"] if own is None else own
    try:
        found = runtime.open(folder / entry["files"][0])(images)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Runtimes raise many types on broken files.
        return Check(f"{name}: cannot be run ({reason_of(error)})", False)
    difference = max(
        float(np.abs(np.asarray(one, np.float64) - np.array(other)).max())
        for one, other in zip(found, wanted, strict=True)
    )
    passed = bool(difference <= tolerance)
    words = "within" if passed else "ABOVE"
    return Check(
        f"{name}: largest difference {difference:.1e} over {len(images)} golden pictures, "
        f"{words} {tolerance:g}",
        passed,
    )


def _decoder(folder: Path, facts: Mapping[str, Any], images: np.ndarray) -> Check:
    """Decodes the originals again."""
    to, differences = facts["preprocessing"], []
    for name, image in zip(facts["golden"]["originals"], images, strict=True):
        try:
            data = (folder / name).read_bytes()
            again = decode_square(data, read_header(data), to["image_size"], to["resize"])
        except (BadPicture, OSError) as error:
            return Check(f"decoder: {name} cannot be read ({error})", False)
        differences.append(int(np.abs(again.astype(int) - image).max()))
    passed = max(differences) <= _LEVELS
    return Check(f"decoder: largest difference {max(differences)} of 255 levels", passed)
