"""At which size a trained network sees best: python -m benchmarks.sizes RUN PICTURES.

Measures the best checkpoint of a run on labelled pictures of several sizes, of which it sees the
whole or the centre (`data.image_size` and `eval.center_crop`), and at its own without the mirror
image. It must be a network that takes any size.
"""

import dataclasses
from importlib.metadata import version
from pathlib import Path

from benchmarks.harness import OURS, Row, arguments, cpu_name, write
from catsdogs_jax import load, runtime
from catsdogs_jax.classifier import Classifier
from catsdogs_jax.data.dataset import picture_sets
from catsdogs_jax.data.manifest import Manifest, evaluation_manifest
from catsdogs_jax.data.sources import list_labelled
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.training.step import EvalRecipe
from catsdogs_jax.training.trainer import compile_evaluation

_SIZES = (80, 96, 112, 128, 160)
_SHARES = (1.0, 0.875, 0.75)


def main() -> None:
    """Evaluates at each size and share, and prints a table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("pictures", type=Path, metavar="DIR", help="one folder for each class")
    flags = parser.parse_args()
    runtime.start()
    classifier = load(flags.run)
    manifest = evaluation_manifest(list_labelled(flags.pictures), classifier.preprocessing.task)
    print(f"\n{cpu_name()}; jax {version('jax')}; step {classifier.step}\n")
    print("| eval.center_crop | data.image_size | share of the side | accuracy | 95 % | loss |")
    print("|---|---|---|---|---|---|")
    own, rows = classifier.preprocessing, []
    for seen in (own.seen_size,) if flags.quick else _SIZES:
        for share in _SHARES[-1:] if flags.quick else _SHARES:
            size = round(seen / share)
            crop = seen if share < 1 else None
            to = dataclasses.replace(own, image_size=size, center_crop=crop)
            rows.append(_row(classifier, manifest, to))
    if own.mirror:
        rows.append(_row(classifier, manifest, dataclasses.replace(own, mirror=False)))
    write(rows, {"jax": version("jax")}, flags)


def _row(classifier: Classifier, manifest: Manifest, to: Preprocessing) -> Row:
    """Evaluates pictures that are prepared in another way; prints the row, and returns it."""
    recipe = EvalRecipe(classifier.graphdef, to, classifier.batch)
    variables = classifier.params, classifier.statistics
    step = compile_evaluation(recipe, *variables, classifier.batch, classifier.sharding)
    changed = dataclasses.replace(classifier, preprocessing=to, evaluation=step)
    (pictures,) = picture_sets(manifest, to).values()
    found = changed.evaluate(pictures)
    low, high = wilson_interval(round(found.accuracy * found.n), found.n)
    views = "" if to.mirror == classifier.preprocessing.mirror else ", no mirror image"
    print(
        f"| {to.seen_size}{views} | {to.image_size} | {to.seen_size / to.image_size:.0%} | "
        f"{found.accuracy:.1%} of {found.n} | {low:.1%} to {high:.1%} | {found.loss:.3f} |",
        flush=True,
    )
    case = f"{to.seen_size} of {to.image_size} pixels{views}"
    return Row(case, OURS, 100 * found.accuracy, "%", None, 100 * low, 100 * high, found.n)


if __name__ == "__main__":
    main()
