"""PNG and PDF: ink where the strokes are and nowhere else."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mdnrnn.render import Drawing, Style, figure_bytes, to_figure
from mdnrnn.render.drawing import arc_lengths
from mdnrnn.render.layout import lay_out
from mdnrnn.render.raster import LARGEST_SIDE, PIXELS_PER_POINT


def gray(drawings: list[Drawing], **options: object) -> np.ndarray:
    """The picture as gray levels, 0 to 255."""
    png = figure_bytes(to_figure(drawings, **options), ".png")  # type: ignore[arg-type]
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=int)


def near(stroke: np.ndarray, shape: tuple[int, ...], distance: float) -> np.ndarray:
    """The pixels whose center lies within a distance of the stroke, all in pixels."""
    along = arc_lengths(stroke)
    places = np.linspace(0, along[-1], int(2 * along[-1]) + 1)
    line = np.stack([np.interp(places, along, stroke[:, axis]) for axis in (0, 1)], axis=1)
    found = np.zeros(shape, dtype=bool)
    reach = int(distance) + 1
    for across in range(-reach, reach + 1):
        for down in range(-reach, reach + 1):
            pixels = np.floor(line).astype(int) + np.array([across, down])
            close = np.hypot(*(pixels + 0.5 - line).T) <= distance
            found[pixels[close, 1], pixels[close, 0]] = True
    return found


def test_ink_is_where_the_strokes_are_and_nowhere_else(drawings: list[Drawing]) -> None:
    picture = gray(drawings, style=Style(width=0.02), size=80)
    page = lay_out(drawings, Style(width=0.02), size=80)
    assert picture.T.shape == (PIXELS_PER_POINT * page.width, PIXELS_PER_POINT * page.height)
    strokes = [PIXELS_PER_POINT * stroke for cell in page.cells for stroke in cell.strokes]
    half_width = PIXELS_PER_POINT * page.line_width / 2
    inside = np.any([near(stroke, picture.shape, half_width - 0.75) for stroke in strokes], axis=0)
    outside = ~np.any([near(stroke, picture.shape, half_width + 1.25) for stroke in strokes], axis=0)
    assert inside.sum() > 1000
    assert picture[inside].max() < 60
    assert picture[outside].min() == 255


@pytest.mark.parametrize("copies", [1, 3])
def test_a_dot_is_a_disc_as_wide_as_the_line(dot: Drawing, copies: int) -> None:
    picture = gray([[np.repeat(dot[0], copies, axis=0)]], style=Style(width=0.05), size=100)
    ink = (255 - picture) / (255 - picture.min())
    diameter = PIXELS_PER_POINT * 0.05 * 100
    assert picture.min() < 60
    assert ink.sum() == pytest.approx(np.pi / 4 * diameter**2, rel=0.05)
    rows, columns = np.nonzero(ink > 0.5)
    assert rows.mean() == pytest.approx(99.5, abs=0.6)
    assert columns.mean() == pytest.approx(99.5, abs=0.6)


def test_odd_drawings_are_drawn_and_an_empty_one_leaves_its_cell_white(odd_drawings: list[Drawing]) -> None:
    cells = np.split(gray(odd_drawings, columns=6, size=50, style=Style(width=0.05)), 6, axis=1)
    assert [bool(cell.min() < 60) for cell in cells] == [bool(drawing) for drawing in odd_drawings]
    assert gray([]).min() == 255


def test_a_label_is_ink_below_the_cell_and_no_formula() -> None:
    square = [np.array([[0.0, 0.0], [1.0, 1.0]])]
    below = gray([square, square], labels=["$\\none$", ""], size=100)[200:]
    assert below[:, :200].min() < 100
    assert below[:, 200:].min() == 255


def test_a_very_long_page_is_drawn_at_a_lower_resolution(dot: Drawing) -> None:
    picture = gray([dot] * 60, columns=1)
    assert picture.shape[0] == LARGEST_SIDE
    assert picture.min() < 255


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_same_drawings_make_the_same_file(drawings: list[Drawing], ending: str, magic: bytes) -> None:
    first, second = (figure_bytes(to_figure(drawings, labels=list("abcdefg")), ending) for _ in range(2))
    assert first == second
    assert first.startswith(magic)
    assert b"Date" not in first


def test_a_figure_of_another_ending_is_refused() -> None:
    with pytest.raises(ValueError, match=r"received ending '\.gif', expected one of \.png, \.pdf, \.svg"):
        figure_bytes(to_figure([]), ".gif")


def test_svg_needs_no_matplotlib_and_figures_no_pyplot() -> None:
    program = """
import sys
from mdnrnn.render import render
render([], ".svg", animate=True)
assert "matplotlib" not in sys.modules
render([], ".png")
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
