"""Figures, PNG and PDF: dark pixels along the strokes and nowhere else."""

import subprocess
import sys

import numpy as np
import pytest

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.geometry import arc_lengths
from mdnrnn.render.layout import lay_out
from mdnrnn.render.raster import MAX_SIDE, PIXELS_PER_POINT, figure_bytes, to_figure
from mdnrnn.render.style import DrawingOptions
from tests.render.helpers import png_pixels


def draw_gray(drawings: list[Drawing], **options: object) -> np.ndarray:
    """Return a picture of drawings as gray levels 0 to 255."""
    sheet = lay_out(drawings, DrawingOptions(**options))  # type: ignore[arg-type]
    return png_pixels(figure_bytes(to_figure(sheet), ".png"), "L")


def pixels_near(stroke: np.ndarray, shape: tuple[int, ...], distance: float) -> np.ndarray:
    """Return a mask of the pixels whose center is within a distance of the stroke, all in pixels."""
    lengths = arc_lengths(stroke)
    samples = np.linspace(0, lengths[-1], int(2 * lengths[-1]) + 1)
    line = np.stack([np.interp(samples, lengths, stroke[:, axis]) for axis in (0, 1)], axis=1)
    mask = np.zeros(shape, dtype=bool)
    radius = int(distance) + 1
    for x in range(-radius, radius + 1):
        for y in range(-radius, radius + 1):
            pixels = np.floor(line).astype(int) + np.array([x, y])
            near = np.hypot(*(pixels + 0.5 - line).T) <= distance
            mask[pixels[near, 1], pixels[near, 0]] = True
    return mask


def test_pixels_are_dark_along_the_strokes_and_white_elsewhere(drawings: list[Drawing]) -> None:
    picture = draw_gray(drawings, line_width=0.02, cell_size=80)
    sheet = lay_out(drawings, DrawingOptions(line_width=0.02, cell_size=80))
    assert picture.T.shape == (PIXELS_PER_POINT * sheet.width, PIXELS_PER_POINT * sheet.height)
    strokes = [PIXELS_PER_POINT * stroke for cell in sheet.cells for stroke in cell.strokes]
    half_width = PIXELS_PER_POINT * sheet.line_width / 2
    inside = np.any([pixels_near(stroke, picture.shape, half_width - 0.75) for stroke in strokes], axis=0)
    outside = ~np.any([pixels_near(stroke, picture.shape, half_width + 1.25) for stroke in strokes], axis=0)
    assert inside.sum() > 1000
    assert picture[inside].max() < 60
    assert picture[outside].min() == 255


@pytest.mark.parametrize("copies", [1, 3])
def test_dot_is_a_disk_with_the_line_width_as_diameter(dot: Drawing, copies: int) -> None:
    picture = draw_gray([[np.repeat(dot[0], copies, axis=0)]], line_width=0.05, cell_size=100)
    ink = (255 - picture) / (255 - picture.min())
    diameter = PIXELS_PER_POINT * 0.05 * 100
    assert picture.min() < 60
    assert ink.sum() == pytest.approx(np.pi / 4 * diameter**2, rel=0.05)
    rows, columns = np.nonzero(ink > 0.5)
    assert rows.mean() == pytest.approx(99.5, abs=0.6)
    assert columns.mean() == pytest.approx(99.5, abs=0.6)


def test_degenerate_drawings_are_visible_and_an_empty_one_is_white(degenerate_drawings: list[Drawing]) -> None:
    picture = draw_gray(degenerate_drawings, columns=6, cell_size=50, line_width=0.05)
    cells = np.split(picture, 6, axis=1)
    assert [bool(cell.min() < 60) for cell in cells] == [bool(drawing) for drawing in degenerate_drawings]
    assert draw_gray([]).min() == 255


def test_label_is_below_the_cell_and_not_parsed_as_a_formula() -> None:
    square = [np.array([[0.0, 0.0], [1.0, 1.0]])]
    below = draw_gray([square, square], labels=["$\\none$", ""], cell_size=100)[200:]
    assert below[:, :200].min() < 100
    assert below[:, 200:].min() == 255


def test_long_sheets_have_a_lower_resolution(dot: Drawing) -> None:
    picture = draw_gray([dot] * 60, columns=1)
    assert picture.shape[0] == MAX_SIDE
    assert picture.min() < 255


@pytest.mark.parametrize(("extension", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_equal_drawings_have_equal_files_without_a_date(drawings: list[Drawing], extension: str, start: bytes) -> None:
    sheet = lay_out(drawings, DrawingOptions(labels=list("abcdefg")))
    first, second = (figure_bytes(to_figure(sheet), extension) for _ in range(2))
    assert first == second
    assert first.startswith(start)
    assert b"Date" not in first


def test_figure_with_another_extension_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"received extension '\.gif', expected one of \.png, \.pdf, \.svg"):
        figure_bytes(to_figure(lay_out([])), ".gif")


def test_svg_does_not_import_matplotlib_and_figures_do_not_import_pyplot() -> None:
    program = """
import sys
from mdnrnn.render.save import render
from mdnrnn.render.style import DrawingOptions
render([], ".svg", DrawingOptions(animate=True))
assert not {"torch", "matplotlib"} & set(sys.modules)
render([], ".png")
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
