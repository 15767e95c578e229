"""The noise of sequences: all of a sequence's comes from a seed and its number, whatever is drawn beside it."""

from __future__ import annotations

import numpy as np

NOISE_CHUNK = 16
"""Steps that noise is drawn for at once; always whole, so that a sequence's stream does not depend on when it is asked
for."""


def noise_stream(seed: int, number: int) -> np.random.Generator:
    """The noise of sequence `number`."""
    return np.random.Generator(np.random.Philox([seed, number]))


def fill_noise(generator: np.random.Generator, uniform: np.ndarray, normal: np.ndarray) -> None:
    """A sequence's next chunk, into float32: uniform (component_choices + 1, NOISE_CHUNK), of the components and last of the event;
    normal (NOISE_CHUNK, D)."""
    generator.random(out=uniform, dtype=np.float32)
    generator.standard_normal(out=normal, dtype=np.float32)
