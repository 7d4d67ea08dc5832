"""Networks by name. Knows nothing of files, batches or training."""

from catsdogs_jax.models.registry import (
    Model,
    build_model,
    input_spec,
    model_names,
    uses_kernels,
)
from catsdogs_jax.models.spec import InputSpec

__all__ = ["InputSpec", "Model", "build_model", "input_spec", "model_names", "uses_kernels"]
