"""Promises of the code to its readers."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = sorted((REPOSITORY / "catsdogs_jax").rglob("*.py"))
ALL = [
    *PACKAGE,
    *(
        path
        for room in ("benchmarks", "launch", "tests")
        for path in sorted((REPOSITORY / room).rglob("*.py"))
    ),
]


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_function_is_over_60_lines(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, node.name


def importers(module: str) -> set[str]:
    pattern = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
    return {name(path) for path in PACKAGE if pattern.search(path.read_text())}


def test_only_one_module_imports_orbax() -> None:
    assert importers("orbax") == {"catsdogs_jax/training/checkpoint.py"}


def test_only_the_kernels_import_llvmlite() -> None:
    assert all(path.startswith("catsdogs_jax/kernels/") for path in importers("llvmlite"))


def test_tensorflow_has_one_door_and_clu_stays_behind_it() -> None:
    assert importers("tensorflow") == {"catsdogs_jax/data/tensorflow.py"}
    assert importers("tensorflow_datasets") == {"catsdogs_jax/data/tfds.py"}
    assert importers("clu.metric_writers") == set()
    assert importers("clu") <= {
        "catsdogs_jax/training/forgiving.py",
        "catsdogs_jax/training/writers.py",
        "catsdogs_jax/training/trackers.py",
        "catsdogs_jax/training/announce.py",
    }


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("augment", ["data", "models", "training", "reporting", "insight"]),
        ("models", ["data", "training", "reporting", "augment", "insight"]),
        ("data", ["models", "training", "reporting", "augment", "insight"]),
        ("prediction", ["models", "reporting", "augment", "insight", "search"]),
        ("pretrained", ["data", "models", "training", "reporting", "augment", "insight"]),
        ("training", ["reporting", "insight", "search", "prediction"]),
        ("reporting", ["data", "models", "training", "augment", "insight"]),
        ("kernels", ["data", "models", "training", "augment", "reporting", "config", "insight"]),
    ],
)
def test_each_room_knows_only_what_it_must(room: str, strangers: list[str]) -> None:
    for path in (REPOSITORY / "catsdogs_jax" / room).rglob("*.py"):
        for stranger in strangers:
            assert f"catsdogs_jax.{stranger}" not in path.read_text(), name(path)


def test_nothing_on_the_way_to_the_first_step_imports_what_is_slow_to_import() -> None:
    modules = (
        "catsdogs_jax.train, catsdogs_jax.evaluate, catsdogs_jax.predict, catsdogs_jax.find_lr"
    )
    slow = {"tensorflow", "matplotlib", "sklearn", "scipy.stats", "tensorflow_datasets"}
    code = f"import sys, {modules}; print(*sorted({slow} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
