"""The geometry of drawings: bounds, the pace of the pen, drawings half drawn."""

import numpy as np
import pytest

from mdnrnn.render import Drawing, bounds, partial
from mdnrnn.render.drawing import DOT_SHARE, arc_lengths, pace


def length(drawing: Drawing) -> float:
    return sum(float(arc_lengths(stroke)[-1]) for stroke in drawing)


def test_bounds_hold_every_point_and_touch_the_outermost() -> None:
    drawing = [np.array([[3, 1], [5, 2]]), np.array([[4, -7]])]
    assert bounds(drawing) == (3, -7, 2, 9)


def test_an_empty_drawing_has_no_extent() -> None:
    assert bounds([]) == (0, 0, 0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_not_finite_is_named_by_drawing_and_stroke(value: float) -> None:
    drawing = [np.zeros((2, 2)), np.array([[0.0, 1.0], [value, 2.0]])]
    with pytest.raises(ValueError, match=r"^drawing 4, stroke 1: .*not finite.*expected finite numbers$"):
        bounds(drawing, index=4)


@pytest.mark.parametrize("shape", [(0, 2), (3,), (3, 3)])
def test_a_stroke_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"drawing 0, stroke 0: received an array of shape .* expected \(n, 2\)"):
        bounds([np.zeros(shape)])


@pytest.mark.parametrize("fraction", [0.001, 0.25, 0.5, 0.77, 0.999])
def test_a_fraction_of_the_drawing_has_that_fraction_of_its_length(drawings: list[Drawing], fraction: float) -> None:
    for drawing in drawings:
        assert length(partial(drawing, fraction)) == pytest.approx(fraction * length(drawing))


def test_half_a_corner_ends_where_the_pen_is() -> None:
    drawing = [np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]), np.array([[9.0, 9.0], [9.0, 11.0]])]
    (first,) = partial(drawing, 0.625)
    np.testing.assert_allclose(first, [[0, 0], [4, 0], [4, 1]])


def test_nothing_is_drawn_at_0_and_all_at_1(drawings: list[Drawing], odd_drawings: list[Drawing]) -> None:
    for drawing in drawings + odd_drawings:
        assert partial(drawing, 0.0) == []
        whole = partial(drawing, 1.0)
        assert len(whole) == len(drawing)
        assert all(np.array_equal(drawn, stroke) for drawn, stroke in zip(whole, drawing, strict=True))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, np.nan])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to 1"):
        partial([], fraction)


def test_the_pen_has_one_speed_and_stays_a_while_on_a_dot(dot: Drawing) -> None:
    drawing = [np.array([[0.0, 0.0], [3.0, 4.0]]), dot[0], np.array([[0.0, 0.0], [0.0, 15.0]])]
    times = np.array([5, DOT_SHARE * 20, 15])
    np.testing.assert_allclose(np.diff(pace(drawing)), times / times.sum())


def test_dots_alone_appear_one_after_the_other(dot: Drawing) -> None:
    assert [len(partial(dot * 4, fraction)) for fraction in (0, 0.1, 0.3, 0.6, 0.9)] == [0, 1, 2, 3, 4]
