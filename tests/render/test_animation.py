"""Animations of drawings: the times of an SVG, the frames of a GIF and of a morph."""

import io
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.animation import MORPH_END, MORPH_FRAME, PAUSE, to_animated_svg, to_gif, to_morph_gif
from mdnrnn.render.geometry import arc_lengths, is_dot
from mdnrnn.render.layout import lay_out
from mdnrnn.render.raster import figure_bytes, to_figure
from mdnrnn.render.style import PALETTE, Color, DrawingOptions
from mdnrnn.render.svg import to_svg
from tests.render.helpers import (
    SVG,
    animation,
    drawing_groups,
    gif_frames,
    gray_frames,
    key_times,
    png_pixels,
    without_animation,
)


def draw_times(path: Element, seconds: float) -> tuple[float, float]:
    """Return the start and the end of the animation of a stroke that is not a dot, in seconds."""
    dashes = animation(path, "stroke-dasharray")
    assert dashes is not None
    assert dashes.attrib["values"] == "0 1;0 1;1 1;1 1"
    assert dashes.attrib["dur"] == f"{seconds + PAUSE:g}s"
    first, start, end, last = key_times(dashes)
    assert (first, last) == (0, 1)
    return start * (seconds + PAUSE), end * (seconds + PAUSE)


@pytest.mark.parametrize("seconds", [2.0, 7.5])
def test_durations_of_strokes_are_proportional_to_their_lengths(drawings: list[Drawing], seconds: float) -> None:
    sheet = lay_out(drawings)
    for group, cell in zip(drawing_groups(to_animated_svg(sheet, seconds)), sheet.cells, strict=True):
        times = [draw_times(path, seconds) for path in group]
        assert times[0][0] == 0
        assert times[-1][1] == pytest.approx(seconds, abs=1e-3)
        assert all(end == start for (_, end), (start, _) in pairwise(times))
        lengths = np.array([arc_lengths(stroke)[-1] for stroke in cell.strokes])
        np.testing.assert_allclose(np.diff(times)[:, 0], seconds * lengths / lengths.sum(), atol=1e-3)


def test_stroke_is_hidden_until_its_start(drawings: list[Drawing]) -> None:
    for group in drawing_groups(to_animated_svg(lay_out(drawings), 3)):
        assert animation(group[0], "visibility") is None
        for path in group[1:]:
            visibility = animation(path, "visibility")
            assert visibility is not None
            assert visibility.attrib["calcMode"] == "discrete"
            assert visibility.attrib["values"] == "hidden;visible"
            assert key_times(visibility)[1] * (3 + PAUSE) == pytest.approx(draw_times(path, 3)[0], abs=1e-3)


def test_dot_appears_at_once_between_its_neighbors(dot: Drawing) -> None:
    line = np.array([[0.0, 0.0], [50.0, 9.0]])
    ((before, point, after),) = drawing_groups(to_animated_svg(lay_out([[line, dot[0], line + 3]]), 4))
    assert animation(point, "stroke-dasharray") is None
    assert "pathLength" not in point.attrib
    visibility = animation(point, "visibility")
    assert visibility is not None
    start = key_times(visibility)[1] * (4 + PAUSE)
    assert draw_times(before, 4)[1] == pytest.approx(start, abs=1e-3)
    assert start < draw_times(after, 4)[0] < start + 0.1


def test_svg_without_its_animations_is_the_still_svg(
    drawings: list[Drawing], degenerate_drawings: list[Drawing]
) -> None:
    sheet = lay_out(drawings + degenerate_drawings)
    assert without_animation(to_animated_svg(sheet)) == without_animation(to_svg(sheet))


def test_animated_svg_has_no_script(drawings: list[Drawing]) -> None:
    root = ElementTree.fromstring(to_animated_svg(lay_out(drawings)))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "defs", "g", "path", "animate"}


@pytest.fixture(scope="module")
def gif() -> bytes:
    """A GIF of 1 second of two drawings side by side: a zigzag, and a line followed by a dot."""
    zigzag = [np.array([[0.0, 0], [10, 0], [0, 5], [10, 5], [0, 10], [10, 10]])]
    line_and_dot = [np.array([[0.0, 0], [9, 7]]), np.array([[9.0, 0]])]
    return to_gif(lay_out([zigzag, line_and_dot], DrawingOptions(cell_size=60)), seconds=1)


