"""SVG: what is drawn is read, within the tolerance, and nothing that a file holds does harm."""

import re
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import svgelements
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import svg_writer
from mdnrnn.data.formats.bezier import PathBuilder
from mdnrnn.data.formats.svg_path import parse_path
from mdnrnn.data.formats.flattening import RESOLUTION
from mdnrnn.data.formats.svg_reader import FORMAT, parse
from mdnrnn.data.formats.svg_writer import write
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Polyline, from_polylines
from mdnrnn.errors import DataError, InputError
from tests.data.formats.fuzzing import EXAMPLES
from tests.data.formats.samples import INKSCAPE_SVG, KANJIVG_SVG

SECONDS = 20.0
"""What the worst file may take on a slow and busy machine; it takes 3 on one that is not."""
INK = 'fill="none" stroke="black"'


ILLUSTRATOR = """<?xml version="1.0" encoding="utf-8"?>
<!-- Generator: Adobe Illustrator 13.0.0, SVG Export Plug-In . SVG Version: 6.00 Build 14948)  -->
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
 <!ENTITY ns_extend "http://ns.adobe.com/Extensibility/1.0/">
 <!ENTITY ns_ai "http://ns.adobe.com/AdobeIllustrator/10.0/">
 <!ENTITY ns_svg "http://www.w3.org/2000/svg">
 <!ENTITY ns_xlink "http://www.w3.org/1999/xlink">
 <!ENTITY st0 "fill:none;stroke:#000000;">
]>
<svg version="1.1" id="Layer_1" xmlns:x="&ns_extend;" xmlns:i="&ns_ai;" xmlns="&ns_svg;" xmlns:xlink="&ns_xlink;"
  width="100px" height="50px" viewBox="0 0 100 50" xml:space="preserve">
<switch>
 <foreignObject requiredExtensions="&ns_ai;" x="0" y="0" width="1" height="1">
  <i:pgfRef xlink:href="#adobe_illustrator_pgf"></i:pgfRef>
 </foreignObject>
 <g i:extraneous="self">
  <line style="&st0;" x1="10" y1="10" x2="90" y2="10"/>
  <path style="&st0;" d="M10,20c30,30,50-30,80,0"/>
  <rect x="5" y="5" style="&st0;" width="90" height="40"/>
 </g>
</switch>
<i:pgf id="adobe_illustrator_pgf"><![CDATA[eJzsvWmPJEeS]]></i:pgf>
</svg>
"""


def document(body: str, attributes: str = 'viewBox="0 0 100 50"') -> str:
    """A whole SVG around some elements."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{body}</svg>'
    )


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each example overwrites."""
    return tmp_path_factory.mktemp("svg") / "x.svg"


