"""Pictures of performances: the whole screen to scale, a dot for each touch-down, colors that tell the time."""

import io
from itertools import pairwise

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from mdnrnn.render import ENDINGS, Performance, render_performances
from mdnrnn.render.layout import Cell
from mdnrnn.render.style import PLASMA
from mdnrnn.render.touches import COLORS, LEVELS, MARGIN, TAP, Part, lay_out_performances, levels, screen_parts

SVG = "{http://www.w3.org/2000/svg}"
SIZE = 200.0


def random_performance(seed: int, touches: int = 60) -> Performance:
    """Short moves within the screen, one touch in six coming down, times log-normal."""
    rng = np.random.default_rng(seed)
    places = np.clip(0.5 + np.cumsum(rng.normal(0, 0.05, (touches, 2)), axis=0), 0, 1)
    seconds = np.concatenate([[0.0], np.cumsum(rng.lognormal(-3, 1, touches - 1))])
    return Performance(seconds, places, np.concatenate([[True], rng.random(touches - 1) < 1 / 6]))


PERFORMANCES = [random_performance(seed) for seed in range(5)]
ONE_TAP = Performance(np.zeros(1), np.array([[0.25, 0.75]]), np.array([True]))
LONGEST = max(performance.duration for performance in PERFORMANCES)


def on_page(cell: Cell, places: np.ndarray) -> np.ndarray:
    """Places of a screen of 0 to 1 in page units."""
    return np.array([cell.left, cell.top]) + SIZE * (MARGIN + (1 - 2 * MARGIN) * places)


def dots(cell: Cell) -> np.ndarray:
    """The middles of the dots of a cell, (n, 2)."""
    return np.concatenate([s for s, width in zip(cell.strokes, cell.widths, strict=True) if width == TAP * SIZE])


def lines(performance: Performance, longest: float = LONGEST) -> list[Part]:
    return [part for part in screen_parts(performance, longest)[1:] if part.width < TAP]


def test_a_dot_stands_where_each_touch_came_down_on_the_screen() -> None:
    page = lay_out_performances(PERFORMANCES, size=SIZE)
    for performance, cell in zip(PERFORMANCES, page.cells, strict=False):
        taps = performance.places[performance.down]
        assert dots(cell).shape == taps.shape
        np.testing.assert_allclose(dots(cell), on_page(cell, taps), atol=0.00501)


def test_the_edge_of_the_screen_is_drawn_around_it_in_every_cell() -> None:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    page = lay_out_performances(PERFORMANCES, size=SIZE)
    for cell in page.cells[: len(PERFORMANCES)]:
        np.testing.assert_allclose(cell.strokes[0], on_page(cell, corners), atol=0.00501)


def test_lines_are_the_moves_of_the_touch_and_no_others() -> None:
    for performance in PERFORMANCES:
        drawn = [(*place, *other) for part in lines(performance) for place, other in pairwise(part.points.tolist())]
        moved = np.flatnonzero(~performance.down)
        expected = np.concatenate([performance.places[moved - 1], performance.places[moved]], axis=1)
        assert drawn == [tuple(row) for row in expected.tolist()]


def test_each_point_of_a_line_keeps_its_moment() -> None:
    for performance in PERFORMANCES:
        when = dict(zip(map(tuple, performance.places.tolist()), performance.seconds.tolist(), strict=True))
        for part in screen_parts(performance, LONGEST)[1:]:
            assert [when[x, y] for x, y in part.points.tolist()] == part.moments.tolist()


def test_colors_run_along_the_map_as_time_goes_on() -> None:
    for performance in PERFORMANCES:
        for width in {part.width for part in screen_parts(performance, LONGEST)[1:]}:
            parts = [part for part in screen_parts(performance, LONGEST)[1:] if part.width == width]
            found = [COLORS.index(part.color) for part in parts]
            assert found == sorted(found)
            assert len(set(found)) > 1
    assert (COLORS[0], COLORS[-1]) == (PLASMA[0], PLASMA[-1])


def test_one_time_has_one_color_in_all_cells_of_a_picture() -> None:
    page = lay_out_performances(PERFORMANCES, size=SIZE)
    for performance, cell in zip(PERFORMANCES, page.cells, strict=False):
        taps = [c for c, width in zip(cell.colors, cell.widths, strict=True) if width == TAP * SIZE]
        share = performance.seconds[performance.down] / LONGEST
        assert taps == [COLORS[min(int(each * LEVELS), LEVELS - 1)] for each in share]


