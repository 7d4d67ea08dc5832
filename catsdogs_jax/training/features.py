"""What a network sees in a picture: the input of its head."""

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax.data.feed import Feed
from catsdogs_jax.data.pipeline import Batch, PictureSet
from catsdogs_jax.training.evaluation import of_all_processes
from catsdogs_jax.training.state import Params, merge_model
from catsdogs_jax.training.step import EvalRecipe, passes, whole
from catsdogs_jax.training.trainer import CompiledStep, Trainer


def feature_step(recipe: EvalRecipe, params: Params, statistics: Params, batch: Batch) -> jax.Array:
    """Returns float32 features [B, 2, width] of each picture of a batch and of its mirror image.

    Args:
        recipe: Static.
        params: Parameters.
        statistics: Other variables of the model.
        batch: `image` uint8 [B, size, size, 3].
    """
    images = recipe.preprocessing.seen(batch["image"])
    model = merge_model(recipe.graphdef, whole(recipe, params), statistics)
    body = [part for _, _, part in model.stages()][:-1]

    def forward(x: jax.Array) -> jax.Array:
        for part in body:
            x = part(x)
        return x.reshape(x.shape[0], -1).astype(jnp.float32)

    views = (images, images[:, :, ::-1])
    return jnp.stack(
        [
            jnp.concatenate([forward(part) for part in passes(view, recipe.microbatch)])
            for view in views
        ],
        axis=1,
    )


def compute_features(
    trainer: Trainer, params: Params, statistics: Params, pictures: PictureSet
) -> np.ndarray:
    """Returns features [n, 2, width] of each picture of a set, in order, and of its mirror image.

    Args:
        trainer: Model and devices.
        params: Parameters, on the devices.
        statistics: Other variables, likewise.
        pictures: The pictures.
    """
    state = trainer.abstract_state()
    step = CompiledStep(
        "feature",
        feature_step,
        trainer.eval_recipe,
        state.params,
        state.statistics,
        trainer.abstract_eval_batch,
        out_shardings=trainer.sharding.batch,
    )
    batch, sharding = trainer.eval_batch, trainer.sharding
    batches = pictures.evaluation_batches(batch, sharding.places(batch))
    with Feed(batches, sharding.batch) as feed:
        parts = (of_all_processes(step(params, statistics, fed)) for fed in feed)
        found = [jax.device_get(part) for part in parts]
    return np.concatenate(found)[: len(pictures)]
