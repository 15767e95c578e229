"""Drawings to draw: random ones, and the odd ones that every picture must survive."""

import numpy as np
import pytest

from mdnrnn.render import Drawing
from tests.render.helpers import random_drawing


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
