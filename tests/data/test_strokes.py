"""Drawings to steps and back, and what may be done to them on the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.strokes import drop_points, from_polylines, resample, simplify, to_polylines
from mdnrnn.events import DOWN, END, UP

polylines = st.lists(
    st.integers(1, 6).flatmap(lambda n: arrays(np.int16, (n, 2), elements=st.integers(-500, 500))),
    min_size=1,
    max_size=5,
)
COLLAPSES = "a first stroke whose points are all one is the same drawing as a dot"


@given(polylines, st.sampled_from(["down", "up"]))
def test_polylines_survive_the_way_to_steps_and_back(strokes: list[np.ndarray], start: str) -> None:
    motion, event = from_polylines([stroke.astype(float) for stroke in strokes], start)  # type: ignore[arg-type]
    assert event[-1] == END
    back = to_polylines(motion, event, start)  # type: ignore[arg-type]
    origin = strokes[0][0] if start == "down" else 0
    if start == "down" and (strokes[0] == strokes[0][0]).all():
        strokes[0] = strokes[0][:1]  # COLLAPSES
    assert len(back) == len(strokes)
    for got, expected in zip(back, strokes, strict=True):
        np.testing.assert_array_equal(got, expected - origin)


def test_the_first_step_of_a_drawing_that_starts_down_draws() -> None:
    (stroke,) = to_polylines(np.array([[3, 0]]), np.array([END]))
    np.testing.assert_array_equal(stroke, [[0, 0], [3, 0]])


def test_the_first_step_of_one_that_starts_up_only_moves() -> None:
    (stroke,) = to_polylines(np.array([[3, 0], [0, 2]]), np.array([DOWN, END]), "up")
    np.testing.assert_array_equal(stroke, [[3, 0], [3, 2]])


def test_a_point_lifted_where_it_lands_is_a_dot() -> None:
    dot, second = to_polylines(np.array([[0, 0], [5, 5]]), np.array([UP, END]))
    np.testing.assert_array_equal(dot, [[0, 0]])
    np.testing.assert_array_equal(second, [[5, 5]])


@given(st.integers(2, 40).flatmap(lambda n: arrays(np.int16, (n, 2), elements=st.integers(-99, 99))))
def test_simplified_lines_stay_within_the_tolerance(points: np.ndarray) -> None:
    kept = points[simplify(points, 4.0)]
    np.testing.assert_array_equal(kept[[0, -1]], points[[0, -1]])
    a, b = kept[:-1, None].astype(float), kept[1:, None].astype(float)
    chord = b - a
    square = np.maximum((chord**2).sum(-1), 1e-12)
    along = np.clip(((points - a) * chord).sum(-1) / square, 0, 1)[..., None]
    distance = np.hypot(*np.moveaxis(points - a - along * chord, -1, 0)).min(0)
    assert distance.max() <= 4.0 + 1e-9


def test_a_straight_line_simplifies_to_its_ends() -> None:
    line = np.linspace([0, 0], [10, 20], 30)
    np.testing.assert_array_equal(line[simplify(line, 0.01)], line[[0, -1]])


def test_resampled_points_lie_at_equal_lengths() -> None:
    corner = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    points, _ = resample(corner, 0.5)
    assert len(points) == 15
    np.testing.assert_allclose(points[6:8], np.array([[3, 0], [3, 0.5]]))
    assert len(resample(np.ones((3, 2)), 0.5)[0]) == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_dropping_points_keeps_strokes_and_their_ends(share: float) -> None:
    rng = np.random.default_rng(0)
    strokes = [rng.integers(0, 99, (n, 2)) for n in (8, 2, 1, 12)]
    motion, event = from_polylines(strokes)
    noise = rng.random(1), rng.random(len(event))
    fewer, events, (length,) = drop_points(motion, event, np.array([len(event)]), share, noise)
    assert length == len(events)
    kept = to_polylines(fewer, events)
    assert [tuple(s[0]) for s in kept] == [tuple(s[0] - strokes[0][0]) for s in strokes]
    assert [tuple(s[-1]) for s in kept] == [tuple(s[-1] - strokes[0][0]) for s in strokes]
    inside = 6 + 11 - 1  # points that neither start nor end a stroke; the first stroke's start is no step
    assert len(event) - len(events) == pytest.approx(min(inside, share * len(event)), abs=1)
