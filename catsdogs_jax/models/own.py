"""A user's own model, by import path."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.errors import UserError, nearest


def import_model(path: str) -> Callable[..., Any]:
    """Returns the class or function that an import path names.

    Args:
        path: As "my_package.my_module:MyModel"; the module must be installed, or lie in the folder
            that the program is started from.

    Raises:
        UserError: The module or the name in it cannot be found, or the module fails.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise UserError(f"model.name is {path!r}: write it as my_package.my_module:MyModel")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        # `python -m` puts it there, the script does not. Last, so that it hides nothing installed.
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"model.name is {path!r}, but there is no module {error.name!r}: install it, or start "
            "from the folder that holds it"
        ) from error
    except Exception as error:
        raise UserError(
            f"model.name is {path!r}, but importing {module_name} failed: {error!r}"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        public = [key for key in vars(module) if not key.startswith("_")]
        raise UserError(
            f"model.name is {path!r}, but {module_name} has no {name!r}.{nearest(name, public)}"
        )
    return _callable_as_a_builder(path, found)


def check_contract(path: str, model: Any, image_size: int, outputs: int) -> None:
    """Checks that a user's model does what the steps of a run will ask of it, without running it.

    Args:
        path: Its import path, for messages.
        model: What was built; may have abstract parameters.
        image_size: Side of the pictures, pixels.
        outputs: Number of logits.

    Raises:
        UserError: It does not; the message says which part of the contract is broken.
    """
    if not isinstance(model, nnx.Module):
        raise _broken(path, f"it made a {type(model).__name__}, not a flax.nnx.Module")
    if not callable(getattr(model, "stages", None)):
        raise _broken(path, "it has no stages(): name, description and function of each part")
    graphdef, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((2, image_size, image_size, 3), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))

    def logits(state: nnx.State, images: jax.Array, keys: jax.Array | None) -> jax.Array:
        return nnx.merge(graphdef, state)(images, keys=keys)

    def composed(state: nnx.State, images: jax.Array) -> jax.Array:
        x = images
        again: Any = nnx.merge(graphdef, state)
        for _, _, function in again.stages():
            x = function(x)
        return x

    trials = {
        "(images, keys=None), as in evaluation,": lambda: jax.eval_shape(
            lambda s, i: logits(s, i, None), state, images
        ),
        "(images, keys=keys), as in training,": lambda: jax.eval_shape(logits, state, images, keys),
        ".stages(), one after the other,": lambda: jax.eval_shape(composed, state, images),
    }
    for call, trial in trials.items():
        try:
            result = trial()
        except Exception as error:
            raise _broken(path, f"model{call} failed: {error!r}") from error
        shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
        floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
        if shape != (2, outputs) or not floating:
            made = f"{dtype} {list(shape)}" if shape is not None else type(result).__name__
            raise _broken(
                path, f"model{call} gave {made} for 2 pictures, not float logits {[2, outputs]}"
            )
    for place, leaf in jax.tree.leaves_with_path(nnx.state(model, nnx.Param)):
        if leaf.dtype != jnp.float32:
            key = jax.tree_util.keystr(place)
            raise _broken(path, f"parameter {key} is {leaf.dtype}, not float32")


def _callable_as_a_builder(path: str, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise _broken(path, f"it is a {type(found).__name__}, not a class or function")
    try:
        # NNX hides the arguments of a module's class, but not those of its __init__.
        if inspect.isclass(found):
            inspect.signature(found.__init__).bind(None, None, image_size=0, outputs=0, rngs=None)
        else:
            inspect.signature(found).bind(None, image_size=0, outputs=0, rngs=None)
    except TypeError as error:
        raise _broken(
            path, f"it cannot be called as (config, image_size=, outputs=, rngs=): {error}"
        ) from error
    return found


def _broken(path: str, what: str) -> UserError:
    return UserError(f"model.name is {path!r}, but {what} (see docs/models.md)")
