"""Drawings to draw: random ones, and the odd ones that every picture must survive."""

import numpy as np
import pytest

from mdnrnn.render import Drawing


def random_drawing(seed: int) -> Drawing:
    """One to six wandering strokes of 2 to 40 points, far from the origin."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 41, size=rng.integers(1, 7))
    return [np.cumsum(rng.normal(size=(length, 2)), axis=0) * 7 + rng.normal(size=2) * 50 for length in lengths]


@pytest.fixture
def drawings() -> list[Drawing]:
    return [random_drawing(seed) for seed in range(7)]


@pytest.fixture
def dot() -> Drawing:
    return [np.array([[4.0, -4.0]])]


@pytest.fixture
def odd_drawings(dot: Drawing) -> list[Drawing]:
    """Nothing, a dot, a dot of equal points, a line along each axis, a dot beside a line."""
    across, down = np.array([[0.0, 5.0], [9.0, 5.0]]), np.array([[2.0, 0.0], [2.0, 8.0]])
    return [[], dot, [np.repeat(dot[0], 3, axis=0)], [across], [down], [across, dot[0]]]
