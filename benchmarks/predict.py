"""Files to answers, by predict and by evaluate: python -m benchmarks.predict RUN PICTURES."""

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks.harness import OURS, arguments, in_turn, report
from catsdogs_jax import load, runtime
from catsdogs_jax.classifier import Classifier
from catsdogs_jax.data.dataset import picture_sets
from catsdogs_jax.data.manifest import evaluation_manifest
from catsdogs_jax.data.sources import list_labelled

_PREDICT = f"{OURS} predict"


def main() -> None:
    """Reads, decodes and classifies the same pictures both ways, in turn; nothing is kept."""
    parser = arguments(__doc__ or "", rounds=9)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("pictures", type=Path, metavar="DIR", help="one folder for each class")
    flags = parser.parse_args()
    runtime.start()
    classifier = load(flags.run)
    count, ways = _ways(classifier, flags.pictures)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 if flags.quick else flags.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    found = {name: [count / taken for taken in times] for name, times in seconds.items()}
    case = f"{classifier.config.model.name} at {classifier.preprocessing.image_size}"
    rows = in_turn(case, found, "images/s", _PREDICT)
    report(rows, {"jax": version("jax"), "pictures": str(count)}, flags)


def _ways(classifier: Classifier, folder: Path) -> tuple[int, dict[str, Callable[[], object]]]:
    manifest = evaluation_manifest(list_labelled(folder), classifier.preprocessing.task)
    sets = list(picture_sets(manifest, classifier.preprocessing).values())
    files = [made.root / picture.file for made in sets for picture in made.pictures]
    return len(files), {
        _PREDICT: lambda: classifier.predict(files),
        f"{OURS} evaluate": lambda: [classifier.evaluate(made) for made in sets],
    }


if __name__ == "__main__":
    main()
