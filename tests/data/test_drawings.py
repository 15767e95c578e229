"""Tests of packed drawings: operations on a batch equal the operations on each drawing."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.strokes import Drawing, Start, from_polylines

strokes = st.integers(1, 7).flatmap(lambda n: arrays(np.int16, (n, 2), elements=st.integers(-300, 300)))
drawings = st.lists(st.lists(strokes, min_size=1, max_size=4), min_size=1, max_size=5)


def pack_drawings(polylines: list[Drawing]) -> DrawingBatch:
    """Pack drawings with their numbers as locations."""
    return DrawingBatch.from_polylines((drawing, Record(f"drawing {i}")) for i, drawing in enumerate(polylines))


@settings(max_examples=40)
@given(drawings, st.sampled_from(["down", "up"]))
def test_steps_of_a_batch_are_the_steps_of_each_drawing(polylines: list[Drawing], start: Start) -> None:
    motion, event, lengths = pack_drawings(polylines).to_steps(start)
    expected = [from_polylines(drawing, start) for drawing in polylines]
    np.testing.assert_array_equal(motion, np.concatenate([m for m, _ in expected]))
    np.testing.assert_array_equal(event, np.concatenate([e for _, e in expected]))
    assert lengths.tolist() == [len(e) for _, e in expected]


LENGTH_259 = np.array([[129, -2], [-2, -2], [0, -2], [-2, -2], [60, -2], [-2, -2]])
"""A stroke of length 37 * 7; a running sum of lengths after a stroke of irrational length rounds it."""


@settings(max_examples=40)
@given(drawings, st.sampled_from(["fit_to_box", "resample", "simplify", "round_to_grid"]))
@example([[np.array([[0, 30], [30, 30]])], [np.array([[0, 1], [-1, -1]]), LENGTH_259]], "resample")
def test_geometry_of_a_batch_is_the_geometry_of_each_drawing(polylines: list[Drawing], method: str) -> None:
    batch = getattr(pack_drawings(polylines), method)(7.0)
    for i, drawing in enumerate(polylines):
        single = getattr(pack_drawings([drawing]), method)(7.0)
        for actual, expected in zip(batch.polylines(i), single.polylines(0), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(drawings, st.data())
def test_selection_keeps_the_selected_drawings(polylines: list[Drawing], data: st.DataObject) -> None:
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(polylines), max_size=len(polylines))))
    selected = pack_drawings(polylines).select(keep)
    assert [record.location for record in selected.records] == [f"drawing {i}" for i in np.flatnonzero(keep)]
    for i, number in enumerate(np.flatnonzero(keep)):
        for actual, expected in zip(selected.polylines(i), polylines[number], strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_fit_to_box_keeps_proportions() -> None:
    (stroke,) = pack_drawings([[np.array([[10, 20], [30, 60]])]]).fit_to_box(255).polylines(0)
    np.testing.assert_allclose(stroke, np.array([[0, 0], [127.5, 255]]))


def test_rounding_removes_repeated_points_but_no_strokes() -> None:
    drawing = [np.array([[0.1, 0], [0.2, 0.4], [2.6, 0]]), np.array([[5.2, 5], [5.3, 5]])]
    first, dot = pack_drawings([drawing]).round_to_grid(1).polylines(0)
    np.testing.assert_array_equal(first, [[0, 0], [3, 0]])
    np.testing.assert_array_equal(dot, [[5, 5]])


def test_strokes_are_split_at_jumps_and_isolated_points_are_removed() -> None:
    jump = np.array([[0, 0], [1, 0], [50, 0], [51, 0]])
    outlier = np.array([[0, 0], [1, 0], [99, 0], [2, 0], [3, 0]])
    split = pack_drawings([[jump], [outlier, np.array([[7, 7]])]]).split_at_jumps(10)
    for actual, expected in zip(split.polylines(0), [jump[:2], jump[2:]], strict=True):
        np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(split.polylines(1), [outlier[[0, 1, 3, 4]], np.array([[7, 7]])], strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_invalid_drawings_are_dropped_with_a_reason() -> None:
    line = np.array([[0.0, 0], [1, 1]])
    batch = pack_drawings([[line], [line * np.nan], [line * 1e12], [np.zeros((MAX_POINTS + 1, 2))], [line]])
    valid = batch.drop_invalid()
    assert [record.location for record in valid.records] == ["drawing 0", "drawing 4"]
    assert [remark.reason for remark in valid.dropped] == ["not finite", "too large", "too many points"]
    assert valid.dropped[1].detail.startswith("drawing 2 has a coordinate of 1e+12")


def test_resampling_drops_drawings_that_would_exceed_the_maximum_points() -> None:
    line = np.array([[0.0, 0], [1e9, 0]])
    resampled = pack_drawings([[line], [line / 1e9]]).resample(1.0)
    assert len(resampled) == 1
    assert [remark.reason for remark in resampled.dropped] == ["too many points"]


def test_lost_content_has_one_remark_per_kind_the_most_frequent_first() -> None:
    remarks = lost_remarks({"time values": 1, "tilt values": 0, "pressure values": 3}, "a.csv")
    assert remarks == [
        Remark("pressure values", "a.csv: 3 pressure values", count=3),
        Remark("time values", "a.csv: 1 time value", count=1),
    ]
    assert lost_remarks({}, "a.csv") == []


def test_remarks_on_many_kinds_of_lost_content_are_bounded_and_count_every_item() -> None:
    """The kinds can be names of columns in an untrusted file."""
    remarks = lost_remarks({"x" * 10_000 + str(number): number for number in range(256)}, "a.csv")
    assert len(remarks) == 20
    assert remarks[-1].reason == "items of other kinds"
    assert sum(remark.count for remark in remarks) == sum(range(256))
    assert all(len(remark.reason) <= 40 and len(remark.detail) < 80 for remark in remarks)
