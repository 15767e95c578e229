"""Geometry of drawings: bounding boxes, stroke times, partial drawings."""

import numpy as np
import pytest

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.geometry import DOT_FRACTION, arc_lengths, bounds, partial_drawing, stroke_times, truncate


def total_length(drawing: Drawing) -> float:
    return sum(float(arc_lengths(stroke)[-1]) for stroke in drawing)


def test_bounds_are_the_smallest_box_of_all_points() -> None:
    drawing = [np.array([[3, 1], [5, 2]]), np.array([[4, -7]])]
    assert bounds(drawing) == (3, -7, 2, 9)


def test_bounds_of_an_empty_drawing_are_zero() -> None:
    assert bounds([]) == (0, 0, 0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_error_names_drawing_and_stroke_of_a_nonfinite_point(value: float) -> None:
    drawing = [np.zeros((2, 2)), np.array([[0.0, 1.0], [value, 2.0]])]
    with pytest.raises(ValueError, match=r"^drawing 4, stroke 1: .*not finite.*expected finite numbers$"):
        bounds(drawing, index=4)


@pytest.mark.parametrize("shape", [(0, 2), (3,), (3, 3)])
def test_strokes_of_another_shape_are_errors(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"drawing 0, stroke 0: received an array of shape .* expected \(n, 2\)"):
        bounds([np.zeros(shape)])


@pytest.mark.parametrize("fraction", [0.001, 0.25, 0.5, 0.77, 0.999])
def test_partial_drawing_has_the_fraction_of_the_length(drawings: list[Drawing], fraction: float) -> None:
    for drawing in drawings:
        assert total_length(partial_drawing(drawing, fraction)) == pytest.approx(fraction * total_length(drawing))


def test_partial_drawing_ends_at_the_pen_position() -> None:
    drawing = [np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]), np.array([[9.0, 9.0], [9.0, 11.0]])]
    (stroke,) = partial_drawing(drawing, 0.625)
    np.testing.assert_allclose(stroke, [[0, 0], [4, 0], [4, 1]])


def test_partial_drawing_is_empty_at_0_and_complete_at_1(
    drawings: list[Drawing], degenerate_drawings: list[Drawing]
) -> None:
    for drawing in drawings + degenerate_drawings:
        assert partial_drawing(drawing, 0.0) == []
        complete = partial_drawing(drawing, 1.0)
        assert len(complete) == len(drawing)
        assert all(np.array_equal(found, stroke) for found, stroke in zip(complete, drawing, strict=True))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, np.nan])
def test_fractions_outside_0_to_1_are_errors(fraction: float) -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to 1"):
        partial_drawing([], fraction)


def test_stroke_times_are_proportional_to_lengths_and_dots_take_a_fixed_time(dot: Drawing) -> None:
    drawing = [np.array([[0.0, 0.0], [3.0, 4.0]]), dot[0], np.array([[0.0, 0.0], [0.0, 15.0]])]
    durations = np.array([5, DOT_FRACTION * 20, 15])
    np.testing.assert_allclose(np.diff(stroke_times(drawing)), durations / durations.sum())


def test_drawing_of_dots_shows_one_dot_after_the_other(dot: Drawing) -> None:
    assert [len(partial_drawing(dot * 4, fraction)) for fraction in (0, 0.1, 0.3, 0.6, 0.9)] == [0, 1, 2, 3, 4]


def test_truncate_interpolates_the_last_point() -> None:
    stroke, times = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 4.0]]), np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(truncate(stroke, times, 2.0), [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(truncate(stroke, times, 0.5), [[0.0, 0.0], [0.5, 0.0]])
