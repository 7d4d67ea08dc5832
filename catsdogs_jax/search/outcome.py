"""What a search found: a table, two plots, and the best config as a file that `train` takes."""

import dataclasses
import pprint
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import changed_values, with_values
from catsdogs_jax.errors import UserError
from catsdogs_jax.headline import split_line
from catsdogs_jax.result import CHOOSING_SPLIT
from catsdogs_jax.run_folder import write_json, write_text
from catsdogs_jax.search.study import Search

_FEWEST_FOR_IMPORTANCE = 4


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a search.

    Attributes:
        search: The search.
        best: The best of its finished trials.
        importance: Share of the variance over finished trials that each key explains; empty
            where too few have finished, or nothing differs.
    """

    search: Search
    best: FrozenTrial
    importance: Mapping[str, float]

    def farewell(self) -> str:
        """Returns the last lines of a search: what was found, written, and what to do next."""
        folder, count = self.search.folder, self.finished
        pruned = len(self.trials) - count
        lines = [
            "",
            f"best of {count} finished trials ({pruned} ended early): trial {self.best.number}, "
            + ", ".join(f"{key}={value}" for key, value in self.best.params.items()),
            split_line(CHOOSING_SPLIT, self.best.user_attrs),
            f"the {CHOOSING_SPLIT} split chose among trials and checkpoints: optimistic; the test "
            "split, if there is one, was not looked at",
        ]
        if self.importance:
            shares = ", ".join(f"{key} {share:.0%}" for key, share in self.importance.items())
            lines.append(f"importance: {shares} (fANOVA over the finished trials)")
        else:
            lines.append(
                f"importance: not said of fewer than {_FEWEST_FOR_IMPORTANCE} finished trials that "
                "differ"
            )
        lines += [
            f"wrote {folder}/: best_config.py, sweep.json, plots/*.png, trials/",
            f"train the best:   python -m catsdogs_jax.train --config {folder}/best_config.py "
            "--workdir runs/best",
            "search on:        the same command with more --trials",
        ]
        return "\n".join(lines)

    @property
    def trials(self) -> list[FrozenTrial]:
        """Finished and pruned trials."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return self.search.study.get_trials(deepcopy=False, states=states)

    @property
    def finished(self) -> int:
        """Number of trials that ran to their end."""
        return sum(trial.state == TrialState.COMPLETE for trial in self.trials)


def conclude_search(search: Search) -> Outcome:
    """Writes and draws what a search found.

    Raises:
        UserError: No trial has finished.
    """
    finished = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        raise UserError(
            "no trial has finished: every one ended early; see the reasons above, and try "
            "--reduction 1 (no pruning) or a narrower space"
        )
    outcome = Outcome(search, search.study.best_trial, _importance(search.study, finished))
    with search.lock:  # Several workers may end at once.
        write_json(search.folder / "sweep.json", _values(outcome))
        write_text(search.folder / "best_config.py", _best_config(outcome))
        _draw(outcome)
    return outcome


def config_file(config: Config, header: str) -> str:
    """Returns a config file that `train` takes, with what differs from the defaults.

    Args:
        config: The run.
        header: Its docstring.
    """
    lines = [f'"""{header}\n"""', "", "import ml_collections", "", ""]
    lines += [
        "def get_config() -> ml_collections.ConfigDict:",
        '    """Returns what differs from the defaults of catsdogs_jax.config."""',
        "    config = ml_collections.ConfigDict()",
    ]
    for key, value in changed_values(config).items():
        text = pprint.pformat(value, width=90, sort_dicts=False).replace("\n", "\n    ")
        lines.append(f"    config.{key} = {text}")
    return "\n".join([*lines, "    return config", ""])


def _importance(study: optuna.Study, finished: list[FrozenTrial]) -> dict[str, float]:
    alike = len({trial.value for trial in finished}) == 1
    if len(finished) < _FEWEST_FOR_IMPORTANCE or alike:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _values(outcome: Outcome) -> dict[str, Any]:
    return {
        "metric": outcome.search.metric,
        "chosen_on": CHOOSING_SPLIT,
        "best": outcome.best.number,
        "importance": dict(outcome.importance),
        "trials": [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "parameters": outcome.search.space.values(trial.params),
                "value": trial.value,
                "reported": {str(k): v for k, v in trial.intermediate_values.items()},
                "folder": str(outcome.search.run_folder(trial)),
                **trial.user_attrs,
            }
            for trial in outcome.trials
        ],
    }


def _best_config(outcome: Outcome) -> str:
    search, best = outcome.search, outcome.best
    config = with_values(search.config, search.space.values(best.params))
    header = (
        f"The best of {len(outcome.trials)} trials of a search: trial {best.number}.\n\n"
        f"    python -m catsdogs_jax.train --config {search.folder / 'best_config.py'}\n\n"
        f"{split_line(CHOOSING_SPLIT, best.user_attrs)}.\n"
        f"The {CHOOSING_SPLIT} split chose it among the trials, so this number is optimistic."
    )
    return config_file(config, header)


def _draw(outcome: Outcome) -> None:
    from catsdogs_jax.reporting.search import Point, draw_history, draw_importance

    plots, search = outcome.search.folder / "plots", outcome.search
    points = [
        Point(trial.number, trial.value, finished=trial.state == TrialState.COMPLETE)
        for trial in outcome.trials
        if trial.value is not None
    ]
    draw_history(
        points, plots / "history.png", metric=search.metric, n=outcome.best.user_attrs["n"]
    )
    if outcome.importance:
        path = plots / "importance.png"
        draw_importance(outcome.importance, path, metric=search.metric, trials=outcome.finished)
