"""Promises of TensorFlow's door: what holds up other threads is loaded where it does not."""

import subprocess
import sys

_LOADED = """
import sys
from catsdogs_jax.data.tensorflow import load_native
maps = lambda: "libtensorflow_cc" in open("/proc/self/maps").read()
before = maps()
load_native()
print(before, maps(), "tensorflow" in sys.modules)
"""


def test_the_libraries_are_there_before_the_import_that_would_hold_the_lock_meanwhile() -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr
