"""The update rule and the course of its learning rate, from Optax."""

import jax
import optax

from catsdogs_jax.config import TrainConfig


def make_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """Returns the learning rate by step: a linear warm-up, then constant, cosine or one-cycle.

    One-cycle is Smith and Topin's (https://arxiv.org/abs/1708.07120) with cosine flanks, as in
    PyTorch: up from 1/25 of the peak during the warm-up (30 % of the run if none is given), then
    down to almost nothing.

    Args:
        config: `schedule`, `learning_rate` (the peak) and `warmup` are used.
        steps: Length of the run.
    """
    peak, warmup = config.learning_rate, round(config.warmup * steps)
    if config.schedule == "one_cycle":
        share = config.warmup or 0.3
        return optax.cosine_onecycle_schedule(max(steps, 2), peak, pct_start=share)
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(steps - warmup, 1))
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """Returns clipping, the update rule and weight decay as one transformation."""
    schedule = make_schedule(config, steps)
    if config.optimizer == "adam":
        rule = optax.adam(schedule)
    elif config.optimizer == "adamw":
        rule = optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)
    else:
        rule = optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=_kernels),
            optax.sgd(schedule, momentum=config.momentum, nesterov=True),
        )
    if config.clip_norm is None:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def _kernels(params: optax.Params) -> optax.Params:
    """Decay applies to kernels only: not to biases, nor to the scales of normalisation layers."""
    return jax.tree.map(lambda value: value.ndim > 1, params)