def test_levels_begin_at_the_first_color_and_end_at_the_last() -> None:
    assert levels(np.array([0, 0.999, 1, 12, 23.99, 24]), 24).tolist() == [0, 0, 1, 12, 23, 23]
    assert levels(np.zeros(2), 0).tolist() == [0, 0]


def test_a_line_is_cut_only_where_its_color_changes() -> None:
    seconds = np.arange(500) / 100
    steady = Performance(seconds, np.column_stack([seconds / 5, seconds / 5]), np.arange(500) == 0)
    parts = lines(steady, steady.duration)
    assert [part.color for part in parts] == list(COLORS)
    assert all((before.points[-1] == after.points[0]).all() for before, after in pairwise(parts))


def test_touches_off_the_screen_stay_within_their_cell() -> None:
    wild = Performance(np.arange(3.0), np.array([[-9, 0.5], [0.5, 12], [1.02, -0.01]]), np.ones(3, bool))
    cell = lay_out_performances([wild], size=SIZE).cells[0]
    assert (dots(cell) - TAP * SIZE / 2 >= -0.01).all()
    assert (dots(cell) + TAP * SIZE / 2 <= SIZE + 0.01).all()
    np.testing.assert_allclose(dots(cell)[2], on_page(cell, wild.places[2]), atol=0.00501)


def test_the_key_names_both_ends_of_the_time_and_holds_every_color() -> None:
    bar, first, last = lay_out_performances(PERFORMANCES, size=SIZE).cells[len(PERFORMANCES) :]
    assert (first.label, last.label) == ("0 s", f"{LONGEST:.1f} s")
    assert tuple(bar.colors[1:]) == COLORS
    ends = [0.0, *(float(moments[-1]) for moments in bar.moments[1:])]
    np.testing.assert_allclose(ends, LONGEST * np.arange(LEVELS + 1) / LEVELS)
    assert first.label_place[0] < bar.left < bar.left + bar.width < last.label_place[0]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("labels", [True, False])
def test_the_key_stands_on_the_page_below_all_cells(count: int, labels: bool) -> None:
    page = lay_out_performances(PERFORMANCES[:count], labels=["word"] * count if labels else None)
    *cells, bar, first, last = page.cells
    assert bar.top > max(cell.label_place[1] if labels else cell.top + cell.height for cell in cells)
    half = 0.3 * page.font_size * len(last.label)
    assert first.label_place[0] - half > 0
    assert last.label_place[0] + half < page.width
    assert last.label_place[1] < page.height


def test_a_performance_of_one_tap_is_a_dot_on_a_screen() -> None:
    (cell,) = lay_out_performances([ONE_TAP], size=SIZE).cells
    assert len(cell.strokes) == 2
    np.testing.assert_allclose(dots(cell), [[SIZE * (MARGIN + (1 - 2 * MARGIN) * x) for x in (0.25, 0.75)]], atol=0.005)
    root = ElementTree.fromstring(render_performances([ONE_TAP], ".svg").decode())
    assert [path.attrib["d"].endswith("h 0") for path in root.iter(f"{SVG}path")] == [False, True]


def test_pixels_are_colored_where_the_touches_were() -> None:
    data = render_performances([ONE_TAP, PERFORMANCES[0]], ".png", columns=2, size=100)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    x, y = (2 * 100 * (MARGIN + (1 - 2 * MARGIN) * place) for place in (0.25, 0.75))
    assert "#" + bytes(pixels[int(y), int(x)]).hex() == PLASMA[0]
    around = pixels[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13].min(axis=2)
    assert (around < 128).sum() == pytest.approx(np.pi * (0.5 * TAP * 200) ** 2, rel=0.2)


def test_labels_stand_below_their_cells() -> None:
    root = ElementTree.fromstring(render_performances(PERFORMANCES[:2], ".svg", labels=["call", "answer"]).decode())
    assert [text.text for text in root.iter(f"{SVG}text")][:2] == ["call", "answer"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_picture_of_no_performance_is_refused_in_one_line(ending: str) -> None:
    with pytest.raises(ValueError, match=r"^performances: received none, expected one or more to draw$"):
        render_performances([], ending)


def test_a_picture_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"received ending '.bmp', expected one of .svg, .png, .pdf, .gif$"):
        render_performances([ONE_TAP], ".bmp")
    with pytest.raises(ValueError, match=r"received ending '.png' to animate, expected one of .svg, .gif$"):
        render_performances([ONE_TAP], ".png", animate=True)
