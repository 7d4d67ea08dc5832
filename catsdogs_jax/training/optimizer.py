"""The update rule and the course of its learning rate."""

import dataclasses
from typing import Any

import jax
import optax

from catsdogs_jax.config import Config, TrainConfig
from catsdogs_jax.training.muon import muon


def scaled(config: Config) -> TrainConfig:
    """Returns how to train, with the learning rate scaled to the batch if the config asks for it.

    Source: the linear scaling rule, Goyal et al., 2017, https://arxiv.org/abs/1706.02677
    """
    if config.train.base_batch is None:
        return config.train
    rate = config.train.learning_rate * config.data.batch_size / config.train.base_batch
    return dataclasses.replace(config.train, learning_rate=rate)


_ONE_CYCLE_RISE = 0.3
_LAMB_EPSILON = 1e-6


def make_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """Returns the learning rate by step: a linear warm-up, then the course of `schedule`.

    constant: the peak. linear, cosine, exponential: from the peak to `final_rate` of it at the end
    of the run (cosine: https://arxiv.org/abs/1608.03983). wsd, "warm-up, stable, decay": the peak,
    then a straight fall to `final_rate` of it over the last share `cooldown` of the run
    (https://arxiv.org/abs/2405.18392). one_cycle: Smith and Topin's
    (https://arxiv.org/abs/1708.07120) with cosine flanks, as in PyTorch: up from 1/25 of the peak
    during the warm-up (30 % of the run if none is given), then down to almost nothing.

    Args:
        config: `schedule`, `learning_rate` (the peak), `warmup`, `cooldown` and `final_rate` are
            used.
        steps: Length of the run.
    """
    peak, warmup = config.learning_rate, round(config.warmup * steps)
    if config.schedule == "one_cycle":
        share = config.warmup or _ONE_CYCLE_RISE
        return optax.cosine_onecycle_schedule(max(steps, 2), peak, pct_start=share)
    after = _after_warm_up(config, max(steps - warmup, 1), steps)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def _after_warm_up(config: TrainConfig, rest: int, steps: int) -> optax.Schedule:
    """Returns the learning rate by step for the `rest` of a run of `steps`."""
    peak, end = config.learning_rate, config.final_rate * config.learning_rate
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(peak, rest, alpha=config.final_rate)
    if config.schedule == "linear":
        return optax.linear_schedule(peak, end, rest)
    if config.schedule == "exponential":
        return optax.exponential_decay(peak, rest, config.final_rate)
    if config.schedule == "wsd":
        fall = min(max(round(config.cooldown * steps), 1), rest)
        return optax.linear_schedule(peak, end, fall, transition_begin=rest - fall)
    return optax.constant_schedule(peak)


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """Returns clipping, the update rule and weight decay as one transformation."""
    rule = _rule(config, make_schedule(config, steps))
    if config.clip_norm is None:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def _rule(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    decay: Any = {"weight_decay": config.weight_decay, "mask": _kernels}
    moments: Any = (
        {} if config.betas is None else dict(zip(("b1", "b2"), config.betas, strict=True))
    )
    eps: Any = {} if config.epsilon is None else {"eps": config.epsilon}
    momentum: Any = {} if config.momentum is None else {"beta": config.momentum}
    if config.optimizer == "adam":
        return optax.adam(schedule, **moments, **eps)
    if config.optimizer == "adamw":
        return optax.adamw(schedule, **moments, **eps, **decay)
    if config.optimizer == "lamb":
        return optax.chain(
            optax.scale_by_adam(**moments, eps=config.epsilon or _LAMB_EPSILON),
            optax.add_decayed_weights(**decay),
            # As in the authors' code, not for biases: they start at 0, and would stay near it.
            optax.masked(optax.scale_by_trust_ratio(), _kernels),
            optax.scale_by_learning_rate(schedule),
        )
    if config.optimizer == "lion":
        return optax.lion(schedule, **moments, **decay)
    if config.optimizer == "muon":
        return optax.chain(
            muon(**momentum, **moments, **eps),
            optax.add_decayed_weights(**decay),
            optax.scale_by_learning_rate(schedule),
        )
    return optax.chain(
        optax.add_decayed_weights(**decay),
        optax.sgd(schedule, momentum=momentum.get("beta", 0.9), nesterov=True),
    )


def _kernels(params: optax.Params) -> optax.Params:
    """Decay applies to kernels only: not to biases, nor to the scales of normalisation layers."""
    return jax.tree.map(lambda value: value.ndim > 1, params)
