"""One system's side of a benchmark: python -m benchmarks.worker TASK SYSTEM OPTIONS.

Says on standard output, as JSON lines, what it is, then the result of a round for every line that
it reads. Everything is warmed up before the first line.
"""

import importlib
import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

MODULES = {
    "catsdogs_jax": "ours",
    "pytorch": "pytorch",
    "keras": "keras_peer",
    "tf.data": "keras_peer",
    "grain": "grain_peer",
}


def main() -> None:
    """Gets ready, then serves rounds until standard input ends."""
    task, system, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    name, _, variant = system.partition(" ")
    module: Any = importlib.import_module(f"benchmarks.systems.{MODULES[name]}")
    work: Callable[[], float]
    work, unit, packages = getattr(module, task)(variant, **options)
    versions = {package: importlib.metadata.version(package) for package in packages}
    say({"unit": unit, "versions": versions})
    for _ in sys.stdin:
        start = time.perf_counter()
        amount = work()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say({"value": amount / seconds, "peak_rss_mib": peak})


def say(tree: dict[str, Any]) -> None:
    """Writes one JSON line."""
    print(json.dumps(tree), flush=True)


if __name__ == "__main__":
    main()
