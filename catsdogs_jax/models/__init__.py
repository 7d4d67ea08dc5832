"""Networks by name. Knows nothing of files, batches or training."""

from catsdogs_jax.models.registry import Model, build_model, model_names, uses_kernels

__all__ = ["Model", "build_model", "model_names", "uses_kernels"]
