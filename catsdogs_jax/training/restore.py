"""The trained model of a run folder."""

import dataclasses
from pathlib import Path
from typing import Any

from catsdogs_jax.config import Config
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.formulation import Formulation, from_dict
from catsdogs_jax.training.recipe import abstract_model
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import Params, split_model
from catsdogs_jax.training.trainer import formulations


@dataclasses.dataclass(frozen=True)
class Restored:
    """The best checkpoint of a run.

    Attributes:
        config: The run.
        preprocessing: How a picture becomes an input.
        step: The step of the checkpoint.
        formulation: How the model is computed.
        graphdef: Structure of the model.
        params: The parameters that were evaluated, on the devices.
        statistics: Other variables of the model, likewise.
    """

    config: Config
    preprocessing: Preprocessing
    step: int
    formulation: Formulation
    graphdef: Any
    params: Params
    statistics: Params


def restore_best(workdir: Path, sharding: Sharding) -> Restored:
    """Restores the best checkpoint of a run onto devices, whatever those of the run were.

    Raises:
        UserError: The folder holds no run, or no checkpoint.
    """
    folder = RunFolder(workdir)
    config = folder.read_config()
    with Checkpoints(folder.checkpoints, config.checkpoint, read_only=True) as checkpoints:
        step = checkpoints.require_best_step()
        preprocessing = checkpoints.preprocessing(step)
        wanted = config.model
        if wanted.convolutions == "compiled":  # Devices without them have the same parameters.
            wanted = dataclasses.replace(wanted, convolutions="auto")
        options = formulations(dataclasses.replace(config, model=wanted), preprocessing, sharding)
        recorded = from_dict(folder.read_formulation())
        formulation = recorded if recorded in options else options[0]
        model = abstract_model(formulation.apply(config), preprocessing)
        graphdef, *variables = split_model(model)
        params, statistics = checkpoints.restore_variables(
            step,
            *sharding.abstract(variables),
            average=config.train.ema_decay > 0,
        )
    return Restored(config, preprocessing, step, formulation, graphdef, params, statistics)
