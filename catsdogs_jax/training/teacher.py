"""The trained model that a run learns from besides its labels."""

from pathlib import Path

from catsdogs_jax.config import TrainConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.training.distillation import Distillation
from catsdogs_jax.training.recipe import Teacher
from catsdogs_jax.training.restore import restore_best
from catsdogs_jax.training.sharding import Sharding


def load_teacher(
    config: TrainConfig, preprocessing: Preprocessing, sharding: Sharding
) -> Teacher | None:
    """Restores the best checkpoint of the run that `config.teacher` names; none if it names none.

    Args:
        config: The student's.
        preprocessing: The student's.
        sharding: The devices; the teacher's parameters are copied to each.

    Raises:
        UserError: The folder holds no finished run, whose best checkpoint would not change any
            more, or the teacher knows other classes.
    """
    if not config.teacher:
        return None
    folder = RunFolder(Path(config.teacher))
    folder.read_config()  # Says that there is no run, if there is none.
    if not folder.result.is_file():
        raise UserError(
            f"train.teacher {config.teacher!r} is not finished (no result.json): run its command "
            "again first, as its best checkpoint may still change"
        )
    run = restore_best(folder.path, sharding)
    order = _order(config.teacher, run.preprocessing, preprocessing)
    distillation = Distillation(
        run.graphdef, run.preprocessing, order, config.teacher_weight, config.teacher_temperature
    )
    return Teacher(distillation, (run.params, run.statistics))


def _order(name: str, teacher: Preprocessing, student: Preprocessing) -> tuple[int, ...]:
    """Returns the teacher's index of each class of the student."""
    theirs, ours = teacher.task, student.task
    if theirs.kind != ours.kind or set(theirs.classes) != set(ours.classes):
        raise UserError(
            f"train.teacher {name!r} is {theirs.kind} of {', '.join(theirs.classes)}, but this run "
            f"is {ours.kind} of {', '.join(ours.classes)}: give a teacher of the same classes"
        )
    return tuple(theirs.classes.index(label) for label in ours.classes)
