"""The grid that all pictures share: one scale for both axes, everything inside its cell."""

import math

import numpy as np
import pytest

from mdnrnn.render import Drawing, Style, bounds
from mdnrnn.render.layout import Cell, Page, lay_out


def scale_of(cell: Cell, drawing: Drawing) -> float:
    """The scale that maps the drawing onto its cell, once it is sure that it was scaled and moved only."""
    raw, placed = np.concatenate(drawing), np.concatenate(cell.strokes)
    raw, placed = raw - raw.mean(axis=0), placed - placed.mean(axis=0)
    scale = float((raw * placed).sum() / (raw * raw).sum())
    np.testing.assert_allclose(placed, scale * raw, atol=0.011)
    return scale


def room(page: Page, cell: Cell) -> tuple[float, float, float, float]:
    """What is left free within the cell at its left, top, right and bottom, beside the ink."""
    left, top, width, height = bounds(cell.strokes)
    half = page.line_width / 2
    right, bottom = cell.left + cell.width - (left + width), cell.top + cell.height - (top + height)
    return left - cell.left - half, top - cell.top - half, right - half, bottom - half


def test_each_drawing_is_scaled_alike_in_x_and_y_and_keeps_its_strokes(drawings: list[Drawing]) -> None:
    page = lay_out(drawings, Style())
    for cell, drawing in zip(page.cells, drawings, strict=True):
        assert [len(stroke) for stroke in cell.strokes] == [len(stroke) for stroke in drawing]
        assert scale_of(cell, drawing) > 0


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("same_scale", [False, True])
def test_ink_stays_within_its_cell_and_its_margin(
    drawings: list[Drawing], odd_drawings: list[Drawing], margin: float, same_scale: bool
) -> None:
    page = lay_out(drawings + odd_drawings, Style(margin=margin, same_scale=same_scale, width=0.05))
    for cell in page.cells:
        free = room(page, cell) if cell.strokes else (math.inf,)
        assert min(free) >= margin * min(cell.width, cell.height) - 0.011


def test_a_drawing_fills_its_cell_and_is_centred(drawings: list[Drawing]) -> None:
    page = lay_out(drawings, Style(margin=0.1))
    for cell in page.cells:
        left, top, right, bottom = room(page, cell)
        assert left == pytest.approx(right, abs=0.021)
        assert top == pytest.approx(bottom, abs=0.021)
        assert min(left, top) == pytest.approx(0.1 * cell.width, abs=0.011)


def test_one_scale_for_all_when_asked(drawings: list[Drawing]) -> None:
    def scales(same_scale: bool) -> list[float]:
        page = lay_out(drawings, Style(same_scale=same_scale))
        return [scale_of(cell, drawing) for cell, drawing in zip(page.cells, drawings, strict=True)]

    together, apart = scales(same_scale=True), scales(same_scale=False)
    np.testing.assert_allclose(together, min(apart), rtol=1e-3)
    assert max(apart) > 1.1 * min(apart)


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
def test_cells_tile_the_page_row_by_row(count: int, columns: int | None, expected: tuple[int, int]) -> None:
    square = [np.array([[0.0, 0.0], [1.0, 1.0]])]
    page = lay_out([square] * count, Style(), columns=columns, size=100)
    assert (page.width, page.height) == (100 * expected[0], 100 * expected[1])
    places = [(cell.left, cell.top) for cell in page.cells]
    assert places == [(100 * (n % expected[0]), 100 * (n // expected[0])) for n in range(count)]


@pytest.mark.parametrize(("width", "columns"), [(12, 1), (1 / 12, 4)], ids=["lines of text", "columns of text"])
def test_cells_take_the_shape_of_drawings_that_are_far_from_square(width: float, columns: int) -> None:
    drawing = [np.array([[0.0, 0.0], [width, 1.0]])]
    page = lay_out([drawing] * 4, Style(), size=100)
    assert page.cells[0].width / page.cells[0].height == pytest.approx(width)
    assert page.cells[0].width * page.cells[0].height == pytest.approx(100 * 100)
    assert page.width == pytest.approx(columns * page.cells[0].width)


def test_a_label_stands_under_its_cell_on_one_line(drawings: list[Drawing]) -> None:
    page = lay_out(drawings[:4], Style(), labels=["a", "two\nlines", "", "z" * 60])
    assert [cell.label for cell in page.cells] == ["a", "two lines", "", "z" * 60]
    pitch = page.cells[2].top - page.cells[0].top
    for cell in page.cells:
        x, y = cell.label_place
        assert x == cell.left + cell.width / 2
        assert cell.top + cell.height < y < cell.top + pitch
    assert 60 * 0.5 * page.font_size < page.cells[0].width


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"labels": ["one"]}, {"size": 0}, {"size": math.nan}], ids=str)
def test_a_wrong_grid_says_what_was_expected(drawings: list[Drawing], wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}: received .*, expected .*$"):
        lay_out(drawings, Style(), **wrong)  # type: ignore[arg-type]
