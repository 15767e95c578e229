"""Drawings packed flat say and do the same as one at a time."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.drawings import MOST_POINTS, Drawings, Record
from mdnrnn.data.strokes import from_polylines

strokes = st.integers(1, 7).flatmap(lambda n: arrays(np.int16, (n, 2), elements=st.integers(-300, 300)))
drawings = st.lists(st.lists(strokes, min_size=1, max_size=4), min_size=1, max_size=5)


def packed(lists: list[list[np.ndarray]]) -> Drawings:
    """Drawings named by their number."""
    return Drawings.of((polylines, Record(f"drawing {i}")) for i, polylines in enumerate(lists))


@given(drawings, st.sampled_from(["down", "up"]))
def test_steps_of_many_are_the_steps_of_each(lists: list[list[np.ndarray]], start: str) -> None:
    motion, event, lengths = packed(lists).steps(start)  # type: ignore[arg-type]
    each = [from_polylines(polylines, start) for polylines in lists]  # type: ignore[arg-type]
    np.testing.assert_array_equal(motion, np.concatenate([m for m, _ in each]))
    np.testing.assert_array_equal(event, np.concatenate([e for _, e in each]))
    assert lengths.tolist() == [len(e) for _, e in each]


SEVENS = np.array([[129, -2], [-2, -2], [0, -2], [-2, -2], [60, -2], [-2, -2]])
"""37 times 7 long, exactly; not any more where it is summed behind a stroke whose length is no whole number."""


@given(drawings, st.sampled_from(["boxed", "resampled", "simplified", "rounded"]))
@example([[np.array([[0, 30], [30, 30]])], [np.array([[0, 1], [-1, -1]]), SEVENS]], "resampled")
def test_geometry_of_many_is_the_geometry_of_each(lists: list[list[np.ndarray]], change: str) -> None:
    together = getattr(packed(lists), change)(7.0)
    for i, polylines in enumerate(lists):
        alone = getattr(packed([polylines]), change)(7.0)
        for got, expected in zip(together.polylines(i), alone.polylines(0), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


@given(drawings, st.data())
def test_a_selection_is_the_same_drawings(lists: list[list[np.ndarray]], data: st.DataObject) -> None:
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))))
    some = packed(lists).select(keep)
    assert [record.where for record in some.records] == [f"drawing {i}" for i in np.flatnonzero(keep)]
    for i, number in enumerate(np.flatnonzero(keep)):
        for got, expected in zip(some.polylines(i), lists[number], strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_box_keeps_the_proportions() -> None:
    (stroke,) = packed([[np.array([[10, 20], [30, 60]])]]).boxed(255).polylines(0)
    np.testing.assert_allclose(stroke, np.array([[0, 0], [127.5, 255]]))


def test_rounding_takes_repeated_points_away_but_no_stroke() -> None:
    first, dot = (
        packed([[np.array([[0.1, 0], [0.2, 0.4], [2.6, 0]]), np.array([[5.2, 5], [5.3, 5]])]]).rounded(1).polylines(0)
    )
    np.testing.assert_array_equal(first, [[0, 0], [3, 0]])
    np.testing.assert_array_equal(dot, [[5, 5]])


def test_what_no_hand_drew_is_dropped_with_its_reason() -> None:
    line = np.array([[0.0, 0], [1, 1]])
    many = packed([[line], [line * np.nan], [line * 1e12], [np.zeros((MOST_POINTS + 1, 2))], [line]]).checked()
    assert [record.where for record in many.records] == ["drawing 0", "drawing 4"]
    assert [drop.reason for drop in many.drops] == ["not finite", "too large", "too many points"]
    assert many.drops[1].detail.startswith("drawing 2 has a coordinate of 1e+12")


def test_a_spacing_beside_nothing_is_refused_before_memory_is_asked_for() -> None:
    line = np.array([[0.0, 0], [1e9, 0]])
    resampled = packed([[line], [line / 1e9]]).resampled(1.0)
    assert len(resampled) == 1
    assert [drop.reason for drop in resampled.drops] == ["too many points"]
