"""How far a picture is from those that the model was trained on.

The distance is that of Sun et al., 2022, "Out-of-Distribution Detection with Deep Nearest
Neighbors", https://arxiv.org/abs/2204.06507: Euclidean, from the embedding scaled to length one
(the input of the model's last stage) to the k-th nearest of the training pictures. The threshold
lets a chosen share of held-out pictures pass: those of the validation split, since the model has
drawn its training pictures closer together than it will others.
"""

import dataclasses
import os
import zipfile
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax.data.contents import as_files
from catsdogs_jax.data.pictures import Pictures
from catsdogs_jax.data.pipeline import Batch
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.errors import UserError
from catsdogs_jax.prediction.engine import answer
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import Params, merge_model
from catsdogs_jax.training.step import EvalRecipe, eval_step, passes, whole
from catsdogs_jax.training.trainer import CompiledStep

K = 10
"""Which neighbour: for samples of a few thousand, 10 does as well as more (their figure 4)."""

_MOST = 4000
_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise for an archive that is cut, or in which a bit is another."""


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The training pictures as the model sees them.

    Attributes:
        train: float32 [n, features], each of length one; at most 4,000, evenly spaced.
        held_out: float32 [m], the distances of validation pictures.
        step: The checkpoint that saw them.
    """

    train: np.ndarray
    held_out: np.ndarray
    step: int

    def limit(self, share: float) -> float:
        """Returns the distance within which a share of the held-out pictures lies."""
        return float(np.quantile(self.held_out, share))

    def save(self, path: Path) -> None:
        """Writes them in one piece, which is on the disk before it has its name."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("wb") as stream:
                np.savez(stream, **dataclasses.asdict(self))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)  # Of a full disk: the number is another next time.

    @classmethod
    def read(cls, path: Path, step: int) -> "Neighbours | None":
        """Returns what `save` wrote for a checkpoint; none if nothing whole of that step is there.

        What a copy or a crash has cut counts as nothing: the pictures are looked at again.
        """
        try:
            with np.load(path) as found:
                if int(found["step"]) == step:
                    return cls(found["train"], found["held_out"], step)
        except _DAMAGED:
            return None
        return None


def distance_step(
    recipe: EvalRecipe, params: Params, statistics: Params, batch: Batch, train: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns logits [B, outputs], and the distance [B], 0 to 2, to the k-th nearest of `train`."""
    logits, _ = eval_step(recipe, params, statistics, batch)
    alike = embed_step(recipe, params, statistics, batch) @ train.T
    kth = jax.lax.top_k(alike, min(K, train.shape[0]))[0][:, -1]
    return logits, jnp.sqrt(jnp.maximum(0.0, 2.0 - 2.0 * kth))


def embed_step(recipe: EvalRecipe, params: Params, statistics: Params, batch: Batch) -> jax.Array:
    """Returns float32 embeddings [B, features] of length one, of the unmirrored pictures."""
    images = recipe.preprocessing.seen(batch["image"])
    model = merge_model(recipe.graphdef, whole(recipe, params), statistics)

    def forward(x: jax.Array) -> jax.Array:
        for _, _, stage in model.stages()[:-1]:
            x = stage(x)
        return x.reshape(x.shape[0], -1).astype(jnp.float32)

    found = jnp.concatenate([forward(part) for part in passes(images, recipe.microbatch)])
    length = jnp.linalg.norm(found, axis=-1, keepdims=True)
    return found / jnp.maximum(length, 1e-12)


def compile_distance(
    evaluation: CompiledStep, train: np.ndarray, sharding: Sharding
) -> CompiledStep:
    """Compiles `distance_step` for the model and the batch of an evaluation step."""
    shape = jax.ShapeDtypeStruct(train.shape, train.dtype, sharding=sharding.replicated)
    return CompiledStep(
        "distance",
        distance_step,
        *evaluation.arguments,
        shape,
        out_shardings=(sharding.batch, sharding.batch),
    )


def find_neighbours(
    evaluation: CompiledStep,
    variables: tuple[Params, Params],
    splits: dict[str, Pictures],
    root: Path,
    batch: int,
    sharding: Sharding,
    step: int,
) -> Neighbours:
    """Looks at the training pictures, and measures how far the validation pictures are from them.

    Args:
        evaluation: The compiled evaluation step.
        variables: Parameters and statistics, on the devices.
        splits: The pictures of the splits "train" and "validation".
        root: Folder of their files.
        batch: Pictures in a batch.
        sharding: The devices.
        step: The checkpoint.

    Raises:
        UserError: A picture is gone, or cannot be used any more.
    """
    recipe: EvalRecipe = evaluation.arguments[0]

    def seen(compiled: CompiledStep, split: str, *extra: jax.Array) -> np.ndarray:
        pictures = [(picture.file, picture.content_hash) for picture in spaced(splits[split])]

        def run(fed: Batch) -> tuple[jax.Array, ...]:
            return tuple(jax.tree.leaves(compiled(*variables, fed, *extra)))

        parts = []
        with as_files(root, pictures) as paths:
            for block, arrays in answer(
                run, map(str, paths), batch, recipe.preprocessing, sharding
            ):
                # What is found is kept: without some of the pictures it would be wrong for ever.
                for name, reason in zip(block.names, block.reasons, strict=True):
                    if reason:
                        raise UserError(
                            f"all {split} pictures of the run are needed, but {name!r} cannot be "
                            f"used ({reason}): put back what is missing below {origin_of(root)!r}"
                        )
                parts.append(arrays[-1])
        return np.concatenate(parts)

    embed = CompiledStep(
        "embedding", embed_step, *evaluation.arguments, out_shardings=sharding.batch
    )
    train = seen(embed, "train")
    bank = jax.device_put(train, sharding.replicated)
    distances = seen(compile_distance(evaluation, train, sharding), "validation", bank)
    return Neighbours(train, distances, step)


def spaced(pictures: Pictures) -> Pictures:
    """Returns the pictures that are looked at: all, or 4,000 evenly over the list."""
    return pictures.evenly(_MOST)
