"""Noise streams of generated sequences: all noise of a sequence depends on the seed and its index only."""

from __future__ import annotations

import numpy as np

NOISE_CHUNK = 16
"""Number of steps whose noise is drawn at once. It is constant, so that a stream does not depend on the batch size."""


def noise_stream(seed: int, index: int) -> np.random.Generator:
    """Return the random generator of the sequence with the given index."""
    return np.random.Generator(np.random.Philox([seed, index]))


def fill_noise(generator: np.random.Generator, uniform: np.ndarray, normal: np.ndarray) -> None:
    """Fill float32 arrays with the noise of a sequence's next chunk of steps.

    Args:
        generator: noise stream of the sequence.
        uniform: selects the components and, in the last row, the event, shape (component choices + 1, NOISE_CHUNK).
        normal: noise of the motions, shape (NOISE_CHUNK, D).
    """
    generator.random(out=uniform, dtype=np.float32)
    generator.standard_normal(out=normal, dtype=np.float32)
