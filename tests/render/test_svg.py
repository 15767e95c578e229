"""SVG: one path per stroke with the points of the stroke, and nothing that a plotter should not draw."""

import io
import re

import numpy as np
import pytest
import svgelements
from defusedxml import ElementTree

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.layout import lay_out
from mdnrnn.render.style import Color, DrawingOptions, stroke_colors
from mdnrnn.render.svg import to_svg
from tests.render.helpers import SVG, drawing_groups


def draw(drawings: list[Drawing], **options: object) -> str:
    return to_svg(lay_out(drawings, DrawingOptions(**options)))  # type: ignore[arg-type]


def parse_path(data: str) -> np.ndarray:
    """Return the points of a path of straight lines, read by svgelements."""
    segments = svgelements.Path(data)
    assert isinstance(segments[0], svgelements.Move)
    assert all(isinstance(segment, svgelements.Line) for segment in segments[1:])
    return np.array([(segment.end.x, segment.end.y) for segment in segments])


def test_every_stroke_is_one_path_with_the_points_of_the_stroke(drawings: list[Drawing]) -> None:
    sheet = lay_out(drawings)
    groups = drawing_groups(to_svg(sheet))
    assert len(groups) == len(drawings)
    for group, cell in zip(groups, sheet.cells, strict=True):
        assert len(group) == len(cell.strokes)
        for path, stroke in zip(group, cell.strokes, strict=True):
            np.testing.assert_allclose(parse_path(path.attrib["d"]), stroke, atol=1e-9)


def test_coordinates_have_at_most_two_decimals(drawings: list[Drawing]) -> None:
    data = "".join(path.attrib["d"] for group in drawing_groups(draw(drawings)) for path in group)
    decimals = re.findall(r"\d+\.(\d+)", data)
    assert len(decimals) > 100
    assert max(map(len, decimals)) == 2


def test_svg_contains_only_unfilled_lines_and_labels(drawings: list[Drawing]) -> None:
    root = ElementTree.fromstring(draw(drawings, labels=["word"] * len(drawings)))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "defs", "g", "path", "text"}
    lines = root.find(f"{SVG}g")
    assert lines is not None
    expected = {"fill": "none", "stroke-linecap": "round", "stroke-linejoin": "round"}
    assert {name: lines.attrib[name] for name in expected} == expected
    data = [path.attrib["d"] for path in root.iter(f"{SVG}path")]
    assert len(set(data)) == len(data) == sum(map(len, drawings))


def test_view_box_contains_every_point(drawings: list[Drawing]) -> None:
    svg = draw(drawings, labels=["x"] * len(drawings))
    parsed = svgelements.SVG.parse(io.StringIO(svg))
    paths = [element for element in parsed.elements() if isinstance(element, svgelements.Path)]
    assert len(paths) == sum(map(len, drawings))
    for path in paths:
        left, top, right, bottom = path.bbox()
        assert 0 < left <= right < parsed.width
        assert 0 < top <= bottom < parsed.height


@pytest.mark.parametrize("copies", [1, 3])
def test_dot_is_a_line_of_length_0_with_round_caps(dot: Drawing, copies: int) -> None:
    svg = draw([[np.repeat(dot[0], copies, axis=0)]], cell_size=100)
    ((path,),) = drawing_groups(svg)
    assert path.attrib["d"] == "M 50.0,50.0 h 0.1"
    assert 'stroke-linecap="round"' in svg


def test_labels_are_escaped(drawings: list[Drawing]) -> None:
    labels = ['<b> & "q"', "$x^2$ 木", ""]
    root = ElementTree.fromstring(draw(drawings[:3], labels=labels))
    assert [text.text for text in root.iter(f"{SVG}text")] == labels[:2]


@pytest.mark.parametrize("color", ["stroke", "order"])
def test_each_path_has_the_color_of_its_stroke(drawings: list[Drawing], color: Color) -> None:
    for group, drawing in zip(drawing_groups(draw(drawings, color=color)), drawings, strict=True):
        assert [path.attrib["stroke"] for path in group] == stroke_colors(color, len(drawing))


def test_empty_and_degenerate_drawings_have_a_group_each(degenerate_drawings: list[Drawing]) -> None:
    assert drawing_groups(draw([])) == []
    assert [len(group) for group in drawing_groups(draw(degenerate_drawings))] == [0, 1, 1, 1, 1, 2]


def test_error_names_drawing_and_stroke_of_a_nonfinite_point(drawings: list[Drawing]) -> None:
    drawings[3][0][1, 0] = np.nan
    with pytest.raises(ValueError, match="drawing 3, stroke 0"):
        draw(drawings)
