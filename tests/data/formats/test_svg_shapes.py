"""Tests of SVG shapes, units, transforms, groups, viewports and uses."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.formats.flattening import RESOLUTION
from tests.data.formats.svg_helpers import distances, parse_strokes, parse_svg, svg_document

SQUARE: list[list[float]] = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
SHAPES: dict[str, tuple[str, list[Any]]] = {
    "line": ("<line x1='1' y1='2' x2='3.5' y2='-4e0'/>", [[[1, 2], [3.5, -4]]]),
    "line from the origin": ("<line x2='3' y2='4'/>", [[[0, 0], [3, 4]]]),
    "polyline of equal points": ("<polyline points='1,2 1,2 1,2'/>", [[[1, 2], [1, 2], [1, 2]]]),
    "polyline": ("<polyline points='1,2 3-4,.5.5'/>", [[[1, 2], [3, -4], [0.5, 0.5]]]),
    "polygon": ("<polygon points='1 2,3 4 5 0'/>", [[[1, 2], [3, 4], [5, 0], [1, 2]]]),
    "polygon with equal ends": ("<polygon points='1 2,3 4 1 2'/>", [[[1, 2], [3, 4], [1, 2]]]),
    "rect": ("<rect width='10' height='10'/>", [SQUARE]),
    "rect with one radius of 0": ("<rect width='10' height='10' rx='0' ry='3'/>", [SQUARE]),
    "units of equal length": ("<line x1='1in' y1='2.54cm' x2='25.4mm' y2='72pt'/>", [[[96, 96], [96, 96]][:1]]),
    "other units": ("<line x1='6pc' y1='5px' x2='101.6Q' y2='7'/>", [[[96, 5], [96, 7]]]),
    "percentages": ("<line x1='10%' y1='10%' x2='100%' y2='50%'/>", [[[10, 5], [100, 25]]]),
    "geometry in the style": ("<rect style='width:10px; height: 10'/>", [SQUARE]),
}
TRANSFORMS: dict[str, tuple[str, list[Any]]] = {
    "translate by x": ("<path transform='translate(3)' d='M0 0L1 1'/>", [[[3, 0], [4, 1]]]),
    "translate by x and y": ("<path transform='translate(3,-4)' d='M0 0L1 1'/>", [[[3, -4], [4, -3]]]),
    "scale by one factor": ("<path transform='scale(2)' d='M1 1L2 3'/>", [[[2, 2], [4, 6]]]),
    "scale by two factors": ("<path transform='scale(2 -1)' d='M1 1L2 3'/>", [[[2, -1], [4, -3]]]),
    "rotate": ("<path transform='rotate(90)' d='M1 0L2 1'/>", [[[0, 1], [-1, 2]]]),
    "rotate about a point": ("<path transform='rotate(180 5 5)' d='M1 0L2 1'/>", [[[9, 10], [8, 9]]]),
    "translate in px": ("<path transform='translate(3px,-4PX)' d='M0 0L1 1'/>", [[[3, -4], [4, -3]]]),
    "rotate in deg": ("<path transform='rotate(90deg)' d='M1 0L2 1'/>", [[[0, 1], [-1, 2]]]),
    "rotate in deg about a point": ("<path transform='rotate(180.deg 5 5)' d='M1 0L2 1'/>", [[[9, 10], [8, 9]]]),
    "skew in deg": ("<path transform='skewX( 45deg )' d='M1 1L2 3'/>", [[[2, 1], [5, 3]]]),
    "skewX": ("<path transform='skewX(45)' d='M1 1L2 3'/>", [[[2, 1], [5, 3]]]),
    "skewY": ("<path transform='skewY(45)' d='M1 1L2 3'/>", [[[1, 2], [2, 5]]]),
    "matrix": ("<path transform='matrix(1 2 3 4 5 6)' d='M1 1L0 1'/>", [[[9, 12], [8, 10]]]),
    "list of transforms": ("<path transform='translate(1) scale(2)' d='M1 1L2 2'/>", [[[3, 2], [5, 4]]]),
    "nested groups": (
        "<g transform='translate(1)'><g><path transform='scale(2)' d='M1 1L2 2'/></g></g>",
        [[[3, 2], [5, 4]]],
    ),
}
STRUCTURE: dict[str, tuple[str, list[Any]]] = {
    "document order": (
        "<g><line x2='1'/><g><line x2='2'/></g></g><line x2='3'/>",
        [[[0, 0], [1, 0]], [[0, 0], [2, 0]], [[0, 0], [3, 0]]],
    ),
    "link and switch": ("<a><switch><line x2='1'/></switch></a>", [[[0, 0], [1, 0]]]),
    "inner svg": ("<svg x='5' y='6'><line x2='1'/></svg>", [[[5, 6], [6, 6]]]),
    "inner svg with a viewBox": (
        "<svg x='5' width='20' height='20' viewBox='1 1 2 2'><path d='M1 1L3 3'/></svg>",
        [[[5, 0], [25, 20]]],
    ),
    "wide viewBox, centered": (
        "<svg width='20' height='20' viewBox='0 0 4 2'><path d='M0 0L4 2'/></svg>",
        [[[0, 5], [20, 15]]],
    ),
    "wide viewBox, at the bottom": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio='xMinYMax'><path d='M0 0L4 2'/></svg>",
        [[[0, 10], [20, 20]]],
    ),
    "wide viewBox, slice": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio='xMinYMid slice'><path d='M0 0L4 2'/></svg>",
        [[[0, 0], [40, 20]]],
    ),
    "wide viewBox, empty preserveAspectRatio": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio=' '><path d='M0 0L4 2'/></svg>",
        [[[0, 5], [20, 15]]],
    ),
    "wide viewBox, stretched": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio='none'><path d='M0 0L4 2'/></svg>",
        [[[0, 0], [20, 20]]],
    ),
    "percentages of the inner viewBox": (
        "<svg width='100%' height='100%' viewBox='0 0 2 1'><line x2='50%' y2='100%'/></svg>",
        [[[0, 0], [50, 50]]],
    ),
    "use": ("<defs><line id='a' x2='1'/></defs><use href='#a' x='3' y='4'/>", [[[3, 4], [4, 4]]]),
    "use with xlink:href": ("<defs><g id='a'><line x2='1'/></g></defs><use xlink:href='#a'/>", [[[0, 0], [1, 0]]]),
    "use with transforms": (
        "<defs><line id='a' x2='1' transform='scale(2)'/></defs><use href='#a' x='3' transform='scale(10)'/>",
        [[[30, 0], [50, 0]]],
    ),
    "use of a later element, twice": (
        "<use href='#a' y='1'/><use href='#a' y='2'/><line id='a' x2='1'/>",
        [[[0, 1], [1, 1]], [[0, 2], [1, 2]], [[0, 0], [1, 0]]],
    ),
    "use of a use": (
        "<defs><line id='a' x2='1'/><use id='b' href='#a' x='1'/></defs><use href='#b' x='1'/>",
        [[[2, 0], [3, 0]]],
    ),
    "use of a symbol": (
        "<symbol id='a' viewBox='0 0 1 1'><line x2='1'/></symbol><use href='#a' width='10' height='10' x='2'/>",
        [[[2, 0], [12, 0]]],
    ),
    "use of an svg": (
        "<defs><svg id='a' x='1' viewBox='0 0 1 1'><line x2='1'/></svg></defs><use href='#a' width='10' height='10'/>",
        [[[1, 0], [11, 0]]],
    ),
}
CASES = {**SHAPES, **TRANSFORMS, **STRUCTURE}


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
def test_straight_shape_has_exact_points(body: str, expected: list[Any], tmp_path: Path) -> None:
    strokes = parse_strokes(tmp_path / "x.svg", body)
    assert [len(stroke) for stroke in strokes] == [len(stroke) for stroke in expected]
    for stroke, points in zip(strokes, expected, strict=True):
        np.testing.assert_allclose(stroke, points, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("viewBox='-5 -5 200 100' width='calc(1px)' height='1'", [100, 50]),
        ("width='200' height='1in'", [100, 48]),
        ("", [50, 50]),
    ],
    ids=["viewBox", "width and height", "neither"],
)
def test_percentages_refer_to_viewbox_or_size(attributes: str, expected: list[float], tmp_path: Path) -> None:
    body = "<path d='M1 2L3 4'/><line x2='50%' y2='50%'/>"
    first, second = parse_strokes(tmp_path / "x.svg", body, attributes)
    np.testing.assert_array_equal(first, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(second[1], expected)


ROUND_SHAPES: dict[str, tuple[str, tuple[float, float], tuple[float, float]]] = {
    "circle": ("<circle cx='30' cy='20' r='10'/>", (30, 20), (10, 10)),
    "scaled circle": ("<circle r='50%' transform='scale(.1 .2)'/>", (0, 0), (3.952847075, 7.90569415)),
    "ellipse": ("<ellipse cx='5%' cy='20%' rx='10%' ry='3'/>", (5, 10), (10, 3)),
    "ellipse without ry": ("<ellipse rx='7'/>", (0, 0), (7, 7)),
    "ellipse with rx auto": ("<ellipse rx='auto' ry='7'/>", (0, 0), (7, 7)),
    "rounded rect": ("<rect x='10' y='20' width='40' height='30' rx='20' ry='15'/>", (30, 35), (20, 15)),
    "rect with large radius": ("<rect x='10' y='20' width='40' height='40' rx='99'/>", (30, 40), (20, 20)),
}


@pytest.mark.parametrize(("body", "center", "radii"), ROUND_SHAPES.values(), ids=ROUND_SHAPES)
def test_round_shape_is_closed_ellipse(body: str, center: Any, radii: Any, tmp_path: Path) -> None:
    (stroke,) = parse_strokes(tmp_path / "x.svg", body)
    unit = (stroke - center) / radii
    np.testing.assert_allclose(np.hypot(*unit.T), 1, atol=5e-6)
    np.testing.assert_array_equal(stroke[0], stroke[-1])
    # One turn, clockwise on the screen, with about as few points as the tolerance needs: 35 for a circle.
    turns = np.angle(np.exp(1j * np.diff(np.arctan2(unit[:, 1], unit[:, 0]))))
    assert turns.min() > 0
    assert turns.sum() == pytest.approx(2 * np.pi)
    assert len(stroke) <= 50
    angles = np.linspace(0, 2 * np.pi, 1000)
    ellipse = np.stack([np.cos(angles), np.sin(angles)], 1) * radii + center
    assert distances(ellipse, stroke).max() <= 2 * max(radii) / RESOLUTION


def test_rect_with_rounded_corners_has_right_extent_and_length(tmp_path: Path) -> None:
    (stroke,) = parse_strokes(tmp_path / "x.svg", "<rect x='10' y='20' width='50' height='40' rx='5' ry='10'/>")
    np.testing.assert_allclose(stroke[0], [15, 20])
    np.testing.assert_array_equal(stroke[0], stroke[-1])
    np.testing.assert_allclose(stroke.min(0), [10, 20], atol=1e-12)
    np.testing.assert_allclose(stroke.max(0), [60, 60], atol=1e-12)
    length = np.hypot(*np.diff(stroke, axis=0).T).sum()
    ellipse = 48.4422411  # circumference of an ellipse with radii 5 and 10, Ramanujan's approximation
    assert length == pytest.approx(2 * (40 + 20) + ellipse, rel=2e-3)


@pytest.mark.parametrize("name", ["#nothing", "other.svg#a", "#m", "", "data:,x", "l"])
def test_use_of_something_that_is_no_shape_is_reported(name: str, tmp_path: Path) -> None:
    body = f"<marker id='m'/><use href='{name}'/><line id='l' x2='1'/>"
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    assert drawings.stroke_counts.tolist() == [1]
    assert [remark.reason for remark in drawings.repaired] == ["invalid use"]


REPAIRED = {
    "unknown transform": ("<g transform='turn(5)'><line x2='1'/></g>", "transform", "<g> has transform 'tur"),
    "transform of a word": (
        "<line x2='1' transform='undefined'/>",
        "transform",
        "'undefined'; expected matrix, .*; ignored",
    ),
    "matrix of two numbers": ("<line x2='1' transform='matrix(1 2)'/>", "transform", "<line> has transform"),
    "transform without a closing parenthesis": ("<line x2='1' transform='rotate(5'/>", "transform", "'rotate\\(5'"),
    "scale by a word": ("<line x2='1' transform='scale(a)'/>", "transform", "expected matrix, translate"),
    "rotation by infinity": ("<line x2='1' transform='rotate(1e999)'/>", "transform", "<line> has transform"),
    "list with an unknown transform": (
        "<line x2='1' transform='scale(2) move(1)'/>",
        "transform",
        "<line> has transform",
    ),
    "rotation in px": ("<line x2='1' transform='rotate(5px)'/>", "transform", "'rotate\\(5px\\)'"),
    "unit inside a number": ("<line x2='1' transform='translate(1px2)'/>", "transform", "'translate\\(1px2\\)'"),
    "transform of a use": (
        "<defs><line id='a' x2='1'/></defs><use href='#a' transform='?'/>",
        "transform",
        "<use> has transform '\\?'",
    ),
    "length of a word": ("<circle r='big'/><line x2='1'/>", "length", "<circle> has r 'big'; expected .*; ignored"),
    "unknown unit": ("<circle r='5furlong'/><line x2='1'/>", "length", "<circle> has r '5furlong'"),
    "length of 200 digits": (f"<circle r='{'1' * 200}'/><line x2='1'/>", "length", "<circle> has r '1{60}'"),
    "viewport unit": ("<rect width='100vw' height='5'/><line x2='1'/>", "length", "width '100vw'"),
    "calc()": ("<line x2='1'/><line y2='calc(1px + 1%)'/>", "length", "<line> has y2 'calc"),
    "position of a use": ("<line id='a' x2='1'/><use href='#a' x='?'/>", "length", "<use> has x '\\?'; .*; ignored"),
    "size of an inner svg": ("<svg width='5vh'><line x2='1'/></svg>", "length", "<svg> has width '5vh'.*ignored"),
    "several lengths": ("<rect width='1vw'/><line x2='1'/><circle r='?'/>", "length", "<rect> has width '1vw'"),
}


@pytest.mark.parametrize(("body", "reason", "detail"), REPAIRED.values(), ids=REPAIRED)
def test_invalid_attribute_affects_only_its_element(body: str, reason: str, detail: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    (stroke,) = drawings.polylines(0)
    np.testing.assert_array_equal(stroke, [[0, 0], [1, 0]])
    (remark,) = drawings.repaired
    assert remark.reason == f"{reason} not understood"
    assert remark.detail.startswith(f"{tmp_path / 'x.svg'}: <")
    assert re.search(detail, remark.detail)
    assert len(remark.detail) < 400


@pytest.mark.parametrize("size", ["100vw", "calc(100% - 2px)", "undefined"])
def test_invalid_page_size_is_ignored(size: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document("<line x2='50%' y2='50%'/>", f"width='{size}' height='20'"))
    np.testing.assert_array_equal(drawings.polylines(0)[0], [[0, 0], [50, 10]])
    (remark,) = drawings.repaired
    assert remark.reason == "length not understood"
    assert remark.detail.endswith(f"<svg> has width {size!r}; expected a number with or without a unit; ignored")
