"""Fonts of captions: fallback to an installed font, captions that no font can draw, and no warnings of matplotlib."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.errors import InputWarning
from mdnrnn.render import fonts
from mdnrnn.render.figures.attention import attention_figure
from mdnrnn.render.figures.scatter import map_figure
from mdnrnn.render.fonts import complete_fonts
from mdnrnn.render.layout import lay_out
from mdnrnn.render.raster import figure_bytes, to_figure
from mdnrnn.render.save import render
from mdnrnn.render.style import DrawingOptions
from tests.render.helpers import png_pixels

LINE = [np.array([[0.0, 0.0], [10.0, 10.0]])]
KNOWN, UNKNOWN = "\u6f22", "\u4ec2"
"""Characters that the fonts of matplotlib do not have. The tests do not see other installed fonts."""


def clear_caches() -> None:
    """Forget which fonts are installed."""
    for cached in (fonts._can_draw, fonts._open_font, fonts._families_with, fonts._font_path):
        cached.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def bundled_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide installed fonts other than those of matplotlib."""
    bundled = [font for font in font_manager.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", bundled)
    clear_caches()
    yield
    clear_caches()


@pytest.fixture
def installed(tmp_path: Path, bundled_fonts: None) -> None:
    """Install a font whose only character, `KNOWN`, is a black square."""
    pen = TTGlyphPen(None)
    for point, draw in zip([(0, 0), (0, 700), (700, 700), (700, 0)], [pen.moveTo, *[pen.lineTo] * 3], strict=True):
        draw(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(KNOWN): "square"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "square": (700, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test Squares", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    font_manager.fontManager.addfont(tmp_path / "squares.ttf")
    clear_caches()


def texts(figure: Figure) -> list[str]:
    """Return the texts of a figure that are drawn."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("extension", [".png", ".pdf", ".gif"])
def test_caption_is_drawn_in_a_font_that_has_its_characters(extension: str) -> None:
    labels, blanks = [f"a{KNOWN}"], [f"a{UNKNOWN}"]
    assert render([LINE], extension, DrawingOptions(labels=labels))
    with pytest.warns(
        InputWarning, match=r"captions with 仂 are missing in the picture, because no installed font has these"
    ):
        render([LINE], extension, DrawingOptions(labels=blanks))


@pytest.mark.usefixtures("installed")
def test_missing_character_is_not_a_box() -> None:
    """The known character is a black square of 0.7 em, the unknown one hides its caption."""
    known, unknown, empty = (
        to_figure(lay_out([LINE], DrawingOptions(labels=[label]))) for label in (KNOWN, UNKNOWN, "x")
    )
    square = png_pixels(figure_bytes(known, ".png"), "L")[325:]
    assert square.min() < 60
    with pytest.warns(InputWarning, match="missing in the picture"):
        hidden = png_pixels(figure_bytes(unknown, ".png"), "L")[325:]
    assert hidden.min() == 255
    assert png_pixels(figure_bytes(empty, ".png"), "L")[325:].min() < 255
    size = lay_out([LINE], DrawingOptions(labels=[KNOWN])).font_size
    dark = (square < 128).sum()
    assert dark == pytest.approx((2 * 0.7 * size) ** 2, rel=0.1)


def test_only_captions_with_missing_characters_are_left_out() -> None:
    figure = to_figure(lay_out([LINE] * 4, DrawingOptions(labels=["cat", UNKNOWN, "d\u00e9j\u00e0", f"x{UNKNOWN}"])))
    with pytest.warns(InputWarning) as warned:
        complete_fonts(figure)
    assert len(warned) == 1
    assert [text for text in texts(figure) if not text.isdecimal()] == ["cat", "d\u00e9j\u00e0"]


@pytest.mark.parametrize("extension", [".png", ".svg", ".pdf"])
def test_names_in_legends_and_characters_at_axes_are_left_out(extension: str) -> None:
    names = [f"a{UNKNOWN}", "b"]
    legend = map_figure(np.eye(2), lambda _: LINE, np.arange(2), names)
    axis = attention_figure([np.ones((4, 4))], [f"a{UNKNOWN}c"])
    for figure, shown in ((legend, "b"), (axis, "c")):
        with pytest.warns(InputWarning, match="仂"):
            figure_bytes(figure, extension)
        drawn = texts(figure)
        assert shown in drawn
        assert not any(UNKNOWN in text for text in drawn)


def test_svg_of_drawings_keeps_all_captions() -> None:
    """The viewer of the file chooses the fonts."""
    svg = render([LINE], ".svg", DrawingOptions(labels=[UNKNOWN + KNOWN])).decode()
    assert f">{UNKNOWN}{KNOWN}</text>" in svg
    assert 'font-family="sans-serif"' in svg


@pytest.mark.parametrize("extension", [".png", ".gif"])
def test_command_prints_one_line_about_captions(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], extension: str
) -> None:
    labels = [UNKNOWN, f"{UNKNOWN}b", "cat"]
    corpus = Corpus.from_arrays([np.ones((4, 2))] * 3, labels=labels, splits=["train"] * 3)
    native.write(corpus, tmp_path / "corpus")
    out = str(tmp_path / f"picture{extension}")
    assert main(["data", "draw", str(tmp_path / "corpus"), "--out", out]) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        f"warning: captions with {UNKNOWN} are missing in the picture, because no installed font has these"
    )
