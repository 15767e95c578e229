"""Tests of SVG visibility, paint and backgrounds: the elements that are strokes of the drawing."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.formats.svg_helpers import parse_strokes, parse_svg, svg_document

SQUARE: list[list[float]] = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
VISIBLE: dict[str, tuple[str, list[Any]]] = {
    "filled polygon": ("<polygon points='0 0 10 0 10 10 0 10' stroke='none'/>", [SQUARE]),
    "visible in a hidden group": (
        "<g visibility='hidden'><line x2='1' style='visibility:visible'/></g>",
        [[[0, 0], [1, 0]]],
    ),
    "stroked in a group without stroke": (
        "<g fill='none' stroke='none'><line x2='1' stroke='red'/></g>",
        [[[0, 0], [1, 0]]],
    ),
    "style overrides attribute": (
        "<line x2='1' fill='none' stroke='none' style='stroke:red !important'/>",
        [[[0, 0], [1, 0]]],
    ),
}


@pytest.mark.parametrize(("body", "expected"), VISIBLE.values(), ids=VISIBLE)
def test_visible_element_is_a_stroke(body: str, expected: list[Any], tmp_path: Path) -> None:
    np.testing.assert_array_equal(parse_strokes(tmp_path / "x.svg", body), expected)


NOT_RENDERED = (
    "defs", "clipPath", "mask", "pattern", "marker", "symbol", "title", "text", "style", "metadata", "foreignObject",
    "desc", "linearGradient",
)  # fmt: skip
INVISIBLE = {
    **{tag: f"<{tag}><path d='M0 0L1 1'/></{tag}>" for tag in NOT_RENDERED},
    "no elements": "",
    "no data": "<path/><path d=' '/><polyline points=''/>",
    "move without line": "<path d='M1 1'/><path d='m1 1 M5 5'/><polyline points='5 5'/>",
    "other namespace": "<path xmlns='http://example.org' d='M0 0L1 1'/>",
    "display none": "<path display='none' d='M0 0L1 1'/>",
    "display none in the style": "<g style='fill:red; display:none'><path d='M0 0L1 1'/></g>",
    "visible in display none": "<g display='none'><path visibility='visible' d='M0 0L1 1'/></g>",
    "hidden": "<g visibility='hidden'><path d='M0 0L1 1'/></g>",
    "collapsed in the style": "<path style='visibility:collapse' d='M0 0L1 1'/>",
    "neither fill nor stroke": "<path fill='none' d='M0 0L1 1'/>",
    "neither fill nor stroke, inherited": "<g style='fill:none'><path style='stroke:none' d='M0 0L1 1'/></g>",
    "no extent": "<circle/><circle r='-1'/><ellipse rx='5' ry='0'/><rect width='5'/><rect height='5'/>",
    "use of display none": "<defs><path id='a' d='M0 0L1 1' display='none'/></defs><use href='#a'/>",
    "inner svg of width 0": "<svg width='0' height='5'><path d='M0 0L1 1'/></svg>",
}


@pytest.mark.parametrize("body", INVISIBLE.values(), ids=INVISIBLE)
def test_invisible_element_is_no_stroke(body: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    assert len(drawings) == 0
    assert [(remark.reason, remark.malformed) for remark in drawings.dropped] == [("empty", False)]
    assert len(parse_strokes(tmp_path / "x.svg", f"{body}<line x2='1'/>")) == 1


def test_root_with_display_none_is_empty(tmp_path: Path) -> None:
    assert len(parse_svg(tmp_path / "x.svg", svg_document("<line x2='1'/>", "display='none'"))) == 0


BACKGROUNDS = {
    "Figma": ("<rect width='100' height='50' fill='white'/>", ""),
    "Excalidraw": ("<rect x='0' y='0' width='100' height='50' fill='#ffffff'></rect>", ""),
    "percentages": ("<rect width='100%' height='100%'/>", ""),
    "percentages without a height": ("<rect width='100%' height='100%'/>", "width='100%'"),
    "page without a viewBox": ("<rect width='1in' height='20'/>", "width='96' height='20px'"),
    "page away from the origin": ("<rect x='-50' y='-9' width='100' height='50'/>", "viewBox='-50 -9 100 50'"),
    "larger than the page": ("<rect x='-10' y='-10' width='500' height='500' stroke='none'/>", ""),
    "rounded numbers": ("<rect width='99.5' height='49.9'/>", ""),
    "path": ("<path d='M0 0h100v50H0z'/>", ""),
    "counterclockwise path with the last side": ("<path d='M100 0H0v50h100V0z'/>", ""),
    "open path": ("<path d='M0 50V0h100v50'/>", ""),
    "polygon": ("<polygon points='0 0 100 0 100 50 0 50'/>", ""),
    "translated and scaled": (
        "<g transform='translate(10 20) scale(10)'><rect x='-1' y='-2' width='10' height='5'/></g>",
        "",
    ),
    "rotated by 180 degrees": ("<rect transform='rotate(180 50 25)' width='100' height='50'/>", ""),
}


@pytest.mark.parametrize(("body", "attributes"), BACKGROUNDS.values(), ids=BACKGROUNDS)
def test_filled_rectangle_over_the_page_is_left_out(body: str, attributes: str, tmp_path: Path) -> None:
    page = attributes or "viewBox='0 0 100 50'"
    content = svg_document(f"{body}<path d='M1 1L3 3' fill='none' stroke='red'/>", page)
    drawings = parse_svg(tmp_path / "x.svg", content)
    np.testing.assert_array_equal(drawings.polylines(0), [[[1, 1], [3, 3]]])
    (remark,) = drawings.repaired
    assert remark.reason == "background"
    assert re.match(r".*x\.svg: a <\w+> without a stroke fills the whole page; ignored", remark.detail)


FRAMES = {
    "fill and stroke": "<rect width='100' height='50' stroke='red'/>",
    "stroke": "<rect width='100' height='50' stroke='red' fill='none'/>",
    "stroke of the group": "<g stroke='red'><path d='M0 0h100v50H0z'/></g>",
    "smaller than the page": "<rect width='98' height='50'/>",
    "half outside the page": "<rect x='50' width='100' height='50'/>",
    "rounded corners": "<rect width='100' height='50' rx='9'/>",
    "ellipse": "<ellipse cx='50' cy='25' rx='90' ry='90'/>",
    "skewed": "<rect x='-100' y='-100' width='300' height='300' transform='skewX(9)'/>",
    "triangle": "<path d='M0 0H100V50z'/>",
    "bow tie": "<path d='M0 0L100 50H0L100 0z'/>",
    "curved side": "<path d='M0 0Q50 9 100 0V50H0z'/>",
    "notch": "<path d='M0 0H100V50H50V25H0z'/>",
    "hole": "<path d='M0 0H100V50H0zM5 5h9v9h-9z'/>",
}


@pytest.mark.parametrize("body", FRAMES.values(), ids=FRAMES)
def test_shape_that_resembles_a_background_is_kept(body: str, tmp_path: Path) -> None:
    assert len(parse_strokes(tmp_path / "x.svg", body)) == (2 if "zM" in body else 1)