def read(path: Path, text: str | bytes) -> DrawingBatch:
    """What a file of this text holds."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return parse(path)


def strokes_of(path: Path, body: str, attributes: str = 'viewBox="0 0 100 50"') -> list[Polyline]:
    """The one drawing of some elements."""
    drawings = read(path, document(body, attributes))
    assert len(drawings) == 1
    assert not drawings.repaired
    return drawings.polylines(0)


def distances(points: np.ndarray, polyline: np.ndarray) -> np.ndarray:
    """From points (n, 2) to a polyline (m, 2), shape (n,)."""
    start, chord = polyline[:-1], np.diff(polyline, axis=0)
    offset = points[:, None] - start
    square = (chord**2).sum(1)
    along = np.clip((offset * chord).sum(2) / np.where(square > 0, square, 1), 0, 1)
    return np.asarray(np.hypot(*np.moveaxis(offset - along[..., None] * chord, 2, 0)).min(1))


def test_the_format_is_one_drawing_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    drawings = read(path, document("<path d='M0 0L1 1'/>"))
    assert list(FORMAT.chunks(path)) == [path]
    assert drawings.records == [(str(path), None, None, None, None, None)]


RECOGNISED: dict[str, tuple[str, bytes, bool]] = {
    "plain": ("x.svg", b"<svg xmlns='...'>", True),
    "another ending": ("x.xml", b"<svg>", True),
    "a byte order mark and white space": ("x", b"\xef\xbb\xbf \n<svg/>", True),
    "a prefix": ("x", b"<?xml version='1.0'?><svg:svg xmlns:svg='...'>", True),
    "KanjiVG": ("x", KANJIVG_SVG.encode(), True),
    "UTF-16": ("x", "<?xml version='1.0'?><svg>".encode("utf-16"), True),
    "a comment longer than the head": ("x.svg", b"<?xml version='1.0'?><!-- " + b"x" * 4000, True),
    "the same, called otherwise": ("x.xml", b"<?xml version='1.0'?><!-- " + b"x" * 4000, False),
    "HTML with an SVG in it": ("x.svg", b"<!DOCTYPE html><html><body><svg>", False),
    "InkML": ("x.svg", b"<ink xmlns='http://www.w3.org/2003/InkML'>", False),
    "an SVG in a comment": ("x.svg", b"<!-- <svg> --><ink>", False),
    "a word that begins like it": ("x", b"<svgish>", False),
    "text": ("x.svg", b"1,2,3", False),
    "nothing": ("x.svg", b"", False),
}


@pytest.mark.parametrize(("name", "head", "expected"), RECOGNISED.values(), ids=RECOGNISED)
def test_it_is_recognized_by_its_root(name: str, head: bytes, expected: bool) -> None:
    assert FORMAT.recognizes(Path(name), head[:4096]) is expected


SQUARE: list[list[float]] = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
STRAIGHT: dict[str, tuple[str, list[Any]]] = {
    "line": ("<line x1='1' y1='2' x2='3.5' y2='-4e0'/>", [[[1, 2], [3.5, -4]]]),
    "line from the origin": ("<line x2='3' y2='4'/>", [[[0, 0], [3, 4]]]),
    "polyline": ("<polyline points='1,2 3-4,.5.5'/>", [[[1, 2], [3, -4], [0.5, 0.5]]]),
    "polygon": ("<polygon points='1 2,3 4 5 0'/>", [[[1, 2], [3, 4], [5, 0], [1, 2]]]),
    "polygon that ends where it began": ("<polygon points='1 2,3 4 1 2'/>", [[[1, 2], [3, 4], [1, 2]]]),
    "rect": ("<rect width='10' height='10'/>", [SQUARE]),
    "rect with one radius of 0": ("<rect width='10' height='10' rx='0' ry='3'/>", [SQUARE]),
    "M L H V Z": ("<path d='M0 0 L10 0 V10 H0 Z'/>", [SQUARE]),
    "m l h v z": ("<path d='m5 5 m-5-5 l10 0 v10 h-10 z'/>", [SQUARE]),
    "M with further pairs": ("<path d='M0 0 10 0 10 10 0 10z'/>", [SQUARE]),
    "m with further pairs": ("<path d='m0,0,10,0,0,10,-10,0Z'/>", [SQUARE]),
    "what follows z": ("<path d='M1 1h2v2zl5 5'/>", [[[1, 1], [3, 1], [3, 3], [1, 1]], [[1, 1], [6, 6]]]),
    "m after z is from the start": (
        "<path d='M1 1h2v2zm5 5h1'/>",
        [[[1, 1], [3, 1], [3, 3], [1, 1]], [[6, 6], [7, 6]]],
    ),
    "a subpath each move": ("<path d='M0 0L1 1M2 2L3 3M9 9'/>", [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]),
    "a dot, drawn to itself": ("<path d='M5 6h0'/>", [[[5, 6]]]),
    "a dot, closed": ("<path d='M5 6z'/>", [[[5, 6]]]),
    "a dot, drawn thrice": ("<path d='M5 6l0 0C5 6 5 6 5 6'/>", [[[5, 6]]]),
    "an arc without a radius": ("<path d='M0 0A0 5 0 0 0 3 4'/>", [[[0, 0], [3, 4]]]),
    "an arc that goes nowhere": ("<path d='M1 2A5 5 0 0 0 1 2L3 3'/>", [[[1, 2], [3, 3]]]),
    "a straight cubic": ("<path d='M0 0C0 0 9 9 9 9'/>", [[[0, 0], [9, 9]]]),
    "numbers as short as can be": ("<path d='M-.5.5.25-1e1+1E-1-2'/>", [[[-0.5, 0.5], [0.25, -10], [0.1, -2]]]),
    "units": ("<line x1='1in' y1='2.54cm' x2='25.4mm' y2='72pt'/>", [[[96, 96], [96, 96]][:1]]),
    "more units": ("<line x1='6pc' y1='5px' x2='101.6Q' y2='7'/>", [[[96, 5], [96, 7]]]),
    "percentages": ("<line x1='10%' y1='10%' x2='100%' y2='50%'/>", [[[10, 5], [100, 25]]]),
    "geometry in the style": ("<rect style='width:10px; height: 10'/>", [SQUARE]),
    "translate": ("<path transform='translate(3)' d='M0 0L1 1'/>", [[[3, 0], [4, 1]]]),
    "translate by two": ("<path transform='translate(3,-4)' d='M0 0L1 1'/>", [[[3, -4], [4, -3]]]),
    "scale": ("<path transform='scale(2)' d='M1 1L2 3'/>", [[[2, 2], [4, 6]]]),
    "scale by two": ("<path transform='scale(2 -1)' d='M1 1L2 3'/>", [[[2, -1], [4, -3]]]),
    "rotate": ("<path transform='rotate(90)' d='M1 0L2 1'/>", [[[0, 1], [-1, 2]]]),
    "rotate about a point": ("<path transform='rotate(180 5 5)' d='M1 0L2 1'/>", [[[9, 10], [8, 9]]]),
    "translate by pixels": ("<path transform='translate(3px,-4PX)' d='M0 0L1 1'/>", [[[3, -4], [4, -3]]]),
    "rotate by degrees": ("<path transform='rotate(90deg)' d='M1 0L2 1'/>", [[[0, 1], [-1, 2]]]),
    "rotate by degrees about a point": ("<path transform='rotate(180.deg 5 5)' d='M1 0L2 1'/>", [[[9, 10], [8, 9]]]),
    "skew by degrees": ("<path transform='skewX( 45deg )' d='M1 1L2 3'/>", [[[2, 1], [5, 3]]]),
    "skewX": ("<path transform='skewX(45)' d='M1 1L2 3'/>", [[[2, 1], [5, 3]]]),
    "skewY": ("<path transform='skewY(45)' d='M1 1L2 3'/>", [[[1, 2], [2, 5]]]),
    "matrix": ("<path transform='matrix(1 2 3 4 5 6)' d='M1 1L0 1'/>", [[[9, 12], [8, 10]]]),
    "the last transform first": ("<path transform='translate(1) scale(2)' d='M1 1L2 2'/>", [[[3, 2], [5, 4]]]),
    "the inner transform first": (
        "<g transform='translate(1)'><g><path transform='scale(2)' d='M1 1L2 2'/></g></g>",
        [[[3, 2], [5, 4]]],
    ),
    "document order": (
        "<g><line x2='1'/><g><line x2='2'/></g></g><line x2='3'/>",
        [[[0, 0], [1, 0]], [[0, 0], [2, 0]], [[0, 0], [3, 0]]],
    ),
    "a link and a switch": ("<a><switch><line x2='1'/></switch></a>", [[[0, 0], [1, 0]]]),
    "inner svg": ("<svg x='5' y='6'><line x2='1'/></svg>", [[[5, 6], [6, 6]]]),
    "inner svg with a viewBox": (
        "<svg x='5' width='20' height='20' viewBox='1 1 2 2'><path d='M1 1L3 3'/></svg>",
        [[[5, 0], [25, 20]]],
    ),
    "a wide viewBox, centered": (
        "<svg width='20' height='20' viewBox='0 0 4 2'><path d='M0 0L4 2'/></svg>",
        [[[0, 5], [20, 15]]],
    ),
    "a wide viewBox, at the end": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio='xMinYMax'><path d='M0 0L4 2'/></svg>",
        [[[0, 10], [20, 20]]],
    ),
    "a wide viewBox, filling": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio='xMinYMid slice'><path d='M0 0L4 2'/></svg>",
        [[[0, 0], [40, 20]]],
    ),
    "a wide viewBox, with no word for it": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio=' '><path d='M0 0L4 2'/></svg>",
        [[[0, 5], [20, 15]]],
    ),
    "a wide viewBox, stretched": (
        "<svg width='20' height='20' viewBox='0 0 4 2' preserveAspectRatio='none'><path d='M0 0L4 2'/></svg>",
        [[[0, 0], [20, 20]]],
    ),
    "percentages of the inner viewBox": (
        "<svg width='100%' height='100%' viewBox='0 0 2 1'><line x2='50%' y2='100%'/></svg>",
        [[[0, 0], [50, 50]]],
    ),
    "use": ("<defs><line id='a' x2='1'/></defs><use href='#a' x='3' y='4'/>", [[[3, 4], [4, 4]]]),
    "use with an xlink": ("<defs><g id='a'><line x2='1'/></g></defs><use xlink:href='#a'/>", [[[0, 0], [1, 0]]]),
    "use moves first": (
        "<defs><line id='a' x2='1' transform='scale(2)'/></defs><use href='#a' x='3' transform='scale(10)'/>",
        [[[30, 0], [50, 0]]],
    ),
    "use of what stands later, twice": (
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
    "an outline of what is filled": ("<polygon points='0 0 10 0 10 10 0 10' stroke='none'/>", [SQUARE]),
    "visible in what is hidden": (
        "<g visibility='hidden'><line x2='1' style='visibility:visible'/></g>",
        [[[0, 0], [1, 0]]],
    ),
    "stroked in what is not": ("<g fill='none' stroke='none'><line x2='1' stroke='red'/></g>", [[[0, 0], [1, 0]]]),
    "style before attribute": (
        "<line x2='1' fill='none' stroke='none' style='stroke:red !important'/>",
        [[[0, 0], [1, 0]]],
    ),
}


@pytest.mark.parametrize(("body", "expected"), STRAIGHT.values(), ids=STRAIGHT)
def test_straight_lines_are_where_they_were_put(body: str, expected: list[Any], tmp_path: Path) -> None:
    strokes = strokes_of(tmp_path / "x.svg", body)
    assert [len(stroke) for stroke in strokes] == [len(stroke) for stroke in expected]
    for got, wanted in zip(strokes, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("viewBox='-5 -5 200 100' width='calc(1px)' height='1'", [100, 50]),
        ("width='200' height='1in'", [100, 48]),
        ("", [50, 50]),
    ],
    ids=["of the viewBox", "of the size without one", "of 100 without either"],
)
def test_raw_units_and_percentages(attributes: str, expected: list[float], tmp_path: Path) -> None:
    body = "<path d='M1 2L3 4'/><line x2='50%' y2='50%'/>"
    first, second = strokes_of(tmp_path / "x.svg", body, attributes)
    np.testing.assert_array_equal(first, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(second[1], expected)


NOT_DRAWN = {
    **{
        tag: f"<{tag}><path d='M0 0L1 1'/></{tag}>"
        for tag in (
            "defs",
            "clipPath",
            "mask",
            "pattern",
            "marker",
            "symbol",
            "title",
            "text",
            "style",
            "metadata",
            "foreignObject",
            "desc",
            "linearGradient",
        )
    },
    "nothing": "",
    "no data": "<path/><path d=' '/><polyline points=''/>",
    "a move alone": "<path d='M1 1'/><path d='m1 1 M5 5'/><polyline points='5 5'/>",
    "another namespace": "<path xmlns='http://example.org' d='M0 0L1 1'/>",
    "no display": "<path display='none' d='M0 0L1 1'/>",
    "no display by style": "<g style='fill:red; display:none'><path d='M0 0L1 1'/></g>",
    "visible in no display": "<g display='none'><path visibility='visible' d='M0 0L1 1'/></g>",
    "hidden": "<g visibility='hidden'><path d='M0 0L1 1'/></g>",
    "collapsed by style": "<path style='visibility:collapse' d='M0 0L1 1'/>",
    "neither filled nor stroked": "<path fill='none' d='M0 0L1 1'/>",
    "neither, by its group": "<g style='fill:none'><path style='stroke:none' d='M0 0L1 1'/></g>",
    "no extent": "<circle/><circle r='-1'/><ellipse rx='5' ry='0'/><rect width='5'/><rect height='5'/>",
    "a use of what has no display": "<defs><path id='a' d='M0 0L1 1' display='none'/></defs><use href='#a'/>",
    "an inner svg of no size": "<svg width='0' height='5'><path d='M0 0L1 1'/></svg>",
}


@pytest.mark.parametrize("body", NOT_DRAWN.values(), ids=NOT_DRAWN)
def test_what_is_not_drawn_is_no_stroke(body: str, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document(body))
    assert len(drawings) == 0
    assert [(drop.reason, drop.malformed) for drop in drawings.dropped] == [("empty", False)]
    assert len(strokes_of(tmp_path / "x.svg", f"{body}<line x2='1'/>")) == 1


def test_a_root_without_display_is_empty(tmp_path: Path) -> None:
    assert len(read(tmp_path / "x.svg", document("<line x2='1'/>", "display='none'"))) == 0


CURVED = {
    "C and S": "M20,40 C40,10 65,10 95,40 S150,70 180,40",
    "c and s": "m20,40c20-30,45-30,75,0s55,30,85,0 20-50 40 10",
    "S alone": "M0 0S50 100 100 0S120-50 200 0",
    "S after a line": "M0 0C0 50 50 50 50 0L80 0S90 50 120 0",
    "Q and T": "M0 0Q50 100 100 0T200 0T250 30",
    "q and t": "m10 10q50 100 100 0t100 0 20 30",
    "T alone": "M0 0T50 50Q100 0 150 50",
    "a cusp": "M0 0C100 100 0 100 100 0",
    "a loop": "M0 0C200 100-100 100 100 0z",
    "ends that meet": "M0 0C50 100 100 50 0 0",
    "A": "".join(f"M125,75A100,50 0 {flags} 225,125" for flags in ("0,0", "0,1", "1,0", "1,1")),
    "a turned": "M275,75a60,20 30 0,0 80,50M275,75a60,20 30 1,1 80,50M275 75a60,20-70 1,0 80,50 60 20 10 0 1 5 5",
    "a too small to reach": "M10 10a5 2 45 0 1 60 20a1 1 0 1 0 50 0",
    "a with flags glued": "M10 10a50 50 0 0150 50a50 50 0 1050-50",
    "a nearly whole circle": "M50 50a40 40 0 1 1-0.01 0z",
    "large beside small": "M0 0L1000 0 1000 1000M500 500c1 0 2 1 2 2s-1 2-2 2-2-1-2-2 1-2 2-2z",
}


@pytest.mark.parametrize("data", CURVED.values(), ids=CURVED)
def test_curves_are_within_the_tolerance_of_those_of_svgelements(data: str, tmp_path: Path) -> None:
    strokes = strokes_of(tmp_path / "x.svg", f"<path d='{data}'/>")
    t = np.linspace(0, 1, 400)
    truths = [
        np.array([[*segment.point(at)] for segment in subpath if len(segment) > 1 for at in t])
        for subpath in svgelements.Path(data).as_subpaths()
    ]
    assert len(strokes) == len(truths)
    side = np.ptp(np.concatenate(truths), axis=0).max()
    for stroke, truth in zip(strokes, truths, strict=True):
        np.testing.assert_allclose(stroke[[0, -1]], truth[[0, -1]], atol=1e-9)
        assert distances(truth, stroke).max() <= side / RESOLUTION
        # Its points lie on the curve; the arcs of either side are of cubics or exact.
        assert distances(stroke, truth).max() <= side / RESOLUTION / 100


@pytest.mark.parametrize(
    ("data", "same"),
    [("Q50 100 100 0S120-50 200 0", "Q50 100 100 0C100 0 120-50 200 0"), ("C0 9 9 9 9 0T80 5", "C0 9 9 9 9 0L80 5")],
    ids=["S after Q", "T after C"],
)
def test_a_smooth_curve_after_one_of_another_kind_leaves_from_its_start(data: str, same: str, tmp_path: Path) -> None:
    """As SVG has it; svgelements mirrors any handle."""
    (got,), (wanted,) = (strokes_of(tmp_path / "x.svg", f"<path d='M0 0{text}'/>") for text in (data, same))
    for one, other in ((got, wanted), (wanted, got)):
        np.testing.assert_allclose(distances(one, other), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("body", "center", "radii"),
    [
        ("<circle cx='30' cy='20' r='10'/>", (30, 20), (10, 10)),
        ("<circle r='50%' transform='scale(.1 .2)'/>", (0, 0), (3.952847075, 7.90569415)),
        ("<ellipse cx='5%' cy='20%' rx='10%' ry='3'/>", (5, 10), (10, 3)),
        ("<ellipse rx='7'/>", (0, 0), (7, 7)),
        ("<ellipse rx='auto' ry='7'/>", (0, 0), (7, 7)),
        ("<rect x='10' y='20' width='40' height='30' rx='20' ry='15'/>", (30, 35), (20, 15)),
        ("<rect x='10' y='20' width='40' height='40' rx='99'/>", (30, 40), (20, 20)),
    ],
)
def test_round_shapes_are_closed_and_round(body: str, center: Any, radii: Any, tmp_path: Path) -> None:
    (stroke,) = strokes_of(tmp_path / "x.svg", body)
    unit = (stroke - center) / radii
    np.testing.assert_allclose(np.hypot(*unit.T), 1, atol=5e-6)
    np.testing.assert_array_equal(stroke[0], stroke[-1])
    # Once around, clockwise on the screen, with as few points as the tolerance asks for: 35 for a circle.
    turns = np.angle(np.exp(1j * np.diff(np.arctan2(unit[:, 1], unit[:, 0]))))
    assert turns.min() > 0
    assert turns.sum() == pytest.approx(2 * np.pi)
    assert len(stroke) <= 50
    angles = np.linspace(0, 2 * np.pi, 1000)
    truth = np.stack([np.cos(angles), np.sin(angles)], 1) * radii + center
    assert distances(truth, stroke).max() <= 2 * max(radii) / RESOLUTION


def test_a_rect_with_round_corners(tmp_path: Path) -> None:
    (stroke,) = strokes_of(tmp_path / "x.svg", "<rect x='10' y='20' width='50' height='40' rx='5' ry='10'/>")
    np.testing.assert_allclose(stroke[0], [15, 20])
    np.testing.assert_array_equal(stroke[0], stroke[-1])
    np.testing.assert_allclose(stroke.min(0), [10, 20], atol=1e-12)
    np.testing.assert_allclose(stroke.max(0), [60, 60], atol=1e-12)
    length = np.hypot(*np.diff(stroke, axis=0).T).sum()
    around = 2 * (40 + 20) + 48.4422411  # the circumference of an ellipse of radii 5 and 10, by Ramanujan
    assert length == pytest.approx(around, rel=2e-3)


coordinate = st.floats(-1000, 1000, allow_nan=False, width=32)
transforms = st.tuples(
    st.sampled_from(["translate", "scale", "rotate", "skewX", "skewY", "matrix"]),
    st.lists(st.floats(-80, 80).map(lambda value: round(value, 3)), min_size=6, max_size=6),
).map(
    lambda drawn: "{}({})".format(
        drawn[0],
        " ".join(map(str, drawn[1][: {"translate": 2, "scale": 2, "rotate": 3, "matrix": 6}.get(drawn[0], 1)])),
    )
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(arrays(np.float64, (4, 2), elements=coordinate), st.lists(transforms, max_size=3))
def test_no_point_of_a_cubic_is_off_by_more_than_the_tolerance(
    scratch: Path, control: np.ndarray, chain: list[str]
) -> None:
    data = "M{} {}C{} {} {} {} {} {}".format(*control.ravel().tolist())
    body = f"<path d='{data}'/>"
    for transform in chain:
        body = f"<g transform='{transform}'>{body}</g>"
    matrix = np.eye(3)
    for transform in chain:
        a, b, c, d, e, f = _matrix(transform)
        matrix = np.array([[a, c, e], [b, d, f], [0, 0, 1]]) @ matrix
    t = np.linspace(0, 1, 2000)[:, None]
    powers = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3]
    curve = sum(power * point for power, point in zip(powers, control, strict=True))
    curve = curve @ matrix[:2, :2].T + matrix[:2, 2]
    (stroke,) = strokes_of(scratch, body)
    side = np.ptp(curve, axis=0).max()
    size = np.abs(curve).max()
    assert (
        distances(curve, stroke if len(stroke) > 1 else stroke.repeat(2, axis=0)).max() <= side / RESOLUTION + 1e-9 * size
    )
    np.testing.assert_allclose(stroke[[0, -1]], curve[[0, -1]], rtol=1e-9, atol=1e-9 * size)
    assert len(stroke) < 200


def _matrix(transform: str) -> tuple[float, ...]:
    found = svgelements.Matrix(transform)
    return found.a, found.b, found.c, found.d, found.e, found.f


def test_kanjivg_is_read_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("it opens a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    drawings = read(tmp_path / "x.svg", KANJIVG_SVG)
    assert drawings.records[0].text == "仂"
    first, second = drawings.polylines(0)
    np.testing.assert_allclose(first[[0, -1]], [[39.5, 13.5], [11.5, 59.5]])
    np.testing.assert_allclose(second[[0, -1]], [[30.5, 40.5], [31.0, 95.0]])


def test_an_export_of_inkscape_has_no_text_and_all_its_strokes(tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", INKSCAPE_SVG)
    assert drawings.stroke_counts.tolist() == [8]
    assert drawings.records[0].text is None


@pytest.mark.shared
def test_real_kanji(shared_data: Path) -> None:
    paths = sorted((shared_data / "kanjivg").glob("*.svg"))
    assert len(paths) > 200
    for path in paths:
        drawings = parse(path).drop_invalid()
        assert FORMAT.recognizes(path, path.read_bytes()[:4096])
        assert drawings.stroke_counts.tolist() == [path.read_text("utf-8").count("<path ")]
        assert drawings.records[0].text
        assert not drawings.repaired
        assert drawings.points.min() > -5
        assert drawings.points.max() < 114


BROKEN_PATHS = {
    "a number short": ("M0 0L1 1 2", 2),
    "no numbers": ("M0 0L1 1L", 2),
    "a word": ("M0 0 1 1 x 5", 2),
    "an unknown command": ("M0 0L1 1B2 2", 2),
    "a lonely sign": ("M0 0 1 1 - 2", 2),
    "an exponent without digits": ("M0 0 1 1 2e 5", 2),
    "a flag of 2": ("M0 0L1 1A1 1 0 2 0 5 5", 2),
    "numbers after z": ("M0 0L1 1z5", 3),
    "NaN": ("M0 0L1 1LNaN 5", 2),
}


@pytest.mark.parametrize(("data", "points"), BROKEN_PATHS.values(), ids=BROKEN_PATHS)
def test_a_broken_path_is_drawn_up_to_there_and_counted(data: str, points: int, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document(f"<path d='{data}'/><line x2='1'/>"))
    assert [len(stroke) for stroke in drawings.polylines(0)] == [points, 2]
    (mend,) = drawings.repaired
    assert mend.reason == "path cut short"
    assert re.match(r".*x\.svg: a <path> goes wrong at '.+'; drawn up to there", mend.detail)


@pytest.mark.parametrize("body", ["<path d='L1 1'/>", "<path d='5 5M0 0L1 1'/>", "<polyline points='1'/>"])
def test_a_path_broken_at_once_draws_nothing(body: str, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document(body))
    assert [drop.reason for drop in drawings.dropped] == ["empty"]
    assert [mend.reason for mend in drawings.repaired] == ["path cut short"]


@pytest.mark.parametrize("name", ["#nothing", "other.svg#a", "#m", "", "data:,x", "l"])
def test_a_use_of_nothing_here_is_left_out_and_counted(name: str, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document(f"<marker id='m'/><use href='{name}'/><line id='l' x2='1'/>"))
    assert drawings.stroke_counts.tolist() == [1]
    assert [mend.reason for mend in drawings.repaired] == ["use of nothing"]


def entities(*values: str) -> str:
    """An SVG that declares entities a0, a1 and so on, and uses the last."""
    declared = "".join(f"<!ENTITY a{i} '{value}'>" for i, value in enumerate(values))
    body = f"<desc>&a{len(values) - 1};</desc><line x2='1'/>"
    return f"<!DOCTYPE svg [{declared}]>{document(body)}"


def test_entities_stand_for_their_text(tmp_path: Path) -> None:
    """As Illustrator has them, for namespaces and styles."""
    drawings = read(tmp_path / "x.svg", ILLUSTRATOR)
    assert FORMAT.recognizes(Path("x.svg"), ILLUSTRATOR.encode())
    first, second, third = drawings.polylines(0)
    np.testing.assert_array_equal(first, [[10, 10], [90, 10]])
    np.testing.assert_array_equal(second[[0, -1]], [[10, 20], [90, 20]])
    np.testing.assert_array_equal(third, [[5, 5], [95, 5], [95, 45], [5, 45], [5, 5]])
    assert not drawings.repaired
    assert drawings.records[0].text is None


def test_entities_may_be_as_many_and_as_long_as_that(tmp_path: Path) -> None:
    assert len(read(tmp_path / "x.svg", entities(*["x" * 256] * 64))) == 1
    assert len(read(tmp_path / "x.svg", entities("", " ü "))) == 1


MENDED = {
    "a transform of another kind": ("<g transform='turn(5)'><line x2='1'/></g>", "transform", "<g> has transform 'tur"),
    "no transform": ("<line x2='1' transform='undefined'/>", "transform", "'undefined'; expected matrix, .*; ignored"),
    "a transform of too few": ("<line x2='1' transform='matrix(1 2)'/>", "transform", "<line> has transform"),
    "a transform not closed": ("<line x2='1' transform='rotate(5'/>", "transform", "'rotate\\(5'"),
    "a transform of words": ("<line x2='1' transform='scale(a)'/>", "transform", "expected matrix, translate"),
    "a transform without end": ("<line x2='1' transform='rotate(1e999)'/>", "transform", "<line> has transform"),
    "a transform half right": ("<line x2='1' transform='scale(2) move(1)'/>", "transform", "<line> has transform"),
    "a unit that does not fit": ("<line x2='1' transform='rotate(5px)'/>", "transform", "'rotate\\(5px\\)'"),
    "a unit amid numbers": ("<line x2='1' transform='translate(1px2)'/>", "transform", "'translate\\(1px2\\)'"),
    "a transform of a use": (
        "<defs><line id='a' x2='1'/></defs><use href='#a' transform='?'/>", "transform", "<use> has transform '\\?'"
    ),
    "a length of words": ("<circle r='big'/><line x2='1'/>", "length", "<circle> has r 'big'; expected .*; left out"),
    "a unit of another kind": ("<circle r='5furlong'/><line x2='1'/>", "length", "<circle> has r '5furlong'"),
    "a length without end": (f"<circle r='{'1' * 200}'/><line x2='1'/>", "length", "<circle> has r '1{60}'"),
    "a length of the window": ("<rect width='100vw' height='5'/><line x2='1'/>", "length", "width '100vw'"),
    "a length to be calculated": ("<line x2='1'/><line y2='calc(1px + 1%)'/>", "length", "<line> has y2 'calc"),
    "a place of a use": ("<line id='a' x2='1'/><use href='#a' x='?'/>", "length", "<use> has x '\\?'; .*; left out"),
    "the size of an inner svg": ("<svg width='5vh'><line x2='1'/></svg>", "length", "<svg> has width '5vh'.*ignored"),
    "several": ("<rect width='1vw'/><line x2='1'/><circle r='?'/>", "length", "<rect> has width '1vw'"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason", "detail"), MENDED.values(), ids=MENDED)
def test_an_odd_attribute_costs_no_more_than_itself(body: str, reason: str, detail: str, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document(body))
    (stroke,) = drawings.polylines(0)
    np.testing.assert_array_equal(stroke, [[0, 0], [1, 0]])
    (mend,) = drawings.repaired
    assert mend.reason == f"{reason} not understood"
    assert mend.detail.startswith(f"{tmp_path}/x.svg: <")
    assert re.search(detail, mend.detail)
    assert len(mend.detail) < 400


@pytest.mark.parametrize("size", ["100vw", "calc(100% - 2px)", "undefined"])
def test_a_size_of_the_page_that_is_none_is_ignored(size: str, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document("<line x2='50%' y2='50%'/>", f"width='{size}' height='20'"))
    np.testing.assert_array_equal(drawings.polylines(0)[0], [[0, 0], [50, 10]])
    (mend,) = drawings.repaired
    assert mend.reason == "length not understood"
    assert mend.detail.endswith(f"<svg> has width {size!r}; expected a number with or without a unit; ignored")


BACKGROUNDS = {
    "Figma": ("<rect width='100' height='50' fill='white'/>", ""),
    "Excalidraw": ("<rect x='0' y='0' width='100' height='50' fill='#ffffff'></rect>", ""),
    "in percent": ("<rect width='100%' height='100%'/>", ""),
    "in percent of no size": ("<rect width='100%' height='100%'/>", "width='100%'"),
    "of a size": ("<rect width='1in' height='20'/>", "width='96' height='20px'"),
    "of a page elsewhere": ("<rect x='-50' y='-9' width='100' height='50'/>", "viewBox='-50 -9 100 50'"),
    "larger than the page": ("<rect x='-10' y='-10' width='500' height='500' stroke='none'/>", ""),
    "rounded": ("<rect width='99.5' height='49.9'/>", ""),
    "a path": ("<path d='M0 0h100v50H0z'/>", ""),
    "a path, anticlockwise, with the last side": ("<path d='M100 0H0v50h100V0z'/>", ""),
    "a path, not closed": ("<path d='M0 50V0h100v50'/>", ""),
    "a polygon": ("<polygon points='0 0 100 0 100 50 0 50'/>", ""),
    "moved": ("<g transform='translate(10 20) scale(10)'><rect x='-1' y='-2' width='10' height='5'/></g>", ""),
    "turned by half": ("<rect transform='rotate(180 50 25)' width='100' height='50'/>", ""),
}


@pytest.mark.parametrize(("body", "attributes"), BACKGROUNDS.values(), ids=BACKGROUNDS)
def test_a_background_is_no_stroke(body: str, attributes: str, tmp_path: Path) -> None:
    page = attributes or "viewBox='0 0 100 50'"
    drawings = read(tmp_path / "x.svg", document(f"{body}<path d='M1 1L3 3' fill='none' stroke='red'/>", page))
    np.testing.assert_array_equal(drawings.polylines(0), [[[1, 1], [3, 3]]])
    (mend,) = drawings.repaired
    assert mend.reason == "background"
    assert re.match(r".*x\.svg: a <\w+> without a stroke fills the whole page; left out", mend.detail)


FRAMES = {
    "a stroke": "<rect width='100' height='50' stroke='red'/>",
    "a stroke alone": "<rect width='100' height='50' stroke='red' fill='none'/>",
    "the stroke of its group": "<g stroke='red'><path d='M0 0h100v50H0z'/></g>",
    "smaller than the page": "<rect width='98' height='50'/>",
    "half beside the page": "<rect x='50' width='100' height='50'/>",
    "round": "<rect width='100' height='50' rx='9'/>",
    "an ellipse": "<ellipse cx='50' cy='25' rx='90' ry='90'/>",
    "leaning": "<rect x='-100' y='-100' width='300' height='300' transform='skewX(9)'/>",
    "a triangle": "<path d='M0 0H100V50z'/>",
    "a bow tie": "<path d='M0 0L100 50H0L100 0z'/>",
    "a bend": "<path d='M0 0Q50 9 100 0V50H0z'/>",
    "a notch": "<path d='M0 0H100V50H50V25H0z'/>",
    "a hole": "<path d='M0 0H100V50H0zM5 5h9v9h-9z'/>",
}


@pytest.mark.parametrize("body", FRAMES.values(), ids=FRAMES)
def test_what_only_resembles_a_background_is_drawn(body: str, tmp_path: Path) -> None:
    assert len(strokes_of(tmp_path / "x.svg", body)) == (2 if "zM" in body else 1)


BAD: dict[str, tuple[str | bytes, str]] = {
    "nothing": (b"", "no whole XML .*; expected an SVG"),
    "zeros": (bytes(100), "no whole XML"),
    "text": ("hello", "no whole XML"),
    "cut short": (KANJIVG_SVG[:-20], "no whole XML"),
    "a prefix without a namespace": ("<svg><use xlink:href='#a'/></svg>", "no whole XML .*unbound prefix"),
    "an unknown encoding": ("<?xml version='1.0' encoding='klingon'?><svg/>", "no whole XML .*klingon"),
    "an encoding that is none": ("<?xml version='1.0' encoding='zlib'?><svg/>", "no whole XML"),
    "bytes that are no UTF-8": (b"<svg>\xff\xfe\xfd</svg>", "no whole XML"),
    "HTML": ("<html><svg/></html>", "its root is <html>; expected <svg>"),
    "another svg": ("<svg xmlns='http://example.org'/>", "its root is <{http://example.org}svg>; expected <svg>"),
    "a use of itself": (document("<use id='a' href='#a'/>"), "uses itself"),
    "a use of what it is in": (document("<g id='a'><line x2='1'/><use href='#a'/></g>"), "uses itself"),
    "two that use one another": (
        document("<defs><use id='a' href='#b'/><use id='b' href='#a'/></defs><use href='#a'/>"),
        "uses itself",
    ),
    "an entity of markup": (entities("<line/>"), "declares the entity 'a0'; expected .* save it as plain SVG"),
    "an entity of another": (entities("b", "&a0;"), "declares the entity 'a1'"),
    "an entity of another, behind a number": (entities("b", "&#38;a0;"), "declares the entity 'a1'"),
    "an entity of a percentage": (entities("100&#37;"), "declares the entity 'a0'"),
    "a long entity": (entities("x" * 257), "declares the entity 'a0'"),
    "many entities": (entities(*["x"] * 65), "declares the entity 'a64'"),
    "a long name of an entity": (f"<!DOCTYPE svg [<!ENTITY {'a' * 999} '&#38;'>]><svg/>", "declares the entity 'aaa"),
    "an entity of other data": (
        "<!DOCTYPE svg [<!NOTATION n SYSTEM 'n'><!ENTITY a SYSTEM 'x' NDATA n>]><svg/>",
        "declares the entity 'a'",
    ),
    "an entity with a public name": ("<!DOCTYPE svg [<!ENTITY a PUBLIC 'x' 'y'>]><svg/>", "declares the entity 'a'"),
    "an entity from a file": (
        "<!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg><title class='text'>&a;</title></svg>",
        "declares the entity 'a'",
    ),
    "a parameter entity within": ("<!DOCTYPE svg [<!ENTITY % a 'b'>%a;]><svg/>", "declares the entity 'a'"),
    "a parameter entity": ("<!DOCTYPE svg [<!ENTITY % a SYSTEM 'http://x/y'>%a;]><svg/>", "declares the entity 'a'"),
    "an entity that is not declared": (document("<title>&nbsp;</title>"), "no whole XML .*entity"),
    "the same behind a DTD elsewhere": ("<!DOCTYPE svg SYSTEM 'http://x/y'><svg>&nbsp;</svg>", "no whole XML .*entity"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_file_that_is_wrong_is_refused_in_one_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "x.svg", text)
    assert str(caught.value).startswith(str(tmp_path / "x.svg: "))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def _laughs() -> str:
    entities = "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12))
    return f"<!DOCTYPE svg [<!ENTITY a0 'ha'>{entities}]><svg>&a11;</svg>"


def _uses(inner: str) -> str:
    levels = "".join(f"<g id='a{i}'>" + f"<use href='#a{i - 1}'/>" * 10 + "</g>" for i in range(1, 12))
    return document(f"<defs><g id='a0'>{inner}</g>{levels}</defs><use href='#a11'/>")


BOMBS: dict[str, tuple[Any, str]] = {
    "a billion laughs": (_laughs, "declares the entity 'a1'"),
    "a quarter of a billion letters": (
        lambda: entities("x" * 250).replace("<desc>", f"<desc>{'&a0;' * 1_000_000}"),
        "could stand for over 32 MB",
    ),
    "thirty million letters": (lambda: entities("x" * 250).replace("<desc>", f"<desc>{'&a0;' * 120_000}"), ""),
    "a namespace of many entities": (
        lambda: entities("x" * 250).replace("viewBox", f"xmlns:b='{'&a0;' * 1_000}' viewBox").replace("<line", "<b:g"),
        "a name of over",
    ),
    "a default of entities": (
        lambda: entities("x" * 250).replace("]>", "<!ATTLIST g d CDATA '&a0;'>]>").replace("<desc", "<g/><desc"),
        "its DTD declares",
    ),
    "a billion uses": (lambda: _uses("<line x2='1'/>"), "draws over 100000 elements"),
    "a billion uses of nothing": (lambda: _uses(""), "draws over 100000 elements"),
    "a thousand uses of a long path": (
        lambda: document(f"<path id='a' d='M0 0{'h1' * 9999}'/>" + "<use href='#a'/>" * 1000),
        "over 1048576 points",
    ),
    "uses of a group full of metadata": (
        lambda: document(f"<g id='a'>{'<m/>' * 100_000}</g>" + "<use href='#a'/>" * 45_000 + "<use href='#b'/>"),
        "",
    ),
    "uses of a path of white space": (
        lambda: document(f"<path id='a' d='{' ' * 1_000_000}'/>" + "<use href='#a'/>" * 45_000),
        "",
    ),
    "deep groups": (lambda: document("<g>" * 100_000 + "</g>" * 100_000), "256 elements in one another"),
    "deep groups, not closed": (lambda: "<svg>" * 1_000_000, "256 elements in one another"),
    "deep uses": (
        lambda: document(
            "<line id='a0' x2='1'/>" + "".join(f"<use id='a{i}' href='#a{i - 1}'/>" for i in range(1, 999))
        ),
        "256 in one another",
    ),
    "many elements": (lambda: document("<g/>" * 600_000), "over 524288 elements"),
    "many shapes": (lambda: document("<line/>" * 200_000), "draws over 100000 elements"),
    "many attributes": (
        lambda: document("<g " + " ".join(f"a{i}='1'" for i in range(550_000)) + "/>"),
        "over 524288",
    ),
    "a path of ten million numbers": (
        lambda: document(f"<path d='M0 0L{'1 ' * 10_000_000}'/>"),
        "path data of over 4194304 characters",
    ),
    "a path of two million numbers": (lambda: document(f"<path d='M0 0H{'1 ' * 2_000_000}'/>"), "over 1048576 points"),
    "a path of a million arcs": (
        lambda: document(f"<path d='M0 0a{'1 1 0 111 1 ' * 300_000}'/>"),
        "over 1048576 points",
    ),
    "a path of moves": (lambda: document(f"<path d='{'M0 0' * 400_000}'/>"), ""),
    "a path of dots": (lambda: document(f"<path d='{'M0 0z' * 200_000}'/>"), ""),
    "a path of one number": (lambda: document(f"<path d='M0 0L{'1' * 4_000_000} 1'/>"), ""),
    "a path of words": (lambda: document(f"<path d='M0 0L1 1L{'e' * 4_000_000}'/>"), ""),
    "many paths of moves": (lambda: document(f"<path d='{'M0 0' * 100_000}'/>" * 50), "path data of over"),
    "a polyline of ten million numbers": (
        lambda: document(f"<polyline points='{'1 ' * 10_000_000}'/>"),
        "path data of over",
    ),
    "a long transform": (
        lambda: document(f"<g transform='{'scale(1)' * 1_000_000}'/>"),
        "transform of 8000000 characters",
    ),
    "a long style": (lambda: document(f"<g style='{'a:b;' * 1_000_000}'/>"), "style of 4000000 characters"),
    "curves that are fine beside the drawing": (
        lambda: document(f"<path transform='scale(1e-9)' d='{'M0 0C1e9 1e9 0 1e9 1e9 0' * 90_000}'/>"),
        "over 1048576 points",
    ),
    "defaults of a DTD": (
        lambda: f"<!DOCTYPE svg [<!ATTLIST g d CDATA '{'x' * 1_000_000}'>]>{document('<g/>' * 500_000)}",
        "its DTD declares",
    ),
    "namespaces of a DTD": (
        lambda: (
            "<!DOCTYPE svg [<!ATTLIST g "
            + " ".join(f"xmlns:a{i} CDATA 'u{i}'" for i in range(50_000))
            + f">]>{document('<g/>' * 500_000)}"
        ),
        "its DTD declares",
    ),
    "a long namespace": (lambda: f"<svg xmlns='{'x' * 1_000_000}'>{'<g/>' * 500_000}</svg>", "a name of over"),
    "a long prefix": (
        lambda: document("<g a:b='1'/>" * 500_000, f"xmlns:a='{'x' * 1_000_000}'"),
        "a name of over",
    ),
    "many names in a namespace of some length": (
        lambda: document("".join(f"<a:b{i}/>" for i in range(100_000)), f"xmlns:a='{'x' * 9_900}'"),
        "names of over 64 MB",
    ),
    "a long id": (lambda: document(f"<line id='{'x' * 1_000_000}' x2='1'/>"), "id of 1000000 characters"),
    "more than a file may have": (lambda: b" " * ((32 << 20) + 1), "over 32 MB"),
    "white space": (lambda: document(" " * (31 << 20)), ""),
    "a comment": (lambda: f"<!--{'x' * (31 << 20)}--><svg/>", ""),
    "nested content of a DTD": (lambda: f"<!DOCTYPE svg [<!ELEMENT a {'(' * 500_000}b{')' * 500_000}>]><svg/>", ""),
}


@pytest.mark.parametrize(("make", "message"), BOMBS.values(), ids=BOMBS)
def test_no_file_takes_long(make: Any, message: str, tmp_path: Path) -> None:
    text = make()
    (tmp_path / "x.svg").write_bytes(text if isinstance(text, bytes) else text.encode())
    start = time.process_time()
    if message:
        with pytest.raises(DataError, match=message):
            parse(tmp_path / "x.svg")
    else:
        parse(tmp_path / "x.svg")
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("number", ["1e300", "-1e308", "1e999", "1e-320"])
@pytest.mark.parametrize(
    "body",
    [
        "<path d='M0 0C{0} 1 2 {0} 5 5S1 1 {0} {0}'/>",
        "<path d='M{0} 0a1 {0} {0} 0 1 5 {0}t{0} 5q1 {0} 3 4z'/>",
        "<path d='M0 0A{0} {0} 5 1 1 5 5A1 2 3 0 0 {0} 6A{0} 3 4 0 0 1 1'/>",
        "<path transform='scale({0}) matrix({0} 1 2 3 {0} {0})' d='M0 0Q1 2 {0} 5'/>",
        "<rect x='{0}' width='{0}' height='5' rx='{0}'/><circle cx='{0}' r='{0}'/><ellipse rx='{0}' ry='3'/>",
        "<svg width='{0}' height='{0}' viewBox='{0} 0 1e-9 1' x='{0}'><circle r='{0}%'/></svg>",
        "<svg viewBox='0 0 {0} {0}' width='1e-300' height='5'><line x2='50%'/><circle r='5%'/></svg>",
    ],
)
def test_numbers_beyond_measure_are_few_points_and_dropped_later(body: str, number: str, tmp_path: Path) -> None:
    drawings = read(tmp_path / "x.svg", document(body.format(number) + "<path d='M0 0C0 1 1 1 1 0'/>"))
    assert len(drawings.points) < 20_000
    assert np.isfinite(drawings.drop_invalid().points).all()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parse(tmp_path / "none.svg")


number = st.one_of(
    st.integers(-300, 300).map(str),
    st.floats(-300, 300).map(lambda value: f"{value:+.3f}"),
    st.sampled_from([".5", "-.25", "+1e2", "-2.5E-1", "0"]),
)
flag = st.sampled_from("01")
arguments = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
commands = st.sampled_from("MmLlHhVvCcSsQqTtAaZz").flatmap(
    lambda letter: st.tuples(
        st.just(letter),
        st.lists(
            st.tuples(*(flag if letter in "Aa" and i in (3, 4) else number for i in range(arguments[letter.upper()]))),
            min_size=1,
            max_size=1 if letter in "Zz" else 2,
        ),
        st.sampled_from([" ", ",", "\n", " , "]),
    )
)


@settings(derandomize=True, max_examples=EXAMPLES, deadline=None)
@given(st.lists(commands, max_size=8))
def test_the_pen_ends_where_that_of_svgelements_does(drawn: list[Any]) -> None:
    data = "M1 2"
    for letter, groups, between in drawn:
        data += letter + between.join(between.join(values) for values in groups)
        pen = PathBuilder()
        assert parse_path(pen, data, "x", 10_000) == ""
        end = svgelements.Path(data).current_point
        np.testing.assert_allclose([pen.x, pen.y], [end.x, end.y], rtol=1e-9, atol=1e-9)


def corpus_of(drawings: list[list[Polyline]], dtype: Any, **metadata: Any) -> Corpus:
    """A corpus of polylines; with classes, drawing i is of class i."""
    sequences = []
    for i, drawing in enumerate(drawings):
        motion, event = from_polylines(drawing, "up")
        label = i % len(metadata["classes"]) if "classes" in metadata else None
        sequences.append(Sequence(motion.astype(dtype), event, label))
    return pack(Metadata(name="x", start="up", **metadata), {"train": sequences})


def polylines_of(elements: st.SearchStrategy[float], dtype: Any) -> st.SearchStrategy[list[Polyline]]:
    stroke = st.integers(1, 6).flatmap(lambda n: arrays(dtype, (n, 2), elements=elements))
    moving = stroke.filter(lambda points: len(points) == 1 or bool((points != points[0]).any()))
    return st.lists(moving, min_size=1, max_size=4)


whole = polylines_of(st.integers(-3000, 3000), np.int32)
fractions = polylines_of(st.floats(-1e5, 1e5, width=32), np.float32)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.one_of(st.tuples(st.just(np.int32), whole), st.tuples(st.just(np.float32), fractions)))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, case: Any) -> None:
    dtype, drawing = case
    corpus = corpus_of([drawing], dtype)
    folder = tmp_path_factory.mktemp("written") / "out"
    write(corpus, folder)
    (path,) = folder.iterdir()
    read_again = parse(path)
    assert not read_again.repaired
    expected = corpus.drawing(0)
    # Steps too small for their type can make a stroke of several points stay in place: it is read as a dot.
    expected = [stroke if (stroke != stroke[0]).any() else stroke[:1] for stroke in expected]
    for got, wanted in zip(read_again.polylines(0), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_written_numbers_are_plain(tmp_path: Path) -> None:
    drawing = [np.array([[0, 0], [10, -5]]), np.array([[3, 4]])]
    write(corpus_of([drawing], np.int16), tmp_path / "out")
    text = (tmp_path / "out" / "000000.svg").read_text()
    assert re.findall(r' d="(.*)"', text) == ["M 0 0 L 10 -5", "M 3 4 L 3 4"]
    assert 'viewBox="-0.1 -5.1 10.2 9.2"' in text


def test_classes_are_folders_that_stay_inside(tmp_path: Path) -> None:
    names = ("cat", "../up", "a/b", ".", "", "50%", "50%25")
    drawings = [[np.array([[i, 0], [0, 5]])] for i in range(len(names) + 1)]
    write(corpus_of(drawings, np.int16, classes=names), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    files = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.svg"))
    assert len({path.parent for path in files}) == len(names)
    assert all(len(path.parts) == 2 for path in files)
    assert [path.name for path in files if path.parts[0] == "cat"] == ["000000.svg", "000007.svg"]


def test_several_splits_are_folders_and_classes_are_in_them(tmp_path: Path) -> None:
    motion, event = from_polylines([np.array([[0, 0], [1, 1]])], "up")
    cat, dog, none = (Sequence(motion, event, label) for label in (0, 1, None))
    metadata = Metadata(name="x", start="up", classes=("cat", "dog"))
    write(pack(metadata, {"train": [cat, dog], "valid": [], "test": [dog]}), tmp_path / "a")
    write(pack(Metadata(name="x", start="up"), {"train": [none], "valid": [none]}), tmp_path / "b")
    write(pack(metadata, {"train": [], "valid": [cat, dog]}), tmp_path / "c")
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.svg"))
    assert files == [
        "a/test/dog/000002.svg", "a/train/cat/000000.svg", "a/train/dog/000001.svg",
        "b/train/000000.svg", "b/valid/000001.svg",
        "c/cat/000000.svg", "c/dog/000001.svg",
    ]  # fmt: skip


def test_what_has_times_is_not_written_without_them(tmp_path: Path) -> None:
    motion, event = from_polylines([np.array([[0, 0, 0], [1, 1, 1]])], "up")
    metadata = Metadata(name="touches", start="up", features=("dx", "dy", "dt"))
    with pytest.raises(InputError, match=r"^touches .*expected drawings"):
        write(pack(metadata, {"train": [Sequence(motion, event)]}), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["quick brown", 'a <b> & "c" ]]>', " two\nlines\r\ttab ", "仂 é 🦊"])
def test_what_is_written_in_a_drawing_survives(text: str, tmp_path: Path) -> None:
    motion, event = from_polylines([np.array([[0, 0], [1, 1]])], "up")
    write(pack(Metadata(name="x", start="up"), {"train": [Sequence(motion, event, text=text)]}), tmp_path / "out")
    assert parse(tmp_path / "out" / "000000.svg").records[0].text == text


def test_what_xml_cannot_hold_is_replaced(tmp_path: Path) -> None:
    text = svg_writer.format_svg([np.zeros((1, 2))], "a\0b\ud800c\uffff")
    assert read(tmp_path / "x.svg", text).records[0].text == "a?b?c?"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists; use another path"):
        write(corpus_of([[np.array([[0, 0], [1, 1]])]], np.int16), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of([[np.array([[0, 0], [1, 1]])]] * 3, np.int16)

    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match=r"cannot write .*out: No space left on device"):
        write(corpus, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_attempt_is_not_mixed_with_one_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "000009.svg").touch()
    write(corpus_of([[np.array([[0, 0], [1, 1]])]], np.int16), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000000.svg"]
