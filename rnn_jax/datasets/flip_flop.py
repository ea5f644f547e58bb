"""The flip-flop task: remember the sign of the last pulse in each channel; NumPy only."""

import numpy as np


def flip_flops(
    seed: int, count: int, steps: int, bits: int, pulse_rate: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Pulses and the sign of the last pulse, float32 [count, steps, bits] each.

    A pulse is 1 or -1; all other inputs are 0. The first step has a pulse in every channel, so
    that the target is defined.

    Args:
      seed: a random seed.
      count: N, the number of sequences.
      steps: T, their length.
      bits: the number of channels.
      pulse_rate: the probability of a pulse in a channel at a step.

    Reference: Sussillo, Barak (2013), "Opening the black box: low-dimensional dynamics in
    high-dimensional recurrent neural networks".
    """
    random = np.random.default_rng(seed)
    shape = count, steps, bits
    pulses = random.choice([-1, 1], shape) * (random.random(shape) < pulse_rate)
    pulses[:, 0] = random.choice([-1, 1], (count, bits))
    last = np.maximum.accumulate(np.where(pulses != 0, np.arange(steps)[None, :, None], 0), axis=1)
    targets = np.take_along_axis(pulses, last, axis=1)
    return pulses.astype(np.float32), targets.astype(np.float32)
