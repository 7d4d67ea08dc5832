"""Reads the tensors of a .pth file without PyTorch, and without running anything that is in it.

A .pth file is a pickle, and a pickle can call any function. The unpickler here knows four names:
the ordered dict, PyTorch's two functions that put a tensor together (ours stand in for them), and
the types of its storages. Anything else in the file is refused by name.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.errors import UserError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict that `torch.save` wrote, by name.

    Both of PyTorch's formats are read: the zip archive (since 1.6) and the sequence of pickles
    before it.

    Raises:
        UserError: The file is no such file, is cut off, or holds anything but named tensors.
    """
    try:
        loaded = _read_zip(path) if zipfile.is_zipfile(path) else _read_pickles(path)
    except _Refused as error:
        raise UserError(
            f"{str(path)!r} holds {error}, not tensors alone: it is not opened, as a pickle may "
            "run any code. Save the model's state_dict(), or a .safetensors file"
        ) from error
    except Exception as error:  # pickle and zipfile raise many types on broken files.
        raise _broken(path, error) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]  # As trainers save it beside their own state.
    if not isinstance(loaded, dict) or not loaded:
        raise UserError(f"{str(path)!r} holds a {type(loaded).__name__}, not tensors by name")
    for name, value in loaded.items():
        if not isinstance(value, _Tensor):
            raise UserError(f"{str(path)!r} holds a {type(value).__name__} under {name!r}")
    try:
        return {str(name): value.read() for name, value in loaded.items()}
    except ValueError as error:
        raise _broken(path, error) from error


class _Refused(Exception):
    """The pickle asks for something other than tensors."""


class _Storage:
    """The numbers that tensors share; they are read after the pickle that names them."""

    def __init__(self, dtype: Any, count: int):
        self.dtype, self.count = np.dtype(dtype), count
        self.values: np.ndarray | None = None

    def fill(self, data: bytes) -> None:
        if len(data) < self.count * self.dtype.itemsize:
            raise EOFError("the file ends in the middle of a tensor")
        self.values = np.frombuffer(data, self.dtype, self.count)


class _Tensor:
    """A window on a storage."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def read(self) -> np.ndarray:
        values = self.storage.values
        if values is None:
            raise ValueError("a tensor has no numbers")
        whole = [*self.shape, *self.strides, self.offset]
        if len(self.shape) != len(self.strides) or any(type(n) is not int or n < 0 for n in whole):
            raise ValueError(f"a tensor has the shape {self.shape} and strides {self.strides}")
        pairs = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((side - 1) * stride for side, stride in pairs)
        if math.prod(self.shape) and last >= len(values):
            raise ValueError("a tensor reaches beyond its numbers")
        size = values.itemsize
        window = np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, [stride * size for stride in self.strides]
        )
        return np.ascontiguousarray(window).reshape(self.shape)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise _Refused("a tensor without storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _Unpickler(pickle.Unpickler):
    """Knows tensors and the dict they stand in, and nothing else."""

    _KNOWN: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        **{("torch", name): dtype for name, dtype in _STORAGES.items()},
    }

    def __init__(self, file: Any, storage: Callable[[str, Any, int], _Storage]):
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise _Refused(f"{module}.{name}")
        return self._KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage":
            raise _Refused(f"a reference to {kind!r}")
        return self._storage(str(key), dtype, int(count))


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if not found:
            raise ValueError("the archive holds no data.pkl")
        folder = found[0].removesuffix("data.pkl")
        storages: dict[str, _Storage] = {}

        def storage(key: str, dtype: Any, count: int) -> _Storage:
            if key not in storages:
                storages[key] = _Storage(dtype, count)
                storages[key].fill(archive.read(f"{folder}data/{key}"))
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(found[0])), storage).load()


def _read_pickles(path: Path) -> Any:
    """Reads magic, version, byte order, the state, the keys of the storages, and the storages."""
    storages: dict[str, _Storage] = {}

    def storage(key: str, dtype: Any, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    def load(file: io.BufferedReader) -> Any:
        return _Unpickler(file, storage).load()

    with path.open("rb") as file:
        if load(file) != _MAGIC or load(file) != _PROTOCOL or not load(file)["little_endian"]:
            raise ValueError("no file of torch.save")
        state, keys = load(file), load(file)
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            wanted = storages[key]
            if count != wanted.count:
                raise ValueError(f"a storage has {count} numbers, not {wanted.count}")
            wanted.fill(file.read(count * wanted.dtype.itemsize))
    return state


def _broken(path: Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {error}".removesuffix(": ")
    return UserError(f"{str(path)!r} is not a whole file of torch.save ({reason})")
