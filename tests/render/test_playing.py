"""Performances that play in real time: the key times of an SVG, the frames of a GIF."""

from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from defusedxml import ElementTree

from mdnrnn.render import Performance, render_performances
from mdnrnn.render.animation import PAUSE
from mdnrnn.render.drawing import arc_lengths, is_dot
from mdnrnn.render.playing import MOST_FRAMES, played_until, to_played_svg
from mdnrnn.render.touches import lay_out_performances
from tests.render.test_animation import SVG, animated_paths, animation, frames, key_times
from tests.render.test_touches import LONGEST, ONE_TAP, PERFORMANCES

LOOP = LONGEST + PAUSE
PAGE = lay_out_performances(PERFORMANCES)
PATHS = animated_paths(to_played_svg(PAGE))
CASES = [
    (stroke, moments, path)
    for cell, paths in zip(PAGE.cells, PATHS, strict=True)
    for stroke, moments, path in zip(cell.strokes, cell.moments, paths, strict=True)
]
"""Every stroke of the page, when it was made, and its element."""


def appears(path: Element) -> float:
    """Seconds at which the path is seen first."""
    hiding = animation(path, "visibility")
    if hiding is None:
        return 0.0
    assert hiding.attrib["values"] == "hidden;visible"
    assert hiding.attrib["calcMode"] == "discrete"
    assert hiding.attrib["dur"] == f"{LOOP:g}s"
    first, shown = key_times(hiding)
    assert first == 0
    return shown * LOOP


def test_each_stroke_appears_at_the_moment_of_its_first_touch() -> None:
    assert sum(is_dot(stroke) for stroke, *_ in CASES) >= sum(each.down.sum() for each in PERFORMANCES)
    for _, moments, path in CASES:
        assert appears(path) == pytest.approx(moments[0], abs=1e-5 * LOOP)


def test_a_line_reaches_each_of_its_points_when_the_touch_did() -> None:
    growing = [(s, moments, path) for s, moments, path in CASES if not is_dot(s) and moments[-1] > 0]
    assert len(growing) > 50
    for stroke, moments, path in growing:
        dashes = animation(path, "stroke-dasharray")
        assert dashes is not None
        assert dashes.attrib["dur"] == f"{LOOP:g}s"
        times, shares = key_times(dashes), [float(dash.split()[0]) for dash in dashes.attrib["values"].split(";")]
        assert (times[0], times[-1], shares[0], shares[-1]) == (0, 1, 0, 1)
        assert times == sorted(times)
        np.testing.assert_allclose(times[1:-1], moments / LOOP, atol=1e-5)
        np.testing.assert_allclose(shares[1:-1], arc_lengths(stroke) / arc_lengths(stroke)[-1], atol=1e-3)


def test_without_its_animation_it_is_the_still_picture() -> None:
    moving = ElementTree.fromstring(render_performances([*PERFORMANCES, ONE_TAP], ".svg", animate=True).decode())
    for path in moving.iter(f"{SVG}path"):
        path.attrib.pop("pathLength", None)
        for child in list(path):
            path.remove(child)
    still = ElementTree.fromstring(render_performances([*PERFORMANCES, ONE_TAP], ".svg").decode())
    assert ElementTree.tostring(moving) == ElementTree.tostring(still)


def test_half_way_through_a_move_the_line_is_half_as_long() -> None:
    move = Performance(np.array([0, 1.0, 3.0]), np.array([[0, 0], [0.5, 0], [0.5, 1.0]]), np.array([1, 0, 0], bool))
    cell = lay_out_performances([move]).cells[0]
    whole = sum(arc_lengths(stroke)[-1] for stroke in cell.strokes[1:])
    for seconds, share in [(0.0, 0.0), (0.5, 1 / 6), (1.0, 1 / 3), (2.0, 2 / 3), (3.0, 1.0)]:
        then = played_until(cell, seconds)
        assert sum(arc_lengths(stroke)[-1] for stroke in then.strokes[1:]) == pytest.approx(share * whole, abs=0.02)
        assert len(then.strokes) == len(then.colors) == len(then.widths)


def test_a_gif_lasts_as_long_as_the_longest_performance_and_the_pause() -> None:
    _, durations = frames(render_performances(PERFORMANCES, ".gif", size=40))
    assert sum(durations) / 1000 == pytest.approx(LOOP, abs=0.05)


def test_a_gif_of_a_long_performance_has_no_more_frames_than_a_short_one() -> None:
    moves = np.linspace(0, 1, 400)
    slow = Performance(100 * moves, np.column_stack([moves, moves]), moves == 0)
    greys, durations = frames(render_performances([slow], ".gif", size=40))
    assert len(greys) <= MOST_FRAMES + 1
    assert all(gray[0, 0] == 255 for gray in greys)
    assert sum(durations) / 1000 == pytest.approx(100 + PAUSE, rel=0.01)


def test_touches_of_a_gif_come_and_stay() -> None:
    taps = Performance(np.array([0, 0.5, 1.0]), np.array([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]]), np.ones(3, bool))
    greys, durations = frames(render_performances([taps], ".gif", size=100))
    ends = np.cumsum(durations) / 1000
    starts = np.concatenate([[0.0], ends[:-1]])
    for seconds, place in [(0, 0.2), (0.5, 0.5), (1.0, 0.8)]:
        pixel = int(200 * (0.06 + 0.88 * place))
        seen = [gray[pixel, pixel] < 200 for gray in greys]
        assert seen == sorted(seen)
        assert starts[seen.index(True)] == pytest.approx(seconds, abs=0.051)


def test_ink_of_a_gif_only_grows() -> None:
    greys, _ = frames(render_performances(PERFORMANCES[:1], ".gif", size=60))
    ink = [int((gray[:120] < 200).sum()) for gray in greys]
    assert all(later >= earlier - 2 for earlier, later in pairwise(ink))
    assert ink[-1] > ink[0] + 500


def test_one_tap_is_there_from_the_first_moment() -> None:
    greys, durations = frames(render_performances([ONE_TAP], ".gif", size=100))
    assert all(gray[int(200 * 0.72), int(200 * 0.28)] < 128 for gray in greys)
    assert sum(durations) == pytest.approx(1000 * PAUSE, abs=60)
    assert "<animate" not in render_performances([ONE_TAP], ".svg", animate=True).decode()
