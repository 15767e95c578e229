"""Tests of the content of SVG files that is not imported: its counts by kind, and files of filled areas."""

from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.formats.svg_paint import is_transparent, is_zero, normalize_color
from mdnrnn.data.formats.svg_reader import parse_outlines
from tests.data.formats.svg_helpers import parse_svg, svg_document

LINE = "<path d='M0 0L1 1' stroke='red'/>"
AREA = "M0 0L4 0L4 4z"
LOST: dict[str, tuple[str, dict[str, int]]] = {
    "nothing": (LINE, {}),
    "text": ("<text>a<tspan>b</tspan></text><g><text/></g>", {"text elements": 2}),
    "text in defs": ("<defs><text>a</text></defs>", {}),
    "text twice": ("<defs><text id='a'/></defs><use href='#a'/><use href='#a'/>", {"text elements": 2}),
    "image": ("<image href='x.png'/>", {"image elements": 1}),
    "HTML": ("<foreignObject><p xmlns='x'/></foreignObject>", {"foreign objects": 1}),
    "clip": ("<g clip-path='url(#c)'><path d='M0 0' stroke='red'/></g>", {"clip paths": 1}),
    "clip of none": ("<g clip-path='none' mask='none'/>", {}),
    "clip in a style sheet": ("<style>g{clip-path:url(#c)}</style><g/>", {"clip paths": 1}),
    "masks": ("<g mask='url(#m)'/><path style='mask:url(#m)' d='M0 0L2 2' stroke='red'/>", {"masks": 2}),
    "filled": (f"<path d='{AREA}' fill='red'/><rect width='3' height='3'/>", {"filled elements": 2}),
    "undisplayed group": ("<g display='none'><g><path d=''/><text/></g><use href='#a'/></g>", {"hidden elements": 3}),
    "hidden": ("<path visibility='hidden' d='M0 0L1 1'/>", {"hidden elements": 1}),
    "opacity of a group": ("<g opacity='0.0'><line x2='1'/><line x2='2'/></g>", {"zero-opacity elements": 2}),
    "opacity of a stroke": ("<line stroke='red' fill='none' stroke-opacity='0%'/>", {"zero-opacity elements": 1}),
    "stroke of width 0": ("<line x2='1' stroke='red' fill='none' stroke-width='0px'/>", {"zero-opacity elements": 1}),
    "transparent colors": ("<line x2='1' stroke='#0000' fill='transparent'/>", {"zero-opacity elements": 1}),
    "no paint": ("<path d='M0 0L1 1' fill='none'/>", {"unpainted elements": 1}),
    "colors": ("<g stroke='#f00'><line x2='1'/></g><line x2='2' style='stroke:blue'/>", {"colors": 2}),
    "equal colors": ("<line x2='1' stroke='#FF0000'/><line x2='2' stroke='rgb(255, 0, 0)'/>", {}),
    "background": ("<rect width='100' height='50'/>", {}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "lost"), LOST.values(), ids=LOST)
def test_lost_content_is_counted_by_kind(body: str, lost: dict[str, int], tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(LINE + body))
    assert {remark.reason: remark.count for remark in drawings.lost} == lost
    assert all(remark.detail.startswith(f"{tmp_path / 'x.svg'}: ") for remark in drawings.lost)


def test_layers_and_physical_units_are_counted(tmp_path: Path) -> None:
    layer = "<g xmlns:i='http://www.inkscape.org/namespaces/inkscape' i:groupmode='layer'>{}</g>"
    for size, layers, expected in (
        ("width='10mm' height='5px'", 1, {"physical units": 1}),
        ("height='2.5e1in'", 3, {"physical units": 1, "layers": 3}),
        ("width='10px' height='5'", 1, {}),
        ("width='100%' height='5em'", 0, {}),
    ):
        content = svg_document(layer.format(LINE) * layers + LINE, f"viewBox='0 0 9 9' {size}")
        lost = parse_svg(tmp_path / "x.svg", content).lost
        assert {remark.reason: remark.count for remark in lost} == expected


FILLED = {
    "attribute": f"<g fill='#1d1d1d' stroke='none'><path d='{AREA}'/></g>",
    "style": f"<path d='{AREA}' style='fill:black'/>",
    "style sheet": f"<style>path{{fill:#000}}</style><path d='{AREA}'/>",
    "default fill": f"<path d='{AREA}'/>",
    "default fill, not quite closed": "<path d='M0 0L400 0L400 400L1 1'/>",
    "default fill of several subpaths": f"<path d='{AREA} M9 9C20 20 9 30 9 9'/>",
    "default fill of a shape": "<circle r='5'/>",
    "open": "<path fill='red' d='M0 0L4 0L4 4'/>",
    "gradient": f"<path fill='url(#g)' d='{AREA}'/>",
    "transparent stroke": f"<path fill='red' stroke='rgba(1,2,3,0)' d='{AREA}'/>",
}


