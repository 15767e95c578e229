"""Tests of SVG path data and of the flattening of curves, compared with svgelements."""

import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import svgelements
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mdnrnn.data.formats.bezier import PathBuilder
from mdnrnn.data.formats.flattening import RESOLUTION, flatten
from mdnrnn.data.formats.svg_path import parse_path
from tests.data.formats.fuzzing import EXAMPLES
from tests.data.formats.svg_helpers import distances, parse_strokes, parse_svg, svg_document

SQUARE: list[list[float]] = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
STRAIGHT: dict[str, tuple[str, list[Any]]] = {
    "absolute M L H V Z": ("<path d='M0 0 L10 0 V10 H0 Z'/>", [SQUARE]),
    "relative m l h v z": ("<path d='m5 5 m-5-5 l10 0 v10 h-10 z'/>", [SQUARE]),
    "M with several pairs": ("<path d='M0 0 10 0 10 10 0 10z'/>", [SQUARE]),
    "m with several pairs": ("<path d='m0,0,10,0,0,10,-10,0Z'/>", [SQUARE]),
    "line after z": ("<path d='M1 1h2v2zl5 5'/>", [[[1, 1], [3, 1], [3, 3], [1, 1]], [[1, 1], [6, 6]]]),
    "m after z": (
        "<path d='M1 1h2v2zm5 5h1'/>",
        [[[1, 1], [3, 1], [3, 3], [1, 1]], [[6, 6], [7, 6]]],
    ),
    "several subpaths": ("<path d='M0 0L1 1M2 2L3 3M9 9'/>", [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]),
    "dot by a line of length 0": ("<path d='M5 6h0'/>", [[[5, 6]]]),
    "dot by z": ("<path d='M5 6z'/>", [[[5, 6]]]),
    "dot by coinciding points": ("<path d='M5 6l0 0C5 6 5 6 5 6'/>", [[[5, 6]]]),
    "arc of radius 0": ("<path d='M0 0A0 5 0 0 0 3 4'/>", [[[0, 0], [3, 4]]]),
    "arc of length 0": ("<path d='M1 2A5 5 0 0 0 1 2L3 3'/>", [[[1, 2], [3, 3]]]),
    "straight cubic": ("<path d='M0 0C0 0 9 9 9 9'/>", [[[0, 0], [9, 9]]]),
    "numbers without separators": ("<path d='M-.5.5.25-1e1+1E-1-2'/>", [[[-0.5, 0.5], [0.25, -10], [0.1, -2]]]),
}


@pytest.mark.parametrize(("body", "expected"), STRAIGHT.values(), ids=STRAIGHT)
def test_straight_path_has_exact_points(body: str, expected: list[Any], tmp_path: Path) -> None:
    strokes = parse_strokes(tmp_path / "x.svg", body)
    assert [len(stroke) for stroke in strokes] == [len(stroke) for stroke in expected]
    for stroke, points in zip(strokes, expected, strict=True):
        np.testing.assert_allclose(stroke, points, rtol=0, atol=1e-12)


CURVED = {
    "C and S": "M20,40 C40,10 65,10 95,40 S150,70 180,40",
    "c and s": "m20,40c20-30,45-30,75,0s55,30,85,0 20-50 40 10",
    "S first": "M0 0S50 100 100 0S120-50 200 0",
    "S after a line": "M0 0C0 50 50 50 50 0L80 0S90 50 120 0",
    "Q and T": "M0 0Q50 100 100 0T200 0T250 30",
    "q and t": "m10 10q50 100 100 0t100 0 20 30",
    "T first": "M0 0T50 50Q100 0 150 50",
    "cusp": "M0 0C100 100 0 100 100 0",
    "loop": "M0 0C200 100-100 100 100 0z",
    "closed cubic": "M0 0C50 100 100 50 0 0",
    "arcs": "".join(f"M125,75A100,50 0 {flags} 225,125" for flags in ("0,0", "0,1", "1,0", "1,1")),
    "rotated arcs": "M275,75a60,20 30 0,0 80,50M275,75a60,20 30 1,1 80,50M275 75a60,20-70 1,0 80,50 60 20 10 0 1 5 5",
    "scaled-up arcs": "M10 10a5 2 45 0 1 60 20a1 1 0 1 0 50 0",
    "arcs with unseparated flags": "M10 10a50 50 0 0150 50a50 50 0 1050-50",
    "nearly whole circle": "M50 50a40 40 0 1 1-0.01 0z",
    "small shape in a large drawing": "M0 0L1000 0 1000 1000M500 500c1 0 2 1 2 2s-1 2-2 2-2-1-2-2 1-2 2-2z",
}


