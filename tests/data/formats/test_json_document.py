"""Conversion of untrusted points of JSON documents to arrays."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.formats.json_document import to_points


def test_points_are_lists_or_objects() -> None:
    expected = np.array([[1, 2], [3.5, -4]])
    for rows in ([[1, 2], [3.5, -4, 9]], [{"x": 1, "y": 2}, {"x": 3.5, "y": -4, "z": 1}]):
        points = to_points(rows)
        np.testing.assert_array_equal(points, expected)
        assert points.dtype == np.float64
    assert to_points([]).shape == (0, 2)


BAD: dict[str, list[Any]] = {
    "text": [[0, 0], ["1", 2]],
    "short": [[1], [2]],
    "ragged": [[1, 2], [3]],
    "numbers": [1, 2],
    "null": [[None, 1]],
    "nested": [[[1], [2]]],
    "missing y": [{"x": 1}],
    "over 64 bits": [[10**30, 0]],
    "empty": [[], []],
}


@pytest.mark.parametrize("rows", BAD.values(), ids=BAD.keys())
def test_other_points_are_refused(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^a point is not \[x, y\]$"):
        to_points(rows)


def test_long_text_among_the_numbers_takes_no_memory() -> None:
    """NumPy would store each of the 4,000 values with the length of the text: 16 GB."""
    rows: list[Any] = [[0, 0]] * 2000 + [["x" * 1_000_000, 0]]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a point is not"):
            to_points(rows)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