@pytest.mark.parametrize("body", FILLED.values(), ids=FILLED)
def test_file_with_fills_only_is_dropped_with_the_count(body: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    (remark,) = drawings.dropped
    assert (remark.reason, remark.malformed) == ("fills without strokes", False)
    assert remark.detail == (
        f"{tmp_path / 'x.svg'} has 1 filled element and no strokes; import their outlines with mdnrnn data import "
        "--outlines"
    )
    outlines = parse_outlines(tmp_path / "x.svg")
    assert len(outlines) == 1
    assert not outlines.lost


def test_remark_on_an_empty_file_names_its_content(tmp_path: Path) -> None:
    body = "<text/><image/><text/><path fill='none' d='M0 0L1 1'/>"
    (remark,) = parse_svg(tmp_path / "x.svg", svg_document(body)).dropped
    assert remark.reason == "empty"
    assert remark.detail.endswith("x.svg has no points, but 2 text elements, 1 image element, 1 unpainted element")


NOT_FILLED = {
    "open path without paint": "<path d='M0 0L4 0L4 4'/>",
    "path without paint and without an area": "<path d='M0 0L4 4z'/>",
    "dot without paint": "<path d='M5 5z'/>",
    "one open subpath without paint": f"<path d='{AREA}M9 9L20 9'/>",
    "fill and stroke": f"<path d='{AREA}' fill='red' stroke='red'/>",
    "default fill and stroke": f"<path d='{AREA}' stroke='red'/>",
    "stroke of a group": f"<g style='fill:none;stroke:#000000'><path d='{AREA}'/></g>",
    "stroke of the root": f"<style>svg{{stroke:black}}</style><path d='{AREA}'/>",
}


@pytest.mark.parametrize("body", NOT_FILLED.values(), ids=NOT_FILLED)
def test_stroked_and_open_elements_are_strokes(body: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    assert len(drawings) == 1
    assert not drawings.lost


def test_fault_of_hidden_line_has_three_paths(tmp_path: Path) -> None:
    body = (
        "<style>.h{display:none}.s{fill:none;stroke:#000}</style><g class='s'><path d='M10 50V90H60V50'/>"
        "<path d='M5 55L35 20L65 55'/><path class='h' d='M0 0L9 9'/><path d='M30 90V70H42V90'/>"
        "<path style='visibility:hidden' d='M0 9L9 0'/></g>"
    )
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    assert drawings.stroke_lengths.tolist() == [4, 3, 4]
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("hidden elements", 2)]


ASPECT_RATIOS = {
    "wide page": ("width='200' height='100' preserveAspectRatio='none'", [200, 100]),
    "tall page": ("width='100' height='300' preserveAspectRatio='none'", [100, 300]),
    "page of other units": ("width='2in' height='1in' preserveAspectRatio=' none '", [192, 96]),
    "same aspect ratio": ("width='300' height='300' preserveAspectRatio='none'", [100, 100]),
    "default": ("width='200' height='100'", [100, 100]),
    "percentages": ("width='100%' height='50%' preserveAspectRatio='none'", [100, 100]),
    "missing height": ("width='200' preserveAspectRatio='none'", [100, 100]),
    "invalid height": ("width='200' height='tall' preserveAspectRatio='none'", [100, 100]),
    "height 0": ("width='200' height='0' preserveAspectRatio='none'", [100, 100]),
}


@pytest.mark.parametrize(("attributes", "size"), ASPECT_RATIOS.values(), ids=ASPECT_RATIOS)
def test_root_is_stretched_without_preserved_aspect_ratio(attributes: str, size: list[int], tmp_path: Path) -> None:
    body = "<rect width='100' height='100'/><path d='M0 0L100 100' stroke='red'/>"
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body, f"viewBox='0 0 100 100' {attributes}"))
    np.testing.assert_allclose(drawings.polylines(0), [[[0, 0], size]])
    assert [remark.reason for remark in drawings.repaired] == ["background"]


def test_transparent_paints_are_recognized() -> None:
    for color in ("none", " None", "transparent", "#1230", "#12345600", "rgba(1, 2, 3, 0)", "hsla(1,2%,3%,.0)"):
        assert is_transparent(color)
    for color in ("rgb(0,0,0)", "#000", "#1231", "rgb(1 2 3 / 1)", "rgba(0,0,0,0.1)", "url(#none)", "none" * 30):
        assert not is_transparent(color)
    assert is_transparent("rgb(1 2 3 / 0%)")
    assert [is_zero(text) for text in ("0", "0.0%", "-1", "1e-9", "", "none")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert normalize_color("black") == normalize_color(" #000000")
    assert normalize_color("url(#A)") == "url(#a)"
