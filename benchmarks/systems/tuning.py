"""What peers get so that the comparison is with their best."""

from catsdogs_jax import runtime


def tune_allocator(variant: str) -> None:
    """Lets a variant that is called "tuned" keep its freed memory, as ours does."""
    if "tuned" in variant:
        runtime.keep_freed_memory()