def test_frames_of_a_gif_last_as_long_as_the_drawing_and_the_pause(gif: bytes) -> None:
    frames, durations = gray_frames(gif)
    assert len(frames) == 20
    assert sum(durations) == 1000 * (1 + PAUSE)
    assert Image.open(io.BytesIO(gif)).info["loop"] == 0  # repeats forever


def test_ink_of_every_drawing_grows_in_every_frame(gif: bytes) -> None:
    frames, _ = gray_frames(gif)
    for half in (slice(0, 120), slice(120, 240)):
        ink = [(255 - frame[:, half]).sum() for frame in frames]
        assert ink[0] > 0
        assert all(later > earlier for earlier, later in pairwise(ink[:19]))
        # Ink remains, except for a quarter of a pixel where a round end becomes a corner.
        assert all((later[:, half] <= earlier[:, half] + 64).all() for earlier, later in pairwise(frames))


def test_ink_grows_by_equal_amounts(gif: bytes) -> None:
    frames, _ = gray_frames(gif)
    ink = np.array([(255 - frame[:, :120]).sum() for frame in frames])
    np.testing.assert_allclose(ink / ink[-1], np.arange(1, 21) / 20, atol=0.04)


def test_background_of_a_gif_is_white(gif: bytes) -> None:
    frames, _ = gray_frames(gif)
    assert all(np.median(frame) == 255 and frame[0, 0] == 255 for frame in frames)


def test_gif_shows_every_drawing_that_has_a_stroke(degenerate_drawings: list[Drawing]) -> None:
    sheet = lay_out(degenerate_drawings, DrawingOptions(line_width=0.05, columns=6, cell_size=50))
    frames, _ = gray_frames(to_gif(sheet, seconds=0.1))
    cells = np.split(frames[-1], 6, axis=1)
    assert [bool(cell.min() < 128) for cell in cells] == [bool(drawing) for drawing in degenerate_drawings]
    assert is_dot(degenerate_drawings[2][0])


def test_morph_shows_the_drawings_forward_and_backward_and_pauses_at_both_ends(drawings: list[Drawing]) -> None:
    frames, durations = gif_frames(to_morph_gif(drawings[:4], DrawingOptions(cell_size=80)))
    assert durations == [MORPH_END, MORPH_FRAME, MORPH_FRAME, MORPH_END, MORPH_FRAME, MORPH_FRAME]
    for forward, backward in ((1, 5), (2, 4)):
        np.testing.assert_array_equal(frames[forward], frames[backward])
    assert all((frames[i] != frames[i + 1]).any() for i in range(5))


@pytest.mark.parametrize("color", ["ink", "stroke"])
def test_frame_of_a_morph_is_the_picture_of_its_drawing(drawings: list[Drawing], color: Color) -> None:
    options = DrawingOptions(color=color, cell_size=100)
    square = [drawing for drawing in drawings if lay_out([drawing], options).width == 100]
    assert len(square) > 2
    frames, _ = gif_frames(to_morph_gif(square, options))
    for frame, drawing in zip(frames, square, strict=False):
        expected = png_pixels(figure_bytes(to_figure(lay_out([drawing], options)), ".png"))
        assert frame.shape == expected.shape
        assert np.abs(frame - expected).mean() < 1  # of 255: the palette lacks some shades of gray
        assert frame[0, 0].tolist() == [255, 255, 255]


def test_palette_of_a_morph_has_colors_that_the_first_drawing_lacks() -> None:
    lines = [np.array([[0.0, i], [9.0, i]]) for i in range(0, 9, 2)]
    options = DrawingOptions(color="stroke", line_width=0.05, cell_size=80)
    frames, _ = gif_frames(to_morph_gif([lines[:1], lines], options))
    for color in PALETTE[: len(lines)]:
        assert np.abs(frames[1] - list(bytes.fromhex(color[1:]))).max(-1).min() < 8


@pytest.mark.parametrize("count", [1, 2])
def test_morph_of_few_drawings_has_a_frame_per_drawing(drawings: list[Drawing], count: int) -> None:
    frames, durations = gif_frames(to_morph_gif(drawings[:count], DrawingOptions(cell_size=50)))
    assert len(frames) == count
    assert durations == [MORPH_END] * count


def test_morph_without_drawings_is_an_error() -> None:
    with pytest.raises(ValueError, match="drawings: received none, expected one or more"):
        to_morph_gif([])
