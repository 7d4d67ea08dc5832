"""The files that all systems read."""

from pathlib import Path


def files(folder: str) -> list[tuple[Path, int]]:
    """Returns the training files below a split folder, with the number of their class."""
    classes = sorted(p for p in (Path(folder) / "train").iterdir() if p.is_dir())
    return [(path, label) for label, c in enumerate(classes) for path in sorted(c.iterdir())]
