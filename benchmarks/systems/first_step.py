"""A run that ends when its first step is done: CONFIG WORKDIR, then overrides KEY=VALUE."""

import os
import sys

from catsdogs_jax import runtime
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.train import train_and_evaluate

_FIRST_IS_DONE = 3
"""The loop waits for the first step when it has begun the third."""


class FirstStep:
    """Says a JSON line and ends the process, as early as the first step is known to be done."""

    def requested(self, step: int) -> None:
        """Ends the process."""
        if step == _FIRST_IS_DONE:
            print("{}", flush=True)
            os._exit(0)


def main() -> None:
    """Does what `python -m catsdogs_jax.train` does, up to the first step."""
    config, workdir, *overrides = sys.argv[1:]
    read = read_config(config, dict(override.split("=", 1) for override in overrides))
    runtime.start()
    train_and_evaluate(read, workdir, FirstStep())


if __name__ == "__main__":
    main()
