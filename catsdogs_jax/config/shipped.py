"""The configs that come with the package, to be named wherever one works."""

import os
from pathlib import Path

from catsdogs_jax.errors import UserError, nearest

_INSTALLED = Path(__file__).parents[1] / "configs"
_CLONED = Path(__file__).parents[2] / "configs"
"""In an installed package the configs lie in it, in a clone beside it."""


def config_file(name: str | os.PathLike[str]) -> Path:
    """Returns the file of a config.

    Args:
        name: A file; or "finetune" or "configs/finetune.py", which without such a file here mean
            the config of that name that comes with the package.

    Raises:
        UserError: There is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = _INSTALLED if _INSTALLED.is_dir() else _CLONED
    shipped = {file.stem: file for file in sorted(folder.glob("*.py"))}
    if path in (Path(path.stem), Path("configs") / f"{path.stem}.py") and path.stem in shipped:
        return shipped[path.stem]
    here = [str(file) for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
    raise UserError(
        f"no config file {str(name)!r}: give a Python file, or one of {', '.join(shipped)}, which "
        f"come with the package.{nearest(str(path), [*here, *shipped])}"
    )