@pytest.mark.parametrize("data", CURVED.values(), ids=CURVED)
def test_polyline_is_within_tolerance_of_svgelements_curve(data: str, tmp_path: Path) -> None:
    strokes = parse_strokes(tmp_path / "x.svg", f"<path d='{data}'/>")
    t = np.linspace(0, 1, 400)
    curves = [
        np.array([[*segment.point(at)] for segment in subpath if len(segment) > 1 for at in t])
        for subpath in svgelements.Path(data).as_subpaths()
    ]
    assert len(strokes) == len(curves)
    side = np.ptp(np.concatenate(curves), axis=0).max()
    for stroke, curve in zip(strokes, curves, strict=True):
        np.testing.assert_allclose(stroke[[0, -1]], curve[[0, -1]], atol=1e-9)
        assert distances(curve, stroke).max() <= side / RESOLUTION
        # The points of the polyline lie on the curve, up to the approximation of arcs by cubics.
        assert distances(stroke, curve).max() <= side / RESOLUTION / 100


@pytest.mark.parametrize(
    ("data", "equivalent"),
    [("Q50 100 100 0S120-50 200 0", "Q50 100 100 0C100 0 120-50 200 0"), ("C0 9 9 9 9 0T80 5", "C0 9 9 9 9 0L80 5")],
    ids=["S after Q", "T after C"],
)
def test_smooth_curve_after_another_kind_has_no_reflected_control_point(
    data: str, equivalent: str, tmp_path: Path
) -> None:
    """As the SVG specification requires; svgelements reflects the control point of any curve."""
    (stroke,), (other,) = (parse_strokes(tmp_path / "x.svg", f"<path d='M0 0{text}'/>") for text in (data, equivalent))
    np.testing.assert_allclose(distances(stroke, other), 0, atol=1e-9)
    np.testing.assert_allclose(distances(other, stroke), 0, atol=1e-9)


coordinates = st.floats(-1000, 1000, allow_nan=False, width=32)
argument_counts = {"translate": 2, "scale": 2, "rotate": 3, "matrix": 6, "skewX": 1, "skewY": 1}
transforms = st.tuples(
    st.sampled_from(sorted(argument_counts)),
    st.lists(st.floats(-80, 80).map(lambda value: round(value, 3)), min_size=6, max_size=6),
).map(lambda pair: f"{pair[0]}({' '.join(map(str, pair[1][: argument_counts[pair[0]]]))})")


