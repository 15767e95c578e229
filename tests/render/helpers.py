"""Helpers of the render tests."""

import numpy as np

from mdnrnn.render import Drawing


def random_drawing(seed: int) -> Drawing:
    """One to six wandering strokes of 2 to 40 points, far from the origin."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 41, size=rng.integers(1, 7))
    return [np.cumsum(rng.normal(size=(length, 2)), axis=0) * 7 + rng.normal(size=2) * 50 for length in lengths]
