"""Published weights: where they are found, read and laid over a model."""

from catsdogs_jax.pretrained.lay_over import HEAD, Laid, lay_over
from catsdogs_jax.pretrained.sources import Weights, read_weights

__all__ = ["HEAD", "Laid", "Weights", "lay_over", "read_weights"]
