"""Optimizers and learning rate schedules from the options of a training command."""

import optax

from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.training.commands.config import TrainConfig


def learning_rate(config: TrainConfig, steps: int) -> float | optax.Schedule:
    """The learning rate: a constant, or a function of the step."""
    peak = config.learning_rate
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(peak, steps)
    if config.schedule == "warmup-cosine":
        warmup = min(max(1, steps // 10), steps - 1)
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps)
    return peak


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """The optimizer that `--optimizer`, `--schedule` and the related options describe."""
    rate = learning_rate(config, steps)
    optimizer = {
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=config.weight_decay),
        "sgd": lambda: optax.sgd(rate, momentum=0.9),
        "rmsprop": lambda: optax.rmsprop(rate),
    }[config.optimizer]()
    if config.clip_norm:
        return optax.chain(clip_by_global_norm(config.clip_norm), optimizer)
    return optimizer
