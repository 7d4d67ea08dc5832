"""Lays weights over the fresh variables of a model, and says what did not fit."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from catsdogs_jax.errors import UserError
from catsdogs_jax.pretrained.sources import Weights

HEAD = "head"
"""The last dense layer, which every model names so: its outputs are those of the labels."""

_LINES_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Laid:
    """The variables of a model with weights laid over them.

    Attributes:
        params: Trainable parameters, as they were given where no weights were found.
        statistics: Other variables, likewise.
        notes: What a user should know, one line each.
    """

    params: Any
    statistics: Any
    notes: tuple[str, ...]


def lay_over(params: Any, statistics: Any, weights: Weights) -> Laid:
    """Replaces variables by the weights of the same path.

    The head stays fresh if the number of outputs differs, which is said in the notes.

    Args:
        params: Nested dicts of arrays or of their shapes.
        statistics: Likewise; no path is in both.
        weights: What to lay over it.

    Raises:
        UserError: Other shapes differ, or one side has variables that the other has not; each is
            listed.
    """
    leaves = [jax.tree_util.tree_leaves_with_path(tree) for tree in (params, statistics)]
    wanted = {dotted(path): leaf for path, leaf in [*leaves[0], *leaves[1]]}
    found = dict(weights.tensors)
    swapped = _swapped_head(wanted, found)
    faults = []
    for name, leaf in wanted.items():
        if name in swapped:
            continue
        if name not in found:
            faults.append(f"{name}: not in the weights")
        elif found[name].shape != leaf.shape:
            faults.append(f"{name}: {found[name].shape} in the weights, {leaf.shape} in the model")
    faults += [f"{name}: not in the model" for name in sorted(set(found) - set(wanted))]
    if faults:
        shown = "; ".join(faults[:_LINES_SHOWN])
        more = f"; and {len(faults) - _LINES_SHOWN} more" if len(faults) > _LINES_SHOWN else ""
        raise UserError(
            f"the weights {weights.source!r} do not fit the model in {len(faults)} of "
            f"{len(wanted)} variables ({shown}{more}): give model.name and widths of the weights; "
            "names of other libraries are known for EfficientNet-Lite alone (docs/models.md)"
        )
    notes = [f"{len(wanted) - len(swapped)} of {len(wanted)} variables from {weights.source}"]
    if swapped:
        old, new = (side[f"{HEAD}.bias"].shape[0] for side in (found, wanted))
        notes.append(f"the head of {old:,} outputs is replaced by a fresh one of {new:,}")

    def laid(path: Any, leaf: Any) -> Any:
        name = dotted(path)
        return leaf if name in swapped else np.asarray(found[name], leaf.dtype)

    return Laid(
        jax.tree_util.tree_map_with_path(laid, params),
        jax.tree_util.tree_map_with_path(laid, statistics),
        tuple(notes),
    )


def _swapped_head(wanted: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> set[str]:
    """Returns the variables of the head, if the weights have another number of outputs."""
    bias = f"{HEAD}.bias"
    if bias not in wanted or bias not in found or wanted[bias].shape == found[bias].shape:
        return set()
    return {name for name in wanted if name.startswith(f"{HEAD}.")}


def dotted(path: Any) -> str:
    """Returns the dotted name of a path in a tree of dicts, "blocks.0.conv.kernel"."""
    return ".".join(str(key.key) for key in path)
