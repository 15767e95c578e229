"""Tests of SVG files as KanjiVG, Inkscape and Illustrator write them."""

import socket
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.formats.svg_reader import FORMAT, parse
from tests.data.formats.samples import INKSCAPE_SVG, KANJIVG_SVG
from tests.data.formats.svg_helpers import parse_svg

ILLUSTRATOR_SVG = """<?xml version="1.0" encoding="utf-8"?>
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
"""A drawing whose namespaces and styles are entities."""


def test_kanjivg_file_is_read_without_network_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a socket is opened")

    monkeypatch.setattr(socket, "socket", refuse)
    drawings = parse_svg(tmp_path / "x.svg", KANJIVG_SVG)
    assert drawings.records[0].text == "仂"
    first, second = drawings.polylines(0)
    np.testing.assert_allclose(first[[0, -1]], [[39.5, 13.5], [11.5, 59.5]])
    np.testing.assert_allclose(second[[0, -1]], [[30.5, 40.5], [31.0, 95.0]])


def test_inkscape_file_has_all_strokes_and_no_text(tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", INKSCAPE_SVG)
    assert drawings.stroke_counts.tolist() == [5]
    assert {remark.reason: remark.count for remark in drawings.lost} == {
        "filled elements": 3,
        "colors": 2,
        "physical units": 1,
    }
    assert parse_svg(tmp_path / "x.svg", INKSCAPE_SVG, outlines=True).stroke_counts.tolist() == [8]
    assert drawings.records[0].text is None


def test_illustrator_file_has_its_entities_replaced(tmp_path: Path) -> None:
    drawings = parse_svg(tmp_path / "x.svg", ILLUSTRATOR_SVG)
    assert FORMAT.recognizes(Path("x.svg"), ILLUSTRATOR_SVG.encode())
    first, second, third = drawings.polylines(0)
    np.testing.assert_array_equal(first, [[10, 10], [90, 10]])
    np.testing.assert_array_equal(second[[0, -1]], [[10, 20], [90, 20]])
    np.testing.assert_array_equal(third, [[5, 5], [95, 5], [95, 45], [5, 45], [5, 5]])
    assert not drawings.repaired
    assert drawings.records[0].text is None


@pytest.mark.shared
def test_files_of_kanjivg_are_read_completely(shared_data: Path) -> None:
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