@pytest.fixture(scope="session")
def scratch_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each example overwrites."""
    return tmp_path_factory.mktemp("svg") / "x.svg"


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (4, 2), elements=coordinates), st.lists(transforms, max_size=3))
def test_transformed_cubic_is_within_tolerance(scratch_file: Path, control: np.ndarray, chain: list[str]) -> None:
    data = "M{} {}C{} {} {} {} {} {}".format(*control.ravel().tolist())
    body = f"<path d='{data}'/>"
    matrix = np.eye(3)
    for transform in chain:
        body = f"<g transform='{transform}'>{body}</g>"
        m = svgelements.Matrix(transform)
        matrix = np.array([[m.a, m.c, m.e], [m.b, m.d, m.f], [0, 0, 1]]) @ matrix
    t = np.linspace(0, 1, 2000)[:, None]
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3]
    curve = sum(weight * point for weight, point in zip(weights, control, strict=True))
    curve = curve @ matrix[:2, :2].T + matrix[:2, 2]
    (stroke,) = parse_strokes(scratch_file, body)
    side, size = np.ptp(curve, axis=0).max(), np.abs(curve).max()
    polyline = stroke if len(stroke) > 1 else stroke.repeat(2, axis=0)
    assert distances(curve, polyline).max() <= side / RESOLUTION + 1e-9 * size
    np.testing.assert_allclose(stroke[[0, -1]], curve[[0, -1]], rtol=1e-9, atol=1e-9 * size)
    assert len(stroke) < 200


BROKEN = {
    "missing number": ("M0 0L1 1 2", 2),
    "no numbers": ("M0 0L1 1L", 2),
    "word": ("M0 0 1 1 x 5", 2),
    "unknown command": ("M0 0L1 1B2 2", 2),
    "sign without digits": ("M0 0 1 1 - 2", 2),
    "exponent without digits": ("M0 0 1 1 2e 5", 2),
    "arc flag of 2": ("M0 0L1 1A1 1 0 2 0 5 5", 2),
    "number after z": ("M0 0L1 1z5", 3),
    "comma after z": ("M0 0L1 1z,M5 5L6 6", 3),
    "NaN": ("M0 0L1 1LNaN 5", 2),
}


@pytest.mark.parametrize(("data", "points"), BROKEN.values(), ids=BROKEN)
def test_invalid_path_is_read_up_to_the_error(data: str, points: int, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(f"<path d='{data}'/><line x2='1'/>"))
    assert [len(stroke) for stroke in drawings.polylines(0)] == [points, 2]
    (remark,) = drawings.repaired
    assert remark.reason == "path truncated"
    assert re.match(r".*x\.svg: a <path> is invalid at '.+'; the rest is ignored", remark.detail)


@pytest.mark.parametrize("body", ["<path d='L1 1'/>", "<path d='5 5M0 0L1 1'/>", "<polyline points='1'/>"])
def test_path_with_error_at_its_start_is_empty(body: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body))
    assert [remark.reason for remark in drawings.dropped] == ["empty"]
    assert [remark.reason for remark in drawings.repaired] == ["path truncated"]


def test_smooth_curve_after_z_starts_without_a_control_point(tmp_path: Path) -> None:
    """SVG 1.1, section 8.3.6: the control point is reflected only if the previous command is a curve."""
    smooth, straight = (
        parse_strokes(tmp_path / "x.svg", f"<path d='M0 0C9 0 9 9 0 9z{curve}'/>")[1]
        for curve in ("S5 5 8 0", "C0 0 5 5 8 0")
    )
    np.testing.assert_array_equal(smooth, straight)


LONG_PATHS = {
    "alternating commands": lambda n: "M0 0" + "h1v1" * (n // 2),
    "one command": lambda n: "M0 0L" + "12.5 " * n,
    "lines": lambda n: "M0 0" + "L3 4l5-6" * (n // 4),
    "subpaths": lambda n: "M1 2L3 4" * (n // 4),
    "curves": lambda n: "M0 0" + "c1 2 3 4 5 6" * (n // 6),
    "arcs": lambda n: "M0 0" + "a1 1 0 011 1" * (n // 8),
}


@pytest.mark.parametrize("make", LONG_PATHS.values(), ids=LONG_PATHS)
def test_memory_and_calls_per_number_of_a_path_are_bounded(make: Callable[[int], str]) -> None:
    """A million numbers need less than 200 MB, and few calls of Python functions per number."""
    numbers, calls = 20_000, 0
    data = make(numbers)

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    tracemalloc.start()
    try:
        builder = PathBuilder()
        assert not parse_path(builder, data, "x", 2 * numbers)
        assert flatten([builder.build()], 1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        sys.setprofile(None)
    assert peak < 200 * numbers
    assert calls < 4.5 * numbers


EXTREME = {
    "cubic": "<path d='M0 0C{0} 1 2 {0} 5 5S1 1 {0} {0}'/>",
    "relative": "<path d='M{0} 0a1 {0} {0} 0 1 5 {0}t{0} 5q1 {0} 3 4z'/>",
    "arc": "<path d='M0 0A{0} {0} 5 1 1 5 5A1 2 3 0 0 {0} 6A{0} 3 4 0 0 1 1'/>",
    "transform": "<path transform='scale({0}) matrix({0} 1 2 3 {0} {0})' d='M0 0Q1 2 {0} 5'/>",
    "shapes": "<rect x='{0}' width='{0}' height='5' rx='{0}'/><circle cx='{0}' r='{0}'/><ellipse rx='{0}' ry='3'/>",
    "viewport": "<svg width='{0}' height='{0}' viewBox='{0} 0 1e-9 1' x='{0}'><circle r='{0}%'/></svg>",
    "viewBox": "<svg viewBox='0 0 {0} {0}' width='1e-300' height='5'><line x2='50%'/><circle r='5%'/></svg>",
}


@pytest.mark.parametrize("number", ["1e300", "-1e308", "1e999", "1e-320"])
@pytest.mark.parametrize("body", EXTREME.values(), ids=EXTREME)
def test_extreme_numbers_give_few_points_and_are_dropped(body: str, number: str, tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", svg_document(body.format(number) + "<path d='M0 0C0 1 1 1 1 0'/>"))
    assert len(drawings.points) < 20_000
    assert np.isfinite(drawings.drop_invalid().points).all()


numbers = st.one_of(
    st.integers(-300, 300).map(str),
    st.floats(-300, 300).map(lambda value: f"{value:+.3f}"),
    st.sampled_from([".5", "-.25", "+1e2", "-2.5E-1", "0"]),
)
flags = st.sampled_from("01")
sizes = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
commands = st.sampled_from("MmLlHhVvCcSsQqTtAaZz").flatmap(
    lambda letter: st.tuples(
        st.just(letter),
        st.lists(
            st.tuples(*(flags if letter in "Aa" and i in (3, 4) else numbers for i in range(sizes[letter.upper()]))),
            min_size=1,
            max_size=1 if letter in "Zz" else 2,
        ),
        st.sampled_from([" ", ",", "\n", " , "]),
    )
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(commands, max_size=8))
def test_current_point_equals_that_of_svgelements(drawn: list[Any]) -> None:
    data = "M1 2"
    for letter, groups, separator in drawn:
        data += letter + separator.join(separator.join(values) for values in groups)
        builder = PathBuilder()
        assert parse_path(builder, data, "x", 10_000) == ""
        end = svgelements.Path(data).current_point
        np.testing.assert_allclose([builder.x, builder.y], [end.x, end.y], rtol=1e-9, atol=1e-9)
