"""Layouts of strokes in JSON: the shape decides between channels and points, and names decide in objects."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.formats.json_strokes import (
    StrokesError,
    count_numbers,
    find_drawing,
    find_layout,
    is_stroke,
    parse_strokes,
)

LINE, DOT = [[10.0, 50.0], [10.0, 90.0], [60.0, 90.0]], [[5.0, 55.0]]


def channels(stroke: list[list[float]], *more: list[float]) -> list[list[float]]:
    return [*map(list, zip(*stroke, strict=True)), *more]


def objects(stroke: list[list[float]]) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "time": 3} for x, y in stroke]


LAYOUTS: dict[str, Any] = {
    "channels": [channels(LINE), channels(DOT)],
    "channels with times": [channels(LINE, [0, 8, 16]), channels(DOT, [90])],
    "points": [LINE, DOT],
    "points with times": [[[*point, 9 - i] for i, point in enumerate(LINE)], [[*DOT[0], 4]]],
    "point objects": [objects(LINE), objects(DOT)],
    "channel objects": [{"x": xs, "y": ys} for xs, ys in map(channels, (LINE, DOT))],
    "objects with points": [{"points": LINE, "color": "#000"}, {"points": DOT}],
    "objects with point objects": [{"penColor": "black", "points": objects(LINE)}, {"points": objects(DOT)}],
    "objects with flat points": [{"points": [10, 50, 10, 90, 60, 90]}, {"points": [5, 55]}],
    "x and y of all strokes": {"x": [[10, 10, 60], [5]], "y": [[50, 90, 90], [55]]},
    "object around the strokes": {"width": 9, "strokes": [LINE, DOT]},
    "two objects around the strokes": {"strokes": {"strokes": {"x": [[10, 10, 60], [5]], "y": [[50, 90, 90], [55]]}}},
    "empty strokes": [[], channels(LINE), [[], []], channels(DOT)],
}


@pytest.mark.parametrize("value", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_of_one_drawing_give_the_same_strokes(value: Any) -> None:
    strokes = [stroke.tolist() for stroke in parse_strokes(value) if len(stroke)]
    assert strokes == [LINE, DOT]


@pytest.mark.parametrize("value", [LINE, objects(LINE), {"points": LINE}, {"x": [10, 10, 60], "y": [50, 90, 90]}])
def test_points_without_a_list_of_strokes_are_one_stroke(value: Any) -> None:
    assert [stroke.tolist() for stroke in parse_strokes(value)] == [LINE]


@pytest.mark.parametrize(
    ("strokes", "expected"),
    [
        ([[[1, 2], [3, 4]]], None),  # two points, or two channels
        ([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], None),
        ([[[1, 2, 3], [3, 4, 5]]], None),
        ([[[1, 2], [3, 4], [0, 8]]], None),  # the third row may be times
        ([[[1, 2], [3, 4], [5, 6]]], "points"),  # times start at 0
        ([[[1, 2], [3, 4], [8, 0]]], "points"),
        ([[[1, 2], [3, 4], [0, 8]], [[1, 2], [3, 4], [7, 9]]], "points"),  # times do not decrease
        ([[[1, 2], [3, 4], [5, 6], [7, 8]]], "points"),
        ([[[1, 2], [3, 4]], [[5, 6], [7, 8], [9, 9]]], "points"),
        ([[[1, 2]]], "points"),
        ([[[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]]], "channels"),
        ([[[1, 2], [3, 4]], [[5], [6]]], "channels"),
        ([[], [[5], [6]]], "channels"),
        ([[]], None),
    ],
    ids=str,
)
def test_layout_is_found_if_the_shape_fits_one_layout_only(strokes: Any, expected: str | None) -> None:
    assert find_layout(strokes) == expected


def test_ambiguous_drawing_has_the_layout_of_the_file_and_channels_by_default() -> None:
    value = [[[1, 2], [3, 4]]]
    assert parse_strokes(value)[0].tolist() == [[1, 3], [2, 4]]
    assert parse_strokes(value, "channels")[0].tolist() == [[1, 3], [2, 4]]
    assert parse_strokes(value, "points")[0].tolist() == [[1, 2], [3, 4]]


INVALID: list[Any] = [
    None, 3, "cat", True, {}, {"a": 1}, [1], [None], ["ab"], [{}], [[["1", "2"], ["3", "4"]]], [[[True], [False]]],
    [[[10**400], [1]]], [[[[1, 2]], [[3, 4]]]], {"strokes": {"strokes": {"strokes": {"strokes": {"strokes": []}}}}},
    [{"x": [1, 2], "y": [1]}], [{"points": [1, 2, 3]}], [[{"x": 1}]], {"x": [[1]], "y": []}, [[[1, 2], [3]]],
]  # fmt: skip


@pytest.mark.parametrize("value", INVALID, ids=lambda value: str(value)[:30])
def test_other_values_are_no_strokes(value: Any) -> None:
    with pytest.raises(StrokesError) as caught:
        parse_strokes(value)
    assert caught.value.reason in ("not strokes", "ragged")


point = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda point: list(map(float, point)))


@settings(max_examples=60)
@given(st.lists(st.lists(point, min_size=1, max_size=12), min_size=1, max_size=4))
def test_points_and_channels_of_a_drawing_are_equal_or_ambiguous(strokes: list[list[list[float]]]) -> None:
    as_points, as_channels = strokes, [channels(stroke) for stroke in strokes]
    for value, layout in ((as_points, "points"), (as_channels, "channels")):
        found = find_layout(value)
        assert found in (layout, None)
        restored = parse_strokes(value, layout)  # type: ignore[arg-type]
        if layout == "channels" or found == "points":
            assert [stroke.tolist() for stroke in restored] == strokes


@pytest.mark.parametrize("name", LAYOUTS)
def test_all_numbers_of_the_points_are_counted(name: str) -> None:
    """The drawing has 4 points; in some layouts, each point has a time."""
    has_times = "times" in name or "point objects" in name
    assert count_numbers(LAYOUTS[name]) == (12 if has_times else 8)


def test_drawing_is_found_under_the_usual_keys() -> None:
    assert find_drawing({"label": "cat", "strokes": [LINE]}) == [LINE]
    assert find_drawing({"lines": [LINE], "drawing": [DOT]}) == [DOT]
    assert find_drawing({"x": [1], "y": [2]}) == {"x": [1], "y": [2]}
    assert find_drawing({"path": "M 0 0", "data": [LINE]}) == [LINE]
    with pytest.raises(StrokesError, match="without a drawing, but with the keys 'word', 'sketch_svg'"):
        find_drawing({"word": "cat", "sketch_svg": "<svg/>"})


def test_stroke_is_distinguished_from_a_drawing() -> None:
    for stroke in (LINE, objects(LINE), {"points": LINE}, {"points": objects(LINE)}, {"paths": objects(LINE)}, [1, 2]):
        assert is_stroke(stroke)
    for drawing in ([LINE], {"strokes": [LINE]}, {"points": [LINE]}, {"drawing": [LINE]}, {"x": [[1]], "y": [[1]]}):
        assert not is_stroke(drawing)


def test_coordinates_are_float64() -> None:
    (stroke,) = parse_strokes([[[2**53, 1], [3, 0.5]]])
    assert stroke.dtype == np.float64
