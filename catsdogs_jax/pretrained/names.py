"""Translates the names and layouts of published weights into those of our modules.

PyTorch keeps a convolution as [outputs, inputs, height, width] and a dense layer as [outputs,
inputs]; NNX as [height, width, inputs, outputs] and [inputs, outputs].
"""

import re
from collections.abc import Mapping

import numpy as np

_PYTORCH_LITE = (
    (r"_conv_stem", "stem.conv"),
    (r"_bn0", "stem.norm"),
    (r"_blocks\.(\d+)\._expand_conv", r"blocks.\1.expand.conv"),
    (r"_blocks\.(\d+)\._bn0", r"blocks.\1.expand.norm"),
    (r"_blocks\.(\d+)\._depthwise_conv", r"blocks.\1.depthwise.conv"),
    (r"_blocks\.(\d+)\._bn1", r"blocks.\1.depthwise.norm"),
    (r"_blocks\.(\d+)\._project_conv", r"blocks.\1.project.conv"),
    (r"_blocks\.(\d+)\._bn2", r"blocks.\1.project.norm"),
    (r"_conv_head", "top.conv"),
    (r"_bn1", "top.norm"),
    (r"_fc", "head"),
)
"""Names of the package efficientnet-lite-pytorch."""

_TIMM = (
    (r"conv_stem", "stem.conv"),
    (r"bn1", "stem.norm"),
    (r"blocks\.0\.(\d+)\.conv_dw", r"blocks.0.\1.depthwise.conv"),
    (r"blocks\.0\.(\d+)\.bn1", r"blocks.0.\1.depthwise.norm"),
    (r"blocks\.0\.(\d+)\.conv_pw", r"blocks.0.\1.project.conv"),
    (r"blocks\.0\.(\d+)\.bn2", r"blocks.0.\1.project.norm"),
    (r"blocks\.(\d+)\.(\d+)\.conv_pw", r"blocks.\1.\2.expand.conv"),
    (r"blocks\.(\d+)\.(\d+)\.bn1", r"blocks.\1.\2.expand.norm"),
    (r"blocks\.(\d+)\.(\d+)\.conv_dw", r"blocks.\1.\2.depthwise.conv"),
    (r"blocks\.(\d+)\.(\d+)\.bn2", r"blocks.\1.\2.depthwise.norm"),
    (r"blocks\.(\d+)\.(\d+)\.conv_pwl", r"blocks.\1.\2.project.conv"),
    (r"blocks\.(\d+)\.(\d+)\.bn3", r"blocks.\1.\2.project.norm"),
    (r"conv_head", "top.conv"),
    (r"bn2", "top.norm"),
    (r"classifier", "head"),
)
"""Names of timm's tf_efficientnet_lite*; its blocks are numbered within their stage."""

_LEAVES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def translate(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns tensors by the dotted path of the variable they belong to, in NNX's layout.

    Names that are not known stay as they are, so that whoever lays them over a model can list them.

    Args:
        tensors: As read from a file.
    """
    timm = "conv_stem.weight" in tensors
    rules = _TIMM if timm else _PYTORCH_LITE
    found = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        path = _translated(module, rules)
        if path is None:
            found[name] = tensor
        elif leaf == "weight":
            norm = path.endswith("norm")
            found[f"{path}.{'scale' if norm else 'kernel'}"] = _nnx_layout(tensor)
        else:
            found[f"{path}.{_LEAVES.get(leaf, leaf)}"] = tensor
    return _numbered_through(found) if timm else found


def _translated(module: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, path in rules:
        match = re.fullmatch(pattern, module)
        if match:
            return match.expand(path)
    return None


def _nnx_layout(tensor: np.ndarray) -> np.ndarray:
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)
    return tensor.T


def _numbered_through(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbers the blocks of all stages from 0 on, in place of stage and block."""
    block = re.compile(r"blocks\.(\d+)\.(\d+)\.(.*)")
    matches = {name: block.fullmatch(name) for name in tensors}
    places = sorted({(int(m[1]), int(m[2])) for m in matches.values() if m})
    numbers = {place: number for number, place in enumerate(places)}
    return {
        f"blocks.{numbers[int(match[1]), int(match[2])]}.{match[3]}" if match else name: tensor
        for (name, match), tensor in zip(matches.items(), tensors.values(), strict=True)
    }
