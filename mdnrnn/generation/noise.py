"""Noise streams of generated sequences: all noise of a sequence depends on the seed and its index only."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from mdnrnn.errors import InputError

NOISE_CHUNK = 16
"""Number of steps for which noise is drawn at a time.

It is constant, so that the noise of a sequence does not depend on the batch size."""


def noise_stream(seed: int, index: int) -> np.random.Generator:
    """Return the random generator of the sequence with the given index."""
    return np.random.Generator(np.random.Philox([seed, index]))


def check_seed(seed: Any) -> None:
    """Raise `InputError` if a random seed is not a whole number >= 0. There is no maximum."""
    if not isinstance(seed, Integral) or seed < 0:
        raise InputError(f"seed: received {seed}, expected a whole number >= 0")


def fill_noise(generator: np.random.Generator, uniform: np.ndarray, normal: np.ndarray) -> None:
    """Fill float32 arrays with the noise of a sequence's next chunk of steps.

    Args:
        generator: noise stream of the sequence.
        uniform: uniform noise in [0, 1), shape (component choices + 1, NOISE_CHUNK). The last row selects the events,
            the other rows select the components.
        normal: standard normal noise of the motions, shape (NOISE_CHUNK, D).
    """
    generator.random(out=uniform, dtype=np.float32)
    generator.standard_normal(out=normal, dtype=np.float32)
