"""Fixtures of the render tests: random drawings, and drawings without extent in some direction."""

import numpy as np
import pytest

from mdnrnn.data.strokes import Drawing
from tests.render.helpers import random_drawing


@pytest.fixture
def drawings() -> list[Drawing]:
    return [random_drawing(seed) for seed in range(7)]


@pytest.fixture
def dot() -> Drawing:
    return [np.array([[4.0, -4.0]])]


@pytest.fixture
def degenerate_drawings(dot: Drawing) -> list[Drawing]:
    """No stroke, a dot, a dot of equal points, a horizontal line, a vertical line, a line and a dot."""
    horizontal, vertical = np.array([[0.0, 5.0], [9.0, 5.0]]), np.array([[2.0, 0.0], [2.0, 8.0]])
    return [[], dot, [np.repeat(dot[0], 3, axis=0)], [horizontal], [vertical], [horizontal, dot[0]]]
