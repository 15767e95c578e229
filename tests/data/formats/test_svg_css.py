"""Tests of style sheets in SVG files: selectors, cascade, and rules that are skipped."""

from pathlib import Path

import pytest

from mdnrnn.data.formats import svg_css
from mdnrnn.data.formats.svg_css import StyleSheet
from mdnrnn.errors import DataError
from tests.data.formats.svg_helpers import parse_svg, svg_document

BODY = "<g id='g' class='s layer'><path id='p' class='a b' d='M0 0L1 1'/><line id='l' x2='2'/></g>"
"""A path and a line in a group that strokes them, if the style sheet defines `.s`."""
STROKE = ".s{fill:none;stroke:#000}"
DRAWN: dict[str, tuple[str, int, int]] = {
    "no rule": ("", 2, 0),
    "class": (".a{display:none}", 1, 0),
    "second class": (".b { display : none }", 1, 0),
    "id": ("#l{visibility:hidden}", 1, 0),
    "element": ("path{opacity:0}", 1, 0),
    "all": ("*{display:none}", 0, 0),
    "element with a class": ("path.a{display:none} line.a{display:none}", 1, 0),
    "element with an id": ("line#l{display:none} path#l{display:none}", 1, 0),
    "list": ("rect, .x ,\n#p,line{display:none}", 0, 0),
    "group": ("g{display:none}", 0, 0),
    "child of a hidden group": (".s{visibility:hidden} path{visibility:visible}", 1, 0),
    "child of an undisplayed group": (".s{display:none} path{display:inline}", 0, 0),
    "child of a transparent group": (".s{opacity:0} path{opacity:1}", 0, 0),
    "later rule": (".a{display:none}.a{display:inline}", 2, 0),
    "later rule of the same specificity": (".b{display:none}.a{display:inline}", 2, 0),
    "id over class": ("#p{display:none}.a{display:inline}", 1, 0),
    "class over element": (".a{display:none}path{display:inline}", 1, 0),
    "element with a class over class": ("path.a{display:none}.a{display:inline}", 1, 0),
    "important over id": (".a{display:none!important}#p{display:inline}", 1, 0),
    "important over later declaration": (".a{display:none ! IMPORTANT;display:inline}", 1, 0),
    "capitals": (".a{DISPLAY:None}", 1, 0),
    "comments": ("/* .b{display:none} */.a{/*;*/display/**/:none}<!-- -->", 1, 0),
    "string with a brace": (".a::after{content:'}'}.a{display:none}", 1, 0),
    "data URI": ("@font-face{src:url(data:font/woff;base64,AA{}==)}.a{display:none}", 1, 0),
    "unclosed block": (".a{display:none", 1, 0),
    "unclosed comment": ("/* .a{display:none}", 2, 0),
    "stray brace": ("}.a{display:none}", 1, 0),
    "nested block": (".x{.y{color:red}}.a{display:none}", 1, 0),
    "animation": ("@keyframes k{from{opacity:0}}.a{display:none}", 1, 0),
    "media": ("@media print{.a{display:none}}", 2, 1),
    "import": ("@import 'x.css';.a{display:none}", 1, 1),
    "child combinator": ("g>path{display:none}", 2, 1),
    "descendant, attribute and class lists": ("g .a,[x],.a.b,:hover,#l{display:none}", 1, 4),
    "combinator of another property": ("g>path{color:red}", 2, 0),
}


@pytest.mark.parametrize(("rules", "strokes", "ignored"), DRAWN.values(), ids=DRAWN)
def test_elements_that_a_style_sheet_hides_are_no_strokes(
    rules: str, strokes: int, ignored: int, tmp_path: Path
) -> None:
    sheet = f"<style><![CDATA[{STROKE}{rules}]]></style>"
    drawings = parse_svg(tmp_path / "x.svg", svg_document(sheet + BODY))
    assert drawings.stroke_counts.sum() == strokes
    lost = {remark.reason: remark.count for remark in drawings.lost}
    hidden = lost.pop("hidden elements", 0) + lost.pop("zero-opacity elements", 0)
    assert (hidden, lost) == (2 - strokes, {"style rules": ignored} if ignored else {})


ATTRIBUTES = {
    "inline over id": ("<style>#p{display:none}</style><path id='p' style='display:inline' d='M0 0L1 1'/>", 1),
    "important over inline": (
        "<style>#p{display:none!important}</style><path id='p' style='display:inline' d='M0 0L1 1'/>",
        0,
    ),
    "inline important": (
        "<style>#p{display:none!important}</style><path id='p' style='display:inline!important' d='M0 0L1 1'/>",
        1,
    ),
    "sheet over attribute": ("<style>path{display:inline}</style><path display='none' d='M0 0L1 1'/>", 1),
    "sheet after the element": ("<path class='a' d='M0 0L1 1'/><style>.a{display:none}</style>", 0),
    "two sheets": (
        "<style>.a{display:none}</style><defs><style>.a{display:inline}</style></defs><path class='a' d='M0 0L1 1'/>",
        1,
    ),
    "sheet for print": ("<style media='print'>*{display:none}</style><path d='M0 0L1 1'/>", 1),
    "other language": ("<style type='text/less'>*{display:none}</style><path d='M0 0L1 1'/>", 1),
    "use": ("<style>.a{display:none}</style><defs><path id='p' d='M0 0L1 1'/></defs><use class='a' href='#p'/>", 0),
    "stroke inherited by a use": (
        "<style>.a{stroke:red;fill:none}</style><defs><path id='p' d='M0 0L1 1V0z'/></defs><use class='a' href='#p'/>",
        1,
    ),
}


@pytest.mark.parametrize(("body", "strokes"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_style_sheets_and_attributes_are_ordered(body: str, strokes: int, tmp_path: Path) -> None:
    assert parse_svg(tmp_path / "x.svg", svg_document(body)).stroke_counts.sum() == strokes


def test_element_is_matched_in_constant_time() -> None:
    sheet = StyleSheet("x")
    sheet.add("".join(f".a{{fill:red}}path.b{i}{{stroke:red}}" for i in range(10_000)))
    lookups = 0

    class Counted(dict[tuple[str, str], object]):
        def get(self, key: tuple[str, str], default: object = None) -> object:
            nonlocal lookups
            lookups += 1
            return super().get(key, default)

    sheet._rules = Counted(sheet._rules)  # type: ignore[assignment]
    found = sheet.declarations("path", "p", "a b7")
    assert {name: declaration.value for name, declaration in found.items()} == {"fill": "red", "stroke": "red"}
    assert lookups == 8


def test_length_of_style_sheets_is_limited(tmp_path: Path) -> None:
    font = f"@font-face{{src:url('data:,{'x' * svg_css.MAX_CHARACTERS}')}}"
    sheets = [f"<style>{font}</style>", f"<style>{'a' * (svg_css.MAX_CHARACTERS // 2)}</style>"]
    assert len(parse_svg(tmp_path / "x.svg", svg_document("".join(sheets) + "<line x2='1'/>"))) == 1
    with pytest.raises(DataError, match="style sheets of over 1048576 characters; save it as plain SVG"):
        parse_svg(tmp_path / "x.svg", svg_document("".join(sheets) + sheets[1]))
