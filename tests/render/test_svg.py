"""SVG: the strokes that go in come out, and nothing that a plotter should not draw."""

import io
import re
import time
from xml.etree.ElementTree import Element

import numpy as np
import pytest
import svgelements
from defusedxml import ElementTree

from mdnrnn.render import Color, Drawing, Style, to_svg
from mdnrnn.render.layout import lay_out
from mdnrnn.render.style import stroke_colors

SVG = "{http://www.w3.org/2000/svg}"


def groups(svg: str) -> list[Element]:
    """The group of each drawing."""
    lines = ElementTree.fromstring(svg).find(f"{SVG}g")
    assert lines is not None
    return list(lines.findall(f"{SVG}g"))


def points(path: Element) -> np.ndarray:
    """The points of a path of straight lines, by another reader."""
    segments = svgelements.Path(path.attrib["d"])
    assert isinstance(segments[0], svgelements.Move)
    assert all(isinstance(segment, svgelements.Line) for segment in segments[1:])
    return np.array([(segment.end.x, segment.end.y) for segment in segments])


def test_every_stroke_is_one_path_with_the_points_of_the_stroke(drawings: list[Drawing]) -> None:
    page = lay_out(drawings, Style())
    found = groups(to_svg(drawings))
    assert len(found) == len(drawings)
    for group, cell in zip(found, page.cells, strict=True):
        assert len(group) == len(cell.strokes)
        for path, stroke in zip(group, cell.strokes, strict=True):
            np.testing.assert_allclose(points(path), stroke, atol=1e-9)


def test_coordinates_have_two_decimals_at_most(drawings: list[Drawing]) -> None:
    numbers = re.findall(r"\d+\.(\d+)", "".join(path.attrib["d"] for g in groups(to_svg(drawings)) for path in g))
    assert len(numbers) > 100
    assert max(map(len, numbers)) == 2


def test_a_plotter_finds_lines_and_labels_and_nothing_else(drawings: list[Drawing]) -> None:
    root = ElementTree.fromstring(to_svg(drawings, labels=["word"] * len(drawings)))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "defs", "g", "path", "text"}
    lines = root.find(f"{SVG}g")
    assert lines is not None
    look = {"fill": "none", "stroke-linecap": "round", "stroke-linejoin": "round"}
    assert {name: lines.attrib[name] for name in look} == look
    data = [path.attrib["d"] for path in root.iter(f"{SVG}path")]
    assert len(set(data)) == len(data) == sum(map(len, drawings))


def test_the_page_is_the_view_box_and_holds_every_point(drawings: list[Drawing]) -> None:
    svg = to_svg(drawings, labels=["x"] * len(drawings))
    parsed = svgelements.SVG.parse(io.StringIO(svg))
    paths = [element for element in parsed.elements() if isinstance(element, svgelements.Path)]
    assert len(paths) == sum(map(len, drawings))
    for path in paths:
        left, top, right, bottom = path.bbox()
        assert 0 < left <= right < parsed.width
        assert 0 < top <= bottom < parsed.height


@pytest.mark.parametrize("copies", [1, 3])
def test_a_dot_is_a_line_of_no_length_with_round_ends(dot: Drawing, copies: int) -> None:
    svg = to_svg([[np.repeat(dot[0], copies, axis=0)]], size=100)
    ((path,),) = groups(svg)
    assert path.attrib["d"] == "M 50.0,50.0 h 0"
    assert 'stroke-linecap="round"' in svg


def test_labels_come_back_as_they_were(drawings: list[Drawing]) -> None:
    labels = ['<b> & "q"', "$x^2$ 木", ""]
    root = ElementTree.fromstring(to_svg(drawings[:3], labels=labels))
    assert [text.text for text in root.iter(f"{SVG}text")] == labels[:2]


@pytest.mark.parametrize("color", ["stroke", "order"])
def test_each_path_has_the_color_of_its_stroke(drawings: list[Drawing], color: Color) -> None:
    for group, drawing in zip(groups(to_svg(drawings, Style(color=color))), drawings, strict=True):
        assert [path.attrib["stroke"] for path in group] == stroke_colors(color, len(drawing))


def test_nothing_to_draw_is_a_blank_page(odd_drawings: list[Drawing]) -> None:
    assert groups(to_svg([])) == []
    assert [len(group) for group in groups(to_svg(odd_drawings))] == [0, 1, 1, 1, 1, 2]


def test_a_point_that_is_not_finite_is_named(drawings: list[Drawing]) -> None:
    drawings[3][0][1, 0] = np.nan
    with pytest.raises(ValueError, match="drawing 3, stroke 0"):
        to_svg(drawings)


def test_a_thousand_drawings_take_less_than_two_seconds() -> None:
    rng = np.random.default_rng(0)
    drawings = [list(np.cumsum(rng.normal(size=(10, 13, 2)), axis=1)) for _ in range(1000)]
    start = time.process_time()
    to_svg(drawings)
    assert time.process_time() - start < 2
