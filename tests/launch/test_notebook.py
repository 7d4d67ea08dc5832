"""Promises of launch/colab.ipynb: it runs from top to bottom, shows pictures, and leaves jax alone.

Runs where the dependency group `launch` is installed.
"""

import json
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "launch" / "colab.ipynb"

SMALL = """
SOURCE, CONFIG, WORKDIR = "", "configs/quickstart.py", {workdir!r}
OVERRIDES = {{
    "data.image_size": "32",
    "data.drawn_train": "64",
    "data.drawn_validation": "16",
    "train.epochs": "2",
}}
"""


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_it_runs_from_top_to_bottom_and_shows_curves_confusion_and_heat_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("XLA_FLAGS", "")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    settings.source = SMALL.format(workdir=str(tmp_path / "run"))
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(REPOSITORY)}}
    )
    client.execute()  # Raises what a cell raises.
    pictures = [o for o in outputs_of(notebook) if "image/png" in o.get("data", {})]
    assert len(pictures) == 3 + 4
    assert (tmp_path / "run" / "result.json").exists()


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)


def test_it_pins_what_the_machine_has_before_it_installs() -> None:
    code = "".join("".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"])
    assert '"--constraint", "constraints.txt"' in code
    assert all(f'"{name}"' in code for name in ("jax", "jaxlib", "libtpu"))
    assert "--upgrade" not in code
