"""What the backward pass computes again instead of keeping it (rematerialisation).

Source: Chen et al., 2016, https://arxiv.org/abs/1604.06174; the policies are those of
https://docs.jax.dev/en/latest/gradient-checkpointing.html.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.errors import UserError
from catsdogs_jax.models import Model
from catsdogs_jax.models.blocks import BLOCK, PRODUCT
from catsdogs_jax.training.sharding import GATHERED

Remat = Literal["none", "products", "blocks"]

_PRODUCTS = ("conv_general_dilated", "dot_general")


def rematerialized(
    function: Callable[..., Any], remat: Remat, static: int, *, gathers: bool
) -> Callable[..., Any]:
    """Returns a function with the same gradient, whose backward pass needs less memory.

    Args:
        function: The loss.
        remat: What to keep, see `config.TrainConfig.remat`.
        static: Place of the argument that is no array.
        gathers: Whether the function gathers sharded parameters; the backward pass gathers them
            again, so that no device keeps all of them.
    """
    if remat == "none" and not gathers:
        return function
    policies = jax.checkpoint_policies
    policy = {
        "none": _all_but_gathered,
        "products": policies.save_from_both_policies(
            _products, policies.save_only_these_names(PRODUCT)
        ),
        "blocks": policies.save_only_these_names(BLOCK),
    }[remat]
    return jax.checkpoint(function, policy=policy, static_argnums=static)  # type: ignore[arg-type]


def check_blocks(model: Model, name: str, image_size: int) -> None:
    """Checks that a model, which may be abstract, marks where its blocks end.

    Raises:
        UserError: It does not, and nothing at all would be kept.
    """
    graphdef, state = nnx.split(model)
    picture = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    traced = jax.make_jaxpr(lambda state, x: nnx.merge(graphdef, state)(x))(state, picture)
    if f"name={BLOCK}" not in str(traced):
        raise UserError(
            f"train.remat is 'blocks', but {name} marks no blocks: --config.train.remat=products"
        )


def _all_but_gathered(primitive: Any, *_: Any, **parameters: Any) -> bool:
    """Whether to keep a result: not whole parameters, under their name or before they have it.

    JAX's own `save_anything_except_these_names` keeps what has those names, too.
    """
    named = primitive.name == "name" and parameters["name"] == GATHERED
    # A gathering is a call with a gradient of its own, and nothing in it but the constraint.
    inner = parameters.get("call_jaxpr")
    inside = {equation.primitive.name for equation in inner.eqns} if inner is not None else set()
    return not named and inside != {"sharding_constraint"}


def _products(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in _PRODUCTS
