"""One trial of a search: a run that is told of, and may be ended, at each evaluation."""

import math
from collections.abc import Callable, Mapping

import jax
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from catsdogs_jax.config.reader import with_values
from catsdogs_jax.errors import Diverged, Interrupted, UserError
from catsdogs_jax.result import CHOOSING_SPLIT, split_line
from catsdogs_jax.search.heartbeat import Heartbeat
from catsdogs_jax.search.study import WHOLE_RUN, Search
from catsdogs_jax.train import train_and_evaluate

_BEATS_IN_GRACE = 4


def run_trial(search: Search, trial: optuna.Trial) -> None:
    """Trains one trial and tells the study how it ended. The test split is not looked at.

    Raises:
        Interrupted: A signal asked to stop; the trial is saved and back in the queue.
        UserError: The config of the trial cannot run.
    """
    words = ", ".join(f"{key}={value}" for key, value in trial.params.items())
    known = search.study.get_trials(deepcopy=False)[trial.number]
    first = known.system_attrs.get("failed_trial")
    again = "" if first is None else f" (trial {first} again)"
    print(f"\ntrial {trial.number}{again}: {words}", flush=True)
    with Heartbeat(search.heartbeat(trial.number), search.grace / _BEATS_IN_GRACE):
        try:
            print(_train(search, trial, known))
        except (Interrupted, KeyboardInterrupt):
            search.retry(trial.number)
            raise
        except UpdateFinishedTrialError:
            print(f"trial {trial.number} is another worker's by now: this one was silent too long")
        except UserError as error:
            search.study.tell(trial, state=TrialState.FAIL)
            raise UserError(f"trial {trial.number} ({words}) cannot run: {error}") from error


def _train(search: Search, trial: optuna.Trial, known: FrozenTrial) -> str:
    """Returns how a trial ended, in words; the study is told."""
    config = with_values(search.config, search.space.values(trial.params))
    observe = _observer(search, trial, set(known.intermediate_values))
    try:
        result = train_and_evaluate(config, search.run_folder(known), observe=observe, test=False)
    except optuna.TrialPruned as pruned:
        return _end(search, trial, str(pruned))
    except Diverged as error:
        return _end(search, trial, str(error))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _end(search, trial, "it does not fit the memory of the device")
    split = result.values["splits"][CHOOSING_SPLIT]
    value = split[search.metric]
    if not math.isfinite(value):
        return _end(search, trial, f"its {CHOOSING_SPLIT} {search.metric} is {value}")
    for key in ("n", "accuracy", "accuracy_ci95", "loss"):
        trial.set_user_attr(key, split[key])
    search.study.tell(trial, value)
    return f"trial {trial.number}: {split_line(CHOOSING_SPLIT, split)}"


def _end(search: Search, trial: optuna.Trial, reason: str) -> str:
    """Counts a trial as pruned, so that the sampler keeps away from its settings."""
    trial.set_user_attr("reason", reason)
    search.study.tell(trial, state=TrialState.PRUNED)
    return f"trial {trial.number} ended early: {reason}"


def _observer(
    search: Search, trial: optuna.Trial, known: set[int]
) -> Callable[[float, Mapping[str, float]], None]:
    """Reports each evaluation that an earlier try has not, and ends the run where others lead."""

    def observe(share: float, metrics: Mapping[str, float]) -> None:
        place, value = round(WHOLE_RUN * share), metrics[search.metric]
        if place not in known:
            known.add(place)
            trial.report(value, place)
        if place < WHOLE_RUN and trial.should_prune():
            raise optuna.TrialPruned(
                f"after {share:.0%} of its run its {CHOOSING_SPLIT} {search.metric} of "
                f"{value:.3f} is not among the leaders"
            )

    return observe
