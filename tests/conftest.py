"""Eight fake devices, strict arithmetic, and small pictures for every test."""

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = _DEVICES = "--xla_force_host_platform_device_count=8"
# Of XLA's two ways to write the code of a fusion the older takes half the time to compile. Later
# versions of JAX, which the tests run on as well, have the newer alone.
if version("jax").startswith("0.10."):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import result, runtime
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_from_dict

REPOSITORY = Path(__file__).parents[1]

jax.config.update("jax_numpy_rank_promotion", "raise")
# Programs of tests run a few times each: LLVM's passes would take longer than they save.
jax.config.update("jax_disable_most_optimizations", True)
jax.devices()  # XLA reads its flags here, once: commands of tests are compiled as users' are.
os.environ["XLA_FLAGS"] = _DEVICES
runtime.keep_freed_memory()


_LONGEST = "test_hosts.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the longest file of tests run first, so that none waits for it in the end."""
    items.sort(key=lambda item: item.path.name != _LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With -n, gives whole files to the workers: what the tests of a file share is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets the tests of a session share what is compiled, those of other workers too."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATSDOGS_CACHE", str(folder / "cache"))
        runtime.keep_compilations()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps what the library caches out of the user's home."""
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _nothing_is_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares runs their plots and page, half of the time of a small one: see the marker `draws`.

    Runs of fixtures that several tests share, and of other processes, have them.
    """
    if request.node.get_closest_marker("draws") is None:
        for name in ("draw", "show_samples", "report"):
            monkeypatch.setattr(result, name, lambda *_: None)


@pytest.fixture
def photos() -> Path:
    """The photographs of cats and dogs."""
    folder = Path(os.environ.get("CATSDOGS_PHOTOS", REPOSITORY / "../shared/data/catsdogs"))
    if not folder.is_dir():
        message = f"no photographs in {folder}: set CATSDOGS_PHOTOS"
        if os.environ.get("CATSDOGS_REQUIRE_PHOTOS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


Paint = Callable[..., Path]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Returns a function that paints a noisy picture of one colour below `tmp_path`."""

    def paint(name: str, colour: tuple[int, int, int] = (200, 40, 40), seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(-40, 40, (24, 20, 3))
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
        return path

    return paint


@pytest.fixture
def colours(tmp_path: Path, paint: Paint) -> Path:
    """A folder of red and blue pictures: 12 and 12 to train, 5 and 4 to validate."""
    counts = {"train": (12, 12), "validation": (5, 4)}
    for split, (reds, blues) in counts.items():
        offset = 100 if split == "validation" else 0
        for i in range(reds):
            paint(f"colours/{split}/red/{i}.png", (200, 40, 40), seed=offset + i)
        for i in range(blues):
            paint(f"colours/{split}/blue/{i}.png", (40, 40, 200), seed=offset + 50 + i)
    return tmp_path / "colours"


@pytest.fixture
def disk_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What waits for the disk and what is renamed, in order: "fsync PATH", "rename NEW"."""
    calls: list[str] = []

    def told(path: str | Path) -> str:
        return os.path.relpath(path, tmp_path)

    def noted(name: str) -> None:
        real = getattr(os, name)

        def call(source: Any, target: Any = None) -> None:
            if target is None:
                calls.append(f"fsync {told(os.readlink(f'/proc/self/fd/{source}'))}")
                real(source)
            else:
                calls.append(f"rename {told(target)}")
                real(source, target)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "rename", "replace"):
        noted(name)
    return calls


@pytest.fixture
def tiny(colours: Path) -> Callable[..., Config]:
    """Returns a function that makes a small, fast config on the coloured pictures."""

    def tiny(**groups: dict) -> Config:
        tree: dict[str, dict] = {
            "data": {"dir": str(colours), "image_size": 16, "batch_size": 8},
            "model": {"widths": (4,), "hidden": 8},
            "train": {"steps": 6, "learning_rate": 1e-2},
            "eval": {"every_steps": 3},
            "mesh": {"devices": 1},
        }
        for group, values in groups.items():
            if group == "seed":
                tree["seed"] = values
                continue
            merged = {**tree.get(group, {}), **values}
            tree[group] = {key: value for key, value in merged.items() if value != "unset"}
        return config_from_dict(tree)

    return tiny
