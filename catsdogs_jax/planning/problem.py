"""How many pictures of how many classes a run will see."""

import dataclasses

from catsdogs_jax.config import Config
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.data.sources import list_source
from catsdogs_jax.errors import UserError
from catsdogs_jax.task import Kind, Task

_ASSUMED_PICTURES, _ASSUMED_CLASSES = 10_000, 2


@dataclasses.dataclass(frozen=True)
class Problem:
    """The size of a run's data.

    Attributes:
        train: Training pictures.
        validation: Validation pictures.
        task: Kind of labels and classes.
        source: Where these numbers come from.
    """

    train: int
    validation: int
    task: Task
    source: str


def problem_of(config: Config, pictures: int | None = None, classes: int | None = None) -> Problem:
    """Returns the size of the data from flags, else from the data, else an assumption.

    Args:
        config: The run.
        pictures: All pictures together; none: not given.
        classes: Number of classes; none: not given.

    Raises:
        UserError: The numbers make no problem.
    """
    if pictures is not None or classes is not None:
        return _counted(config, pictures, classes, "as given by flags")
    if config.data.source == "drawn":
        names = config.data.drawn_classes
        kind = _kind(config, len(names), multilabel=config.data.drawn_animals == "several")
        task = Task(kind, tuple(sorted(names)))
        return Problem(config.data.drawn_train, config.data.drawn_validation, task, "to be drawn")
    try:
        if config.data.source != "tfds":
            return _listed(config)
    except UserError:
        pass  # A plan needs no pictures.
    return _counted(config, None, None, "assumed: give --pictures and --classes")


def _counted(config: Config, pictures: int | None, classes: int | None, source: str) -> Problem:
    pictures, classes = pictures or _ASSUMED_PICTURES, classes or _ASSUMED_CLASSES
    rest = pictures - round(pictures * config.data.test_share)
    held = round(rest * config.data.validation_share)  # Of what the test split leaves, as in a run.
    train = rest - held
    if classes < 2 or train < 1:
        raise UserError(
            f"--pictures {pictures} --classes {classes}: at least two of each are needed"
        )
    names = tuple(f"class {number}" for number in range(classes))
    return Problem(train, held, Task(_kind(config, classes, multilabel=False), names), source)


def _listed(config: Config) -> Problem:
    listing = list_source(config.data)
    splits = listing.examples.column("split").counts()
    names = listing.examples.column("labels").used()
    kind = _kind(config, len(names), multilabel=listing.multilabel)
    unsplit = splits[None] + splits["train"]
    if not splits["test"]:
        unsplit -= round(unsplit * config.data.test_share)
    held = splits["validation"] or round(unsplit * config.data.validation_share)
    if not splits["validation"]:
        unsplit -= held
    where = f"listed in {origin_of(listing.root)}"
    return Problem(unsplit, held, Task(kind, tuple(names)), where)


def _kind(config: Config, classes: int, *, multilabel: bool) -> Kind:
    if config.data.labels != "auto":
        return config.data.labels
    return "multilabel" if multilabel else "binary" if classes == 2 else "multiclass"
