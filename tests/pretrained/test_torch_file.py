"""Promises of the reader of .pth files. The tests write PyTorch's formats without PyTorch."""

import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catsdogs_jax.errors import UserError
from catsdogs_jax.pretrained.torch_file import read_torch_file

TENSORS = {
    "layer.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "layer.bias": np.array([1.5, -2.0], np.float64),
    "steps": np.array(7, np.int64),
}
_STORAGE_OF = {np.float32: "FloatStorage", np.float64: "DoubleStorage", np.int64: "LongStorage"}


class _Rebuilt:
    """Pickles as a call of PyTorch's function that puts a tensor together."""

    def __init__(self, key: str, array: np.ndarray):
        self.key, self.array = key, array

    def __reduce__(self) -> Any:
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        torch_utils = sys.modules["torch._utils"]
        shape = self.array.shape
        return torch_utils._rebuild_tensor_v2, (_Numbers(self), 0, shape, strides, False, None)


class _Numbers:
    def __init__(self, tensor: _Rebuilt):
        self.tensor = tensor


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Numbers):
            return None
        array = obj.tensor.array
        storage = getattr(sys.modules["torch"], _STORAGE_OF[array.dtype.type])
        return "storage", storage, obj.tensor.key, "cpu", array.size


@pytest.fixture(autouse=True)
def _torch_names() -> Iterator[None]:
    """Stands in for the names that a pickle of PyTorch refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils.__dict__["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    for name in _STORAGE_OF.values():
        torch.__dict__[name] = type(name, (), {"__module__": "torch", "__qualname__": name})
    saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    yield
    for name, module in saved.items():
        sys.modules.pop(name)
        if module is not None:
            sys.modules[name] = module


def pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def state_of(tensors: Mapping[str, np.ndarray]) -> Any:
    rebuilt = {name: _Rebuilt(str(i), array) for i, (name, array) in enumerate(tensors.items())}
    return collections.OrderedDict(rebuilt)


def old_format(path: Path, state: Any = None, tensors: Mapping[str, np.ndarray] = TENSORS) -> Path:
    """Writes what `torch.save` wrote before PyTorch 1.6."""
    parts = [pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts.append(pickled(state_of(tensors) if state is None else state))
    parts.append(pickle.dumps([str(i) for i in range(len(tensors))], 2))
    for array in tensors.values():
        parts += [struct.pack("<q", array.size), array.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def new_format(path: Path, state: Any = None, tensors: Mapping[str, np.ndarray] = TENSORS) -> Path:
    """Writes what `torch.save` writes since PyTorch 1.6."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled(state_of(tensors) if state is None else state))
        for number, array in enumerate(tensors.values()):
            archive.writestr(f"model/data/{number}", array.tobytes())
    return path


@pytest.mark.parametrize("write", [old_format, new_format])
def test_tensors_come_back_with_name_shape_and_type(tmp_path: Path, write: Any) -> None:
    found = read_torch_file(write(tmp_path / "w.pth"))
    assert list(found) == list(TENSORS)
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("write", [old_format, new_format])
def test_a_transposed_window_is_read_as_it_is_seen(tmp_path: Path, write: Any) -> None:
    state = collections.OrderedDict({"w": _Rebuilt("0", TENSORS["layer.weight"].T)})
    only = {"w": TENSORS["layer.weight"]}
    found = read_torch_file(write(tmp_path / "w.pth", state, only))
    np.testing.assert_array_equal(found["w"], TENSORS["layer.weight"].T)


def test_a_state_dict_beside_a_trainers_own_state_is_found(tmp_path: Path) -> None:
    state = {"state_dict": state_of(TENSORS), "epoch": 3}
    assert list(read_torch_file(new_format(tmp_path / "w.pth", state))) == list(TENSORS)


class _Calls:
    """A pickle that calls a function when it is opened."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("write", [old_format, new_format])
@pytest.mark.parametrize(
    "function", [os.system, eval, exec, __import__, getattr, io.open, pickle.loads, np.load]
)
def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(
    tmp_path: Path, write: Any, function: Any
) -> None:
    bait = tmp_path / "bait"
    evil = _Calls(function, f"touch {bait}" if function is os.system else f"open({str(bait)!r})")
    path = write(tmp_path / "evil.pth", {"layer.weight": evil})
    with pytest.raises(UserError, match=f"{function.__name__}.*not tensors alone"):
        read_torch_file(path)
    assert not bait.exists()


@pytest.mark.parametrize("value", [3, "text", [1, 2], {}, {"a": 3}])
def test_a_file_of_something_else_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match=r"w\.pth"):
        read_torch_file(new_format(tmp_path / "w.pth", value))


def test_a_tensor_beyond_its_numbers_is_refused(tmp_path: Path) -> None:
    whole, part = TENSORS["layer.weight"], np.zeros(3, np.float32)
    tensor = _Rebuilt("0", whole)
    path = new_format(tmp_path / "w.pth", collections.OrderedDict({"w": tensor}), {"w": part})
    with pytest.raises(UserError, match="middle of a tensor"):
        read_torch_file(path)


@pytest.mark.parametrize("write", [old_format, new_format])
def test_a_broken_file_is_an_error_and_never_a_crash(tmp_path: Path, write: Any) -> None:
    data = write(tmp_path / "whole.pth").read_bytes()
    random = np.random.default_rng(0)
    broken, refused = tmp_path / "broken.pth", 0
    for _ in range(300):
        changed = bytearray(data[: random.integers(1, len(data) + 1)])
        for place in random.integers(0, len(changed), 3):
            changed[place] = random.integers(0, 256)
        broken.write_bytes(changed)
        try:
            read_torch_file(broken)
        except UserError:
            refused += 1
    assert refused > 200
