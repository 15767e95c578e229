"""The grid of cells: drawings are scaled uniformly and stay inside their cells."""

import math

import numpy as np
import pytest

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.geometry import bounds
from mdnrnn.render.layout import Cell, Sheet, lay_out, unit_scales
from mdnrnn.render.style import DrawingOptions


def scale_of(cell: Cell, drawing: Drawing) -> float:
    """Return the scale of a drawing in its cell; assert that it was only scaled uniformly and moved."""
    raw, scaled = np.concatenate(drawing), np.concatenate(cell.strokes)
    raw, scaled = raw - raw.mean(axis=0), scaled - scaled.mean(axis=0)
    scale = float((raw * scaled).sum() / (raw * raw).sum())
    np.testing.assert_allclose(scaled, scale * raw, atol=0.011)
    return scale


def free_space(sheet: Sheet, cell: Cell) -> tuple[float, float, float, float]:
    """Return the space between the lines and the left, top, right and bottom edge of the cell."""
    left, top, width, height = bounds(cell.strokes)
    half = sheet.line_width / 2
    right, bottom = cell.left + cell.width - (left + width), cell.top + cell.height - (top + height)
    return left - cell.left - half, top - cell.top - half, right - half, bottom - half


def test_drawings_are_scaled_uniformly_and_keep_their_strokes(drawings: list[Drawing]) -> None:
    for cell, drawing in zip(lay_out(drawings).cells, drawings, strict=True):
        assert [len(stroke) for stroke in cell.strokes] == [len(stroke) for stroke in drawing]
        assert scale_of(cell, drawing) > 0


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("same_scale", [False, True])
def test_lines_stay_inside_the_margin_of_their_cell(
    drawings: list[Drawing], degenerate_drawings: list[Drawing], margin: float, same_scale: bool
) -> None:
    options = DrawingOptions(margin=margin, same_scale=same_scale, line_width=0.05)
    sheet = lay_out(drawings + degenerate_drawings, options)
    for cell in sheet.cells:
        space = free_space(sheet, cell) if cell.strokes else (math.inf,)
        assert min(space) >= margin * min(cell.width, cell.height) - 0.011


def test_drawing_fills_its_cell_and_is_centered(drawings: list[Drawing]) -> None:
    sheet = lay_out(drawings, DrawingOptions(margin=0.1))
    for cell in sheet.cells:
        left, top, right, bottom = free_space(sheet, cell)
        assert left == pytest.approx(right, abs=0.021)
        assert top == pytest.approx(bottom, abs=0.021)
        assert min(left, top) == pytest.approx(0.1 * cell.width, abs=0.011)


def test_same_scale_is_the_smallest_of_the_separate_scales(drawings: list[Drawing]) -> None:
    def scales(same_scale: bool) -> list[float]:
        sheet = lay_out(drawings, DrawingOptions(same_scale=same_scale))
        return [scale_of(cell, drawing) for cell, drawing in zip(sheet.cells, drawings, strict=True)]

    common, separate = scales(same_scale=True), scales(same_scale=False)
    np.testing.assert_allclose(common, min(separate), rtol=1e-3)
    assert max(separate) > 1.1 * min(separate)


def test_unit_scales_are_the_scales_of_cells_of_size_1(drawings: list[Drawing]) -> None:
    options = DrawingOptions(cell_size=100)
    sheet = lay_out(drawings, options)
    scales = [scale_of(cell, drawing) for cell, drawing in zip(sheet.cells, drawings, strict=True)]
    np.testing.assert_allclose(100 * np.array(unit_scales(drawings, options)), scales, rtol=1e-3)


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [
        (1, None, (1, 1)),
        (5, None, (3, 2)),
        (7, None, (3, 3)),
        (7, 4, (4, 2)),
        (2, 9, (2, 1)),
        (0, None, (1, 1)),
    ],
)
def test_cells_tile_the_sheet_row_by_row(count: int, columns: int | None, expected: tuple[int, int]) -> None:
    square = [np.array([[0.0, 0.0], [1.0, 1.0]])]
    sheet = lay_out([square] * count, DrawingOptions(columns=columns, cell_size=100))
    assert (sheet.width, sheet.height) == (100 * expected[0], 100 * expected[1])
    corners = [(cell.left, cell.top) for cell in sheet.cells]
    assert corners == [(100 * (n % expected[0]), 100 * (n // expected[0])) for n in range(count)]


@pytest.mark.parametrize(("width", "columns"), [(12, 1), (1 / 12, 4)], ids=["wide", "tall"])
def test_cells_have_the_aspect_ratio_of_drawings_that_are_far_from_square(width: float, columns: int) -> None:
    drawing = [np.array([[0.0, 0.0], [width, 1.0]])]
    sheet = lay_out([drawing] * 4, DrawingOptions(cell_size=100))
    assert sheet.cells[0].width / sheet.cells[0].height == pytest.approx(width)
    assert sheet.cells[0].width * sheet.cells[0].height == pytest.approx(100 * 100)
    assert sheet.width == pytest.approx(columns * sheet.cells[0].width)


def test_labels_are_one_line_below_their_cells(drawings: list[Drawing]) -> None:
    sheet = lay_out(drawings[:4], DrawingOptions(labels=["a", "two\nlines", "", "z" * 60]))
    assert [cell.label for cell in sheet.cells] == ["a", "two lines", "", "z" * 60]
    row_height = sheet.cells[2].top - sheet.cells[0].top
    for cell in sheet.cells:
        x, y = cell.label_position
        assert x == cell.left + cell.width / 2
        assert cell.top + cell.height < y < cell.top + row_height
    assert 60 * 0.5 * sheet.font_size < sheet.cells[0].width


def test_wrong_number_of_labels_is_an_error(drawings: list[Drawing]) -> None:
    with pytest.raises(ValueError, match=r"^labels: received 1, expected 7: one per drawing$"):
        lay_out(drawings, DrawingOptions(labels=["one"]))
