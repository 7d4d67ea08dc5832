"""Networks by name. Knows nothing of files, batches or training."""

from catsdogs_jax.models.registry import (
    InputSpec,
    Model,
    build_model,
    input_spec,
    model_names,
    uses_kernels,
)

__all__ = ["InputSpec", "Model", "build_model", "input_spec", "model_names", "uses_kernels"]
