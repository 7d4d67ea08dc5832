"""Bundles: a trained model that gives the same probabilities elsewhere.

    from catsdogs_jax.exporting import load

    bundle = load("bundles/mine")
    bundle.predict(["photo.jpg"])

See docs/export.md.
"""

from catsdogs_jax.exporting.bundle import Bundle, load

__all__ = ["Bundle", "load"]
