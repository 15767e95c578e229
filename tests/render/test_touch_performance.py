"""Touch performances: construction from steps, JSON, and layout with a dot per touch-down and colors for times."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mdnrnn.render.layout import Cell
from mdnrnn.render.style import PLASMA, PictureOptions
from mdnrnn.render.touch_performance import (
    COLORS,
    LEVELS,
    MARGIN,
    TAP,
    Part,
    Performance,
    color_levels,
    lay_out_performances,
    screen_parts,
    to_json,
)
from tests.render.helpers import LONGEST, ONE_TAP, PERFORMANCES

MOTION = np.array([[0.25, 0.5, 0.0], [0.25, -0.25, 0.5], [-0.5, 0.25, 1.25], [0.0, 0.125, 0.25]])
LIFTED = np.array([False, True, True, True])
PERFORMANCE = Performance.from_steps(MOTION, LIFTED)
SIZE = 200.0
OPTIONS = PictureOptions(cell_size=SIZE)
ROUNDING = 0.00501
"""Maximum rounding error of positions on a sheet."""


# Data and JSON


def test_steps_are_offsets_and_a_touch_after_a_lift_is_a_touch_down() -> None:
    np.testing.assert_array_equal(PERFORMANCE.positions, [[0.25, 0.5], [0.5, 0.25], [0, 0.5], [0, 0.625]])
    np.testing.assert_array_equal(PERFORMANCE.seconds, [0, 0.5, 1.75, 2])
    assert PERFORMANCE.down.tolist() == [True, False, True, True]
    assert PERFORMANCE.duration == 2


def test_times_are_relative_to_the_first_touch() -> None:
    late = Performance.from_steps(MOTION + np.array([0, 0, 1]), LIFTED)
    np.testing.assert_array_equal(late.seconds, [0, 1.5, 3.75, 5])


def test_json_has_every_touch_on_a_separate_line() -> None:
    text = to_json([PERFORMANCE, Performance.from_steps(MOTION[:1], LIFTED[:1])], 'a "name"', ["call", ""])
    assert json.loads(text) == {
        "name": 'a "name"',
        "performances": [
            {
                "label": "call",
                "seconds": 2.0,
                "touches": [
                    {"time": 0.0, "x": 0.25, "y": 0.5, "moving": 0},
                    {"time": 0.5, "x": 0.5, "y": 0.25, "moving": 1},
                    {"time": 1.75, "x": 0.0, "y": 0.5, "moving": 0},
                    {"time": 2.0, "x": 0.0, "y": 0.625, "moving": 0},
                ],
            },
            {"label": None, "seconds": 0.0, "touches": [{"time": 0.0, "x": 0.25, "y": 0.5, "moving": 0}]},
        ],
    }
    assert sum('"time"' in line for line in text.splitlines()) == text.count('"time"') == 5


def test_json_numbers_have_six_decimals_and_no_negative_zero() -> None:
    motion = np.array([[1 / 3, -1e-9, 0], [1 / 3, 0, 2 / 3]])
    (performance,) = json.loads(to_json([Performance.from_steps(motion, np.ones(2, bool))], "x"))["performances"]
    assert performance["seconds"] == 0.666667
    assert performance["touches"][0] == {"time": 0.0, "x": 0.333333, "y": 0.0, "moving": 0}
    assert "-" not in json.dumps(performance)


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({"seconds": np.zeros(0), "positions": np.zeros((0, 2)), "down": np.zeros(0, bool)}, "received arrays"),
    "positions": ({"positions": np.zeros((3, 2))}, r"received arrays .* expected \(\(T,\), \(T, 2\), \(T,\)\)"),
    "nan": ({"positions": np.full((4, 2), np.nan)}, "a number that is not finite"),
    "decreasing": ({"seconds": np.array([0, 2.0, 1.0, 3.0])}, "times that decrease"),
    "late": ({"seconds": np.array([1, 2.0, 3.0, 4.0])}, "since the first touch"),
    "up": ({"down": np.zeros(4, bool)}, "first row that is not a touch at time 0"),
}


@pytest.mark.parametrize(("change", "message"), INVALID.values(), ids=INVALID.keys())
def test_invalid_performances_are_errors_with_their_number(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^performance 1: .*{message}.*$"):
        to_json([PERFORMANCE, replace(PERFORMANCE, **change)], "x")


def test_json_needs_a_label_per_performance() -> None:
    with pytest.raises(ValueError, match=r"^labels: received 2, expected 1: one per performance$"):
        to_json([PERFORMANCE], "x", ["a", "b"])


# Layout


def to_sheet(cell: Cell, positions: np.ndarray) -> np.ndarray:
    """Return positions on a screen of 0 to 1 in page units."""
    return np.array([cell.left, cell.top]) + SIZE * (MARGIN + (1 - 2 * MARGIN) * positions)


def dots(cell: Cell) -> np.ndarray:
    """Return the centers of the dots of a cell, (n, 2)."""
    return np.concatenate([s for s, width in zip(cell.strokes, cell.line_widths, strict=True) if width == TAP * SIZE])


def lines(performance: Performance, longest: float = LONGEST) -> list[Part]:
    return [part for part in screen_parts(performance, longest)[1:] if part.line_width < TAP]


def test_a_dot_is_at_the_position_of_each_touch_down() -> None:
    sheet = lay_out_performances(PERFORMANCES, OPTIONS)
    for performance, cell in zip(PERFORMANCES, sheet.cells, strict=False):
        taps = performance.positions[performance.down]
        assert dots(cell).shape == taps.shape
        np.testing.assert_allclose(dots(cell), to_sheet(cell, taps), atol=ROUNDING)


def test_every_cell_shows_the_edge_of_the_screen() -> None:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    sheet = lay_out_performances(PERFORMANCES, OPTIONS)
    for cell in sheet.cells[: len(PERFORMANCES)]:
        np.testing.assert_allclose(cell.strokes[0], to_sheet(cell, corners), atol=ROUNDING)


def test_lines_are_exactly_the_moves() -> None:
    for performance in PERFORMANCES:
        segments = [(*start, *end) for part in lines(performance) for start, end in pairwise(part.points.tolist())]
        moved = np.flatnonzero(~performance.down)
        expected = np.concatenate([performance.positions[moved - 1], performance.positions[moved]], axis=1)
        assert segments == [tuple(row) for row in expected.tolist()]


def test_each_point_has_the_time_of_its_touch() -> None:
    for performance in PERFORMANCES:
        times = dict(zip(map(tuple, performance.positions.tolist()), performance.seconds.tolist(), strict=True))
        for part in screen_parts(performance, LONGEST)[1:]:
            assert [times[x, y] for x, y in part.points.tolist()] == part.times.tolist()


def test_colors_increase_with_time() -> None:
    for performance in PERFORMANCES:
        for width in {part.line_width for part in screen_parts(performance, LONGEST)[1:]}:
            parts = [part for part in screen_parts(performance, LONGEST)[1:] if part.line_width == width]
            levels = [COLORS.index(part.color) for part in parts]
            assert levels == sorted(levels)
            assert len(set(levels)) > 1
    assert (COLORS[0], COLORS[-1]) == (PLASMA[0], PLASMA[-1])


def test_equal_times_have_equal_colors_in_all_cells() -> None:
    sheet = lay_out_performances(PERFORMANCES, OPTIONS)
    for performance, cell in zip(PERFORMANCES, sheet.cells, strict=False):
        taps = [c for c, width in zip(cell.colors, cell.line_widths, strict=True) if width == TAP * SIZE]
        fractions = performance.seconds[performance.down] / LONGEST
        assert taps == [COLORS[min(int(fraction * LEVELS), LEVELS - 1)] for fraction in fractions]


def test_color_levels_start_at_the_first_color_and_end_at_the_last() -> None:
    assert color_levels(np.array([0, 0.999, 1, 12, 23.99, 24]), 24).tolist() == [0, 0, 1, 12, 23, 23]
    assert color_levels(np.zeros(2), 0).tolist() == [0, 0]


def test_line_is_split_only_at_changes_of_color() -> None:
    seconds = np.arange(500) / 100
    steady = Performance(seconds, np.column_stack([seconds / 5, seconds / 5]), np.arange(500) == 0)
    parts = lines(steady, steady.duration)
    assert [part.color for part in parts] == list(COLORS)
    assert all((first.points[-1] == second.points[0]).all() for first, second in pairwise(parts))


def test_touches_off_the_screen_stay_inside_their_cell() -> None:
    performance = Performance(np.arange(3.0), np.array([[-9, 0.5], [0.5, 12], [1.02, -0.01]]), np.ones(3, bool))
    cell = lay_out_performances([performance], OPTIONS).cells[0]
    assert (dots(cell) - TAP * SIZE / 2 >= -0.01).all()
    assert (dots(cell) + TAP * SIZE / 2 <= SIZE + 0.01).all()
    np.testing.assert_allclose(dots(cell)[2], to_sheet(cell, performance.positions[2]), atol=ROUNDING)


def test_time_scale_has_both_end_times_and_every_color() -> None:
    bar, first, last = lay_out_performances(PERFORMANCES, OPTIONS).cells[len(PERFORMANCES) :]
    assert (first.label, last.label) == ("0 s", f"{LONGEST:.1f} s")
    assert tuple(bar.colors[1:]) == COLORS
    ends = [0.0, *(float(times[-1]) for times in bar.point_times[1:])]
    np.testing.assert_allclose(ends, LONGEST * np.arange(LEVELS + 1) / LEVELS)
    assert first.label_position[0] < bar.left < bar.left + bar.width < last.label_position[0]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("labels", [True, False])
def test_time_scale_is_below_all_cells_and_on_the_sheet(count: int, labels: bool) -> None:
    options = PictureOptions(labels=["word"] * count if labels else None)
    sheet = lay_out_performances(PERFORMANCES[:count], options)
    *cells, bar, first, last = sheet.cells
    assert bar.top > max(cell.label_position[1] if labels else cell.top + cell.height for cell in cells)
    half = 0.3 * sheet.font_size * len(last.label)
    assert first.label_position[0] - half > 0
    assert last.label_position[0] + half < sheet.width
    assert last.label_position[1] < sheet.height


def test_performance_of_one_tap_is_a_dot_on_a_screen_without_a_time_scale() -> None:
    (cell,) = lay_out_performances([ONE_TAP], OPTIONS).cells
    assert len(cell.strokes) == 2
    np.testing.assert_allclose(dots(cell), [[SIZE * (MARGIN + (1 - 2 * MARGIN) * x) for x in (0.25, 0.75)]], atol=0.005)


def test_layout_without_performances_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^performances: received none, expected one or more to draw$"):
        lay_out_performances([])
