"""Tests of stroke geometry: conversion to steps and back, simplification, resampling and dropping of points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.strokes import Start, drop_points, from_polylines, resample, simplify, to_curves, to_polylines
from mdnrnn.pen_events import DOWN, END, UP

drawings = st.lists(
    st.integers(1, 6).flatmap(lambda n: arrays(np.int16, (n, 2), elements=st.integers(-500, 500))),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(drawings, st.sampled_from(["down", "up"]))
def test_to_polylines_inverts_from_polylines(strokes: list[np.ndarray], start: Start) -> None:
    motion, event = from_polylines([stroke.astype(float) for stroke in strokes], start)
    assert event[-1] == END
    restored = to_polylines(motion, event, start)
    origin = strokes[0][0] if start == "down" else 0
    if start == "down" and len(strokes[0]) == 2 and (strokes[0] == strokes[0][0]).all():
        strokes[0] = strokes[0][:1]  # two equal points in the first stroke have the steps of a dot
    assert len(restored) == len(strokes)
    for actual, expected in zip(restored, strokes, strict=True):
        np.testing.assert_array_equal(actual, expected - origin)


def test_first_step_draws_if_the_pen_starts_down() -> None:
    (stroke,) = to_polylines(np.array([[3, 0]]), np.array([END]))
    np.testing.assert_array_equal(stroke, [[0, 0], [3, 0]])


def test_first_step_only_moves_if_the_pen_starts_up() -> None:
    (stroke,) = to_polylines(np.array([[3, 0], [0, 2]]), np.array([DOWN, END]), "up")
    np.testing.assert_array_equal(stroke, [[3, 0], [3, 2]])


def test_stroke_of_one_point_is_a_dot() -> None:
    dot, second = to_polylines(np.array([[0, 0], [5, 5]]), np.array([UP, END]))
    np.testing.assert_array_equal(dot, [[0, 0]])
    np.testing.assert_array_equal(second, [[5, 5]])


def test_curves_plot_each_value_over_time_in_its_band() -> None:
    first, second = to_curves(np.array([[0.5, 1.0, 7.0], [1.0, 3.0, 7.0], [3.0, 2.0, 7.0]]))
    np.testing.assert_allclose(first, [[0, 0.475], [0.75, 0.025], [3, 0.25]])
    np.testing.assert_allclose(second, [[0, 0.975], [0.75, 0.975], [3, 0.975]])


@settings(max_examples=40)
@given(st.integers(2, 40).flatmap(lambda n: arrays(np.int16, (n, 2), elements=st.integers(-99, 99))))
def test_simplified_strokes_stay_within_the_tolerance(points: np.ndarray) -> None:
    kept = points[simplify(points, 4.0)]
    np.testing.assert_array_equal(kept[[0, -1]], points[[0, -1]])
    a, b = kept[:-1, None].astype(float), kept[1:, None].astype(float)
    chord = b - a
    square = np.maximum((chord**2).sum(-1), 1e-12)
    along = np.clip(((points - a) * chord).sum(-1) / square, 0, 1)[..., None]
    distance = np.hypot(*np.moveaxis(points - a - along * chord, -1, 0)).min(0)
    assert distance.max() <= 4.0 + 1e-9


def test_straight_line_simplifies_to_its_end_points() -> None:
    line = np.linspace([0, 0], [10, 20], 30)
    np.testing.assert_array_equal(line[simplify(line, 0.01)], line[[0, -1]])


def test_resampled_points_lie_at_equal_arc_lengths() -> None:
    corner = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    points, _ = resample(corner, 0.5)
    assert len(points) == 15
    np.testing.assert_allclose(points[6:8], np.array([[3, 0], [3, 0.5]]))
    assert len(resample(np.ones((3, 2)), 0.5)[0]) == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_dropping_points_keeps_strokes_and_their_end_points(share: float) -> None:
    rng = np.random.default_rng(0)
    strokes = [rng.integers(0, 99, (n, 2)) for n in (8, 2, 1, 12)]
    motion, event = from_polylines(strokes)
    noise = rng.random(1), rng.random(len(event))
    remaining, events, (length,) = drop_points(motion, event, np.array([len(event)]), share, noise)
    assert length == len(events)
    kept = to_polylines(remaining, events)
    assert [tuple(s[0]) for s in kept] == [tuple(s[0] - strokes[0][0]) for s in strokes]
    assert [tuple(s[-1]) for s in kept] == [tuple(s[-1] - strokes[0][0]) for s in strokes]
    inner = 6 + 11 - 1  # points that neither start nor end a stroke; the first stroke's start is no step
    assert len(event) - len(events) == pytest.approx(min(inner, share * len(event)), abs=1)
