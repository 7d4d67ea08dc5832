"""Train image classifiers from folders of pictures, on TPU, GPU or CPU.

    from catsdogs_jax import load, train_and_evaluate

`train_and_evaluate(config, workdir)` trains; `load(workdir)` returns a `Classifier` whose
`predict(files)` and `evaluate(pictures)` use the best checkpoint. Both are imported when first
asked for, so that `import catsdogs_jax` is quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catsdogs_jax.classifier import load
    from catsdogs_jax.train import train_and_evaluate

__version__ = "0.1.0"
__all__ = ["load", "train_and_evaluate"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from catsdogs_jax.classifier import load

        return load
    if name == "train_and_evaluate":
        from catsdogs_jax.train import train_and_evaluate

        return train_and_evaluate
    raise AttributeError(f"module 'catsdogs_jax' has no attribute {name!r}")
