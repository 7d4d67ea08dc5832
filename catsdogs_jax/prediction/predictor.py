"""Rows of a table for names of files: the model, the views, and the reject option together."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import jax

from catsdogs_jax.classifier import Classifier
from catsdogs_jax.data.manifest_file import read_manifest
from catsdogs_jax.errors import UserError
from catsdogs_jax.prediction.engine import Step, answer
from catsdogs_jax.prediction.forms import Row
from catsdogs_jax.prediction.neighbours import Neighbours, compile_distance, find_neighbours
from catsdogs_jax.prediction.reject import Rejection, confidences, named
from catsdogs_jax.run_folder import RunFolder


def neighbours_of(workdir: Path, classifier: Classifier) -> Neighbours:
    """Returns the training pictures as the model sees them; found once, kept in the run folder.

    Raises:
        UserError: The run has no list of its pictures, or they are gone.
    """
    folder = RunFolder(workdir)
    known = Neighbours.read(folder.embeddings, classifier.step)
    if known is not None:
        return known
    if not folder.manifest.is_file():
        raise UserError(f"--reject-far needs the run's manifest.json in {str(workdir)!r}")
    manifest = read_manifest(folder.manifest)
    found = find_neighbours(
        classifier.evaluation,
        (classifier.params, classifier.statistics),
        {split: manifest.split(split) for split in ("train", "validation")},
        manifest.root,
        classifier.batch,
        classifier.sharding,
        classifier.step,
    )
    try:
        found.save(folder.embeddings)
    except OSError:  # A run folder that is not ours to write: they are found again next time.
        return found
    return found


def predict_rows(
    classifier: Classifier,
    names: Iterable[str],
    rejection: Rejection,
    neighbours: Neighbours | None = None,
) -> Iterator[list[Row]]:
    """Yields the rows of each batch, in the order of the names.

    Args:
        classifier: The model.
        names: Paths and URLs.
        rejection: When not to answer.
        neighbours: What distances are measured to; none: they are not.
    """
    to = classifier.preprocessing
    found = answer(_step(classifier, neighbours), names, classifier.batch, to, classifier.sharding)
    for block, (logits, *distances) in found:
        probabilities = to.task.probabilities(logits)
        confidence = confidences(probabilities, to.task, to.threshold)
        rows = []
        for place, (name, reason) in enumerate(zip(block.names, block.reasons, strict=True)):
            if reason:
                rows.append(Row(name, (), None, reason))
                continue
            far = float(distances[0][place]) if distances else None
            why = rejection.reasons(float(confidence[place]), far)
            answers = named(probabilities[place], to.task, to.threshold)
            shown = (rejection.word,) if why else answers
            rows.append(Row(name, shown, tuple(probabilities[place].tolist()), "", why, far))
        yield rows


def _step(classifier: Classifier, neighbours: Neighbours | None) -> Step:
    variables = classifier.params, classifier.statistics
    if neighbours is None:
        classifier.evaluation.compiled  # noqa: B018 (before the clock starts)
        return lambda fed: classifier.evaluation(*variables, fed)[:1]
    sharding = classifier.sharding
    step = compile_distance(classifier.evaluation, neighbours.train, sharding)
    train = jax.device_put(neighbours.train, sharding.replicated)
    return lambda fed: step(*variables, fed, train)
