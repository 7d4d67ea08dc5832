"""The study of a search: its storage, its next trial, and the trials that workers left behind."""

import dataclasses
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict, differing_keys
from catsdogs_jax.errors import UserError
from catsdogs_jax.search.heartbeat import silence
from catsdogs_jax.search.space import Space

WHOLE_RUN = 1000
"""Intermediate values stand at thousandths of a run, whatever its number of steps."""

MOST_RETRIES = 3
_RUNGS = 3


@dataclasses.dataclass
class Search:
    """A study, and the folder that its workers share.

    Attributes:
        study: Optuna's.
        folder: Run folders of the trials, heartbeats and results.
        config: What every trial starts from.
        space: What is varied.
        trials: Trials wanted in all, finished or pruned.
        grace: Seconds without a sign of life after which a worker counts as dead.
    """

    study: optuna.Study
    folder: Path
    config: Config
    space: Space
    trials: int
    grace: float

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.folder / ".lock")

    @property
    def metric(self) -> Literal["accuracy", "loss"]:
        """The validation metric that is compared."""
        return self.config.checkpoint.metric

    def run_folder(self, trial: FrozenTrial) -> Path:
        """Returns the run folder of a trial; that of a retried one is its first try's."""
        first = trial.system_attrs.get("failed_trial", trial.number)
        return self.folder / "trials" / f"{first:05d}"

    def heartbeat(self, number: int) -> Path:
        """Returns the file by which the worker of a trial shows that it lives."""
        return self.folder / "heartbeats" / f"{number:05d}"

    def next_trial(self) -> optuna.Trial | None:
        """Returns a trial to run, first those left behind; none when all are done.

        Waits while other workers run the last ones: one of them may die.
        """
        waiting = False
        while True:
            with self.lock:
                self._retry_stale()
                trials = self.study.get_trials(deepcopy=False)
                count = Counter(trial.state for trial in trials)
                done = count[TrialState.COMPLETE] + count[TrialState.PRUNED]
                if done >= self.trials:
                    return None
                if count[TrialState.WAITING] or done + count[TrialState.RUNNING] < self.trials:
                    return self._ask(len(trials))
            if not waiting:
                waiting = True
                print(f"waiting for {count[TrialState.RUNNING]} trial(s) of other workers")
            time.sleep(min(self.grace / 4, 5.0))

    def retry(self, number: int) -> None:
        """Ends a running trial and puts it back in the queue, with what it has reported.

        After `MOST_RETRIES` it counts as pruned: it may be what kills the workers.
        """
        with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning):
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            again = optuna.storages.RetryHeartbeatStaleTrialCallback(
                inherit_intermediate_values=True
            )
        trial = self.study.get_trials(deepcopy=True)[number]
        if len(trial.system_attrs.get("retry_history", [])) >= MOST_RETRIES:
            print(f"trial {number} was given up after {MOST_RETRIES} retries")
            self.study.tell(number, state=TrialState.PRUNED)
            return
        self.study.tell(number, state=TrialState.FAIL)
        again(self.study, trial)

    def _retry_stale(self) -> None:
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if silence(self.heartbeat(trial.number)) > self.grace:
                print(f"trial {trial.number} was left behind by its worker and is tried again")
                self.retry(trial.number)

    def _ask(self, count: int) -> optuna.Trial:
        # A seed from the number of the trial: a search that goes on draws what it would have drawn.
        self.study.sampler = optuna.samplers.TPESampler(seed=hash_seed(self.config.seed, count))
        trial = self.study.ask(fixed_distributions=dict(self.space.distributions))
        beat = self.heartbeat(trial.number)
        beat.parent.mkdir(parents=True, exist_ok=True)
        beat.touch()
        return trial


def hash_seed(seed: int, count: int) -> int:
    """Returns the seed of the sampler for the trial after `count` others."""
    return (seed * 1_000_003 + count) % 2**32


def open_search(
    config: Config,
    space: Space,
    storage: str,
    *,
    trials: int,
    workdir: str | None = None,
    name: str = "catsdogs_jax",
    reduction: int = 3,
    grace: float = 60.0,
) -> Search:
    """Opens a search, new or begun.

    Args:
        config: What every trial starts from.
        space: What is varied.
        storage: A file (Optuna's journal), or the URL of a relational database.
        trials: Trials wanted in all.
        workdir: The folder that the workers share; none: beside the file, without its suffix.
        name: Name of the study in the storage.
        reduction: One of this many trials passes each rung of successive halving; 1: no pruning.
        grace: Seconds without a sign of life after which a worker counts as dead.

    Raises:
        UserError: The storage cannot be opened, or it holds a study of another config or space.
    """
    folder = _folder(storage, workdir)
    best = "maximize" if config.checkpoint.metric == "accuracy" else "minimize"
    try:
        study = optuna.create_study(
            storage=_storage(storage),
            study_name=name,
            direction=best,
            load_if_exists=True,
            pruner=_pruner(reduction),
        )
    except Exception as error:  # Of the database's driver, whichever it is.
        raise UserError(f"--storage {storage!r} cannot be opened: {error}") from error
    search = Search(study, folder, config, space, trials, grace)
    with search.lock:
        _agree(study, "config", config_to_dict(config), storage)
        _agree(study, "space", space.entries, storage)
    return search


def _folder(storage: str, workdir: str | None) -> Path:
    if workdir is not None:
        return Path(workdir)
    if "://" in storage:
        raise UserError(
            f"--storage {storage!r} is a database: give --workdir, a folder that all workers share"
        )
    path = Path(storage)
    if path.is_dir():
        raise UserError(f"--storage {storage!r} is a folder: give a file, for example {path}.log")
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}_trials")


def _storage(storage: str) -> BaseStorage:
    if "://" in storage:
        return RDBStorage(storage)
    Path(storage).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(storage))


def _pruner(reduction: int) -> BasePruner:
    """Rungs at 1/reduction of the run, 1/reduction^2 and 1/reduction^3.

    Source: asynchronous successive halving, Li et al., 2020, https://arxiv.org/abs/1810.05934
    """
    if reduction < 2:
        return NopPruner()
    first = -(-WHOLE_RUN // reduction**_RUNGS)  # Rounded up: a fourth rung is beyond the end.
    return SuccessiveHalvingPruner(min_resource=first, reduction_factor=reduction)


def _agree(study: optuna.Study, key: str, tree: Mapping[str, Any], storage: str) -> None:
    began = study.user_attrs.get(key)
    if began is None:
        study.set_user_attr(key, dict(tree))
        return
    lines = differing_keys(began, study_json(tree))
    if lines:
        raise UserError(
            f"--storage {storage!r} holds a study of another {key} ({'; '.join(lines)}): give "
            "another --storage or --study"
        )


def study_json(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a tree as a storage gives it back: tuples become lists."""
    return {
        key: study_json(value)
        if isinstance(value, Mapping)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in tree.items()
    }
