"""Drawings that draw themselves: the times of an SVG, the frames of a GIF."""

import io
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from mdnrnn.render import Drawing, Style, to_animated_svg, to_gif, to_svg
from mdnrnn.render.animation import PAUSE
from mdnrnn.render.drawing import arc_lengths, is_dot
from mdnrnn.render.layout import lay_out

SVG = "{http://www.w3.org/2000/svg}"


def animated_paths(svg: str) -> list[list[Element]]:
    lines = ElementTree.fromstring(svg).find(f"{SVG}g")
    assert lines is not None
    return [list(group) for group in lines.findall(f"{SVG}g")]


def animation(path: Element, attribute: str) -> Element | None:
    return next((a for a in path if a.attrib["attributeName"] == attribute), None)


def key_times(element: Element) -> list[float]:
    return [float(time) for time in element.attrib["keyTimes"].split(";")]


def times(path: Element, seconds: float) -> tuple[float, float]:
    """When a stroke that is no dot starts and ends to grow, in seconds."""
    dashes = animation(path, "stroke-dasharray")
    assert dashes is not None
    assert dashes.attrib["values"] == "0 1;0 1;1 1;1 1"
    assert dashes.attrib["dur"] == f"{seconds + PAUSE:g}s"
    first, start, end, last = key_times(dashes)
    assert (first, last) == (0, 1)
    return start * (seconds + PAUSE), end * (seconds + PAUSE)


@pytest.mark.parametrize("seconds", [2.0, 7.5])
def test_strokes_follow_one_another_and_fill_the_time_in_proportion_to_their_length(
    drawings: list[Drawing], seconds: float
) -> None:
    page = lay_out(drawings, Style())
    grid = animated_paths(to_animated_svg(drawings, seconds=seconds))
    for paths, cell in zip(grid, page.cells, strict=True):
        spans = [times(path, seconds) for path in paths]
        assert spans[0][0] == 0
        assert spans[-1][1] == pytest.approx(seconds, abs=1e-3)
        assert all(end == start for (_, end), (start, _) in pairwise(spans))
        lengths = np.array([arc_lengths(stroke)[-1] for stroke in cell.strokes])
        np.testing.assert_allclose(np.diff(spans)[:, 0], seconds * lengths / lengths.sum(), atol=1e-3)


def test_a_stroke_is_hidden_until_it_starts(drawings: list[Drawing]) -> None:
    for paths in animated_paths(to_animated_svg(drawings, seconds=3)):
        assert animation(paths[0], "visibility") is None
        for path in paths[1:]:
            hiding = animation(path, "visibility")
            assert hiding is not None
            assert hiding.attrib["calcMode"] == "discrete"
            assert hiding.attrib["values"] == "hidden;visible"
            assert key_times(hiding)[1] * (3 + PAUSE) == pytest.approx(times(path, 3)[0], abs=1e-3)


def test_a_dot_pops_in_between_the_strokes_around_it(dot: Drawing) -> None:
    line = np.array([[0.0, 0.0], [50.0, 9.0]])
    ((before, point, after),) = animated_paths(to_animated_svg([[line, dot[0], line + 3]], seconds=4))
    assert animation(point, "stroke-dasharray") is None
    assert "pathLength" not in point.attrib
    hiding = animation(point, "visibility")
    assert hiding is not None
    shown = key_times(hiding)[1] * (4 + PAUSE)
    assert times(before, 4)[1] == pytest.approx(shown, abs=1e-3)
    assert shown < times(after, 4)[0] < shown + 0.1


def test_without_its_animation_it_is_the_still_picture(drawings: list[Drawing], odd_drawings: list[Drawing]) -> None:
    moving = ElementTree.fromstring(to_animated_svg(drawings + odd_drawings))
    for path in moving.iter(f"{SVG}path"):
        path.attrib.pop("pathLength", None)
        for child in list(path):
            path.remove(child)
    still = ElementTree.fromstring(to_svg(drawings + odd_drawings))
    assert ElementTree.tostring(moving) == ElementTree.tostring(still)


def test_no_script_is_needed(drawings: list[Drawing]) -> None:
    root = ElementTree.fromstring(to_animated_svg(drawings))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "defs",
        "g",
        "path",
        "animate",
    }


def frames(gif: bytes) -> tuple[list[np.ndarray], list[int]]:
    """The frames as gray levels 0 to 255, and their milliseconds."""
    image = Image.open(io.BytesIO(gif))
    greys, durations = [], []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        greys.append(np.asarray(image.convert("RGB").convert("L"), dtype=int))
        durations.append(image.info["duration"])
    return greys, durations


@pytest.fixture(scope="module")
def gif() -> bytes:
    """Two drawings side by side: a zigzag, and a line that ends in a dot."""
    zigzag = [np.array([[0.0, 0], [10, 0], [0, 5], [10, 5], [0, 10], [10, 10]])]
    return to_gif([zigzag, [np.array([[0.0, 0], [9, 7]]), np.array([[9.0, 0]])]], seconds=1, size=60)


def test_the_frames_of_a_gif_last_as_long_as_the_drawing_and_the_pause(gif: bytes) -> None:
    greys, durations = frames(gif)
    assert len(greys) == 20
    assert sum(durations) == 1000 * (1 + PAUSE)
    assert Image.open(io.BytesIO(gif)).info["loop"] == 0


def test_ink_only_grows_and_grows_in_every_drawing_of_the_grid(gif: bytes) -> None:
    greys, _ = frames(gif)
    for half in (slice(0, 120), slice(120, 240)):
        ink = [(255 - gray[:, half]).sum() for gray in greys]
        assert ink[0] > 0
        assert all(later > earlier for earlier, later in pairwise(ink[:19]))
        # what is inked stays inked, but for a quarter of a pixel where a round end becomes a corner
        assert all((later[:, half] <= earlier[:, half] + 64).all() for earlier, later in pairwise(greys))


def test_ink_grows_by_about_the_same_in_each_frame(gif: bytes) -> None:
    greys, _ = frames(gif)
    ink = np.array([(255 - gray[:, :120]).sum() for gray in greys])
    np.testing.assert_allclose(ink / ink[-1], np.arange(1, 21) / 20, atol=0.04)


def test_paper_is_white(gif: bytes) -> None:
    greys, _ = frames(gif)
    assert all(np.median(gray) == 255 and gray[0, 0] == 255 for gray in greys)


def test_a_gif_of_odd_drawings_shows_each_that_has_a_stroke(odd_drawings: list[Drawing]) -> None:
    greys, _ = frames(to_gif(odd_drawings, Style(width=0.05), columns=6, size=50, seconds=0.1))
    cells = np.split(greys[-1], 6, axis=1)
    assert [bool(cell.min() < 128) for cell in cells] == [bool(drawing) for drawing in odd_drawings]
    assert is_dot(odd_drawings[2][0])


@pytest.mark.parametrize("seconds", [0, -1, np.inf, np.nan])
@pytest.mark.parametrize("draw", [to_gif, to_animated_svg])
def test_a_time_that_is_none_is_refused(draw: object, seconds: float) -> None:
    assert callable(draw)
    with pytest.raises(ValueError, match=r"seconds: received .*, expected a positive number"):
        draw([], seconds=seconds)
