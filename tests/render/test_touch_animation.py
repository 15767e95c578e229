"""Animations of touch performances in real time: the key times of an SVG, the frames of a GIF."""

from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np
import pytest

from mdnrnn.render import touch_animation
from mdnrnn.render.animation import PAUSE
from mdnrnn.render.geometry import arc_lengths, is_dot
from mdnrnn.render.layout import Cell
from mdnrnn.render.style import PictureOptions
from mdnrnn.render.svg import to_svg
from mdnrnn.render.touch_animation import cell_at_time, to_performance_gif, to_performance_svg
from mdnrnn.render.touch_performance import Performance, lay_out_performances
from tests.render.helpers import (
    LONGEST,
    ONE_TAP,
    PERFORMANCES,
    animation,
    drawing_groups,
    gray_frames,
    key_times,
    without_animation,
)

LOOP = LONGEST + PAUSE


@pytest.fixture(scope="module")
def strokes() -> list[tuple[np.ndarray, np.ndarray, Element]]:
    """Every stroke of a sheet, the times of its points, and its path."""
    sheet = lay_out_performances(PERFORMANCES)
    groups = drawing_groups(to_performance_svg(sheet))
    return [
        (stroke, times, path)
        for cell, group in zip(sheet.cells, groups, strict=True)
        for stroke, times, path in zip(cell.strokes, cell.point_times, group, strict=True)
    ]


def animate(performances: list[Performance], cell_size: float) -> tuple[list[np.ndarray], list[int]]:
    """Return the gray frames and the durations of a GIF."""
    return gray_frames(to_performance_gif(lay_out_performances(performances, PictureOptions(cell_size=cell_size))))


def start_time(path: Element) -> float:
    """Return the time in seconds from which the path is visible."""
    visibility = animation(path, "visibility")
    if visibility is None:
        return 0.0
    assert visibility.attrib["values"] == "hidden;visible"
    assert visibility.attrib["calcMode"] == "discrete"
    assert visibility.attrib["dur"] == f"{LOOP:g}s"
    first, start = key_times(visibility)
    assert first == 0
    return start * LOOP


def test_each_stroke_appears_at_the_time_of_its_first_touch(
    strokes: list[tuple[np.ndarray, np.ndarray, Element]],
) -> None:
    assert sum(is_dot(stroke) for stroke, *_ in strokes) >= sum(each.down.sum() for each in PERFORMANCES)
    for _, times, path in strokes:
        assert start_time(path) == pytest.approx(times[0], abs=1e-5 * LOOP)


def test_line_reaches_each_point_at_the_time_of_its_touch(
    strokes: list[tuple[np.ndarray, np.ndarray, Element]],
) -> None:
    lines = [(stroke, times, path) for stroke, times, path in strokes if not is_dot(stroke) and times[-1] > 0]
    assert len(lines) > 50
    for stroke, times, path in lines:
        dashes = animation(path, "stroke-dasharray")
        assert dashes is not None
        assert dashes.attrib["dur"] == f"{LOOP:g}s"
        fractions = key_times(dashes)
        lengths = [float(dash.split()[0]) for dash in dashes.attrib["values"].split(";")]
        assert (fractions[0], fractions[-1], lengths[0], lengths[-1]) == (0, 1, 0, 1)
        assert fractions == sorted(fractions)
        np.testing.assert_allclose(fractions[1:-1], times / LOOP, atol=1e-5)
        np.testing.assert_allclose(lengths[1:-1], arc_lengths(stroke) / arc_lengths(stroke)[-1], atol=1e-3)


def test_svg_without_its_animations_is_the_still_svg() -> None:
    sheet = lay_out_performances([*PERFORMANCES, ONE_TAP])
    assert without_animation(to_performance_svg(sheet)) == without_animation(to_svg(sheet))


def test_cell_at_half_the_time_of_a_move_has_half_of_its_line() -> None:
    move = Performance(np.array([0, 1.0, 3.0]), np.array([[0, 0], [0.5, 0], [0.5, 1.0]]), np.array([1, 0, 0], bool))
    cell = lay_out_performances([move]).cells[0]

    def length(cell: Cell) -> float:
        return float(sum(arc_lengths(stroke)[-1] for stroke in cell.strokes[1:]))

    for seconds, fraction in [(0.0, 0.0), (0.5, 1 / 6), (1.0, 1 / 3), (2.0, 2 / 3), (3.0, 1.0)]:
        partial = cell_at_time(cell, seconds)
        assert length(partial) == pytest.approx(fraction * length(cell), abs=0.02)
        assert len(partial.strokes) == len(partial.colors) == len(partial.line_widths)


def test_gif_lasts_as_long_as_the_longest_performance_and_the_pause() -> None:
    _, durations = animate(PERFORMANCES, cell_size=40)
    assert sum(durations) / 1000 == pytest.approx(LOOP, abs=0.05)


def test_gif_of_a_long_performance_has_a_limited_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touch_animation, "MAX_FRAMES", 40)
    moves = np.linspace(0, 1, 400)
    slow = Performance(100 * moves, np.column_stack([moves, moves]), moves == 0)
    frames, durations = animate([slow], cell_size=40)
    assert len(frames) == 40 + 1
    assert all(frame[0, 0] == 255 for frame in frames)
    assert sum(durations) / 1000 == pytest.approx(100 + PAUSE, rel=0.01)


def test_touches_of_a_gif_appear_at_their_times_and_remain() -> None:
    taps = Performance(np.array([0, 0.5, 1.0]), np.array([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]]), np.ones(3, bool))
    frames, durations = animate([taps], cell_size=100)
    ends = np.cumsum(durations) / 1000
    starts = np.concatenate([[0.0], ends[:-1]])
    for seconds, position in [(0, 0.2), (0.5, 0.5), (1.0, 0.8)]:
        pixel = int(200 * (0.06 + 0.88 * position))
        visible = [frame[pixel, pixel] < 200 for frame in frames]
        assert visible == sorted(visible)
        assert starts[visible.index(True)] == pytest.approx(seconds, abs=0.051)


def test_ink_of_a_gif_only_grows() -> None:
    frames, _ = animate(PERFORMANCES[:1], cell_size=60)
    ink = [int((frame[:120] < 200).sum()) for frame in frames]
    assert all(later >= earlier - 2 for earlier, later in pairwise(ink))
    assert ink[-1] > ink[0] + 500


def test_one_tap_is_visible_in_all_frames_and_needs_no_svg_animation() -> None:
    frames, durations = animate([ONE_TAP], cell_size=100)
    assert all(frame[int(200 * 0.72), int(200 * 0.28)] < 128 for frame in frames)
    assert sum(durations) == pytest.approx(1000 * PAUSE, abs=60)
    assert "<animate" not in to_performance_svg(lay_out_performances([ONE_TAP]))
