"""Scatter plot of drawings: their positions, the selection that is drawn, their colors."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from scipy.spatial.distance import pdist, squareform

from mdnrnn.data.strokes import Drawing
from mdnrnn.render.figures.scatter import MAX_LEGEND_ENTRIES, class_colors, map_figure, select_distant
from mdnrnn.render.geometry import bounds
from mdnrnn.render.raster import figure_bytes
from mdnrnn.render.style import INK, PALETTE
from tests.render.helpers import png_pixels, random_drawing

POSITIONS = np.random.default_rng(0).normal(size=(60, 2)) * [3, 1]
LABEL = np.arange(60) % 3


def draw_map(positions: np.ndarray = POSITIONS, **options: object) -> tuple[list[int], list[np.ndarray], list[str]]:
    """Return the indices of the drawings in a map, its strokes in data units, and the colors of the strokes."""
    indices: list[int] = []

    def draw(index: int) -> Drawing:
        indices.append(index)
        return random_drawing(index)

    figure = map_figure(positions, draw, **options)  # type: ignore[arg-type]
    lines = next(c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    colors = ["#" + bytes(round(255 * part) for part in rgba[:3]).hex() for rgba in np.asarray(lines.get_colors())]
    return indices, [np.asarray(path.vertices) for path in lines.get_paths()], colors


@pytest.mark.parametrize("min_distance", [0.0, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("max_count", [1, 7, 60])
def test_selected_positions_are_distant_and_every_other_position_is_near_one(
    max_count: int, min_distance: float
) -> None:
    selected = select_distant(POSITIONS, max_count, min_distance)
    assert 1 <= len(set(selected)) == len(selected) <= max_count
    distances = squareform(pdist(POSITIONS))
    if len(selected) > 1:
        assert pdist(POSITIONS[selected]).min() >= min_distance
    if len(selected) < max_count:
        remaining = np.setdiff1d(np.arange(60), selected)
        assert (distances[remaining][:, selected].min(1) < min_distance).all()


def test_one_of_equal_positions_is_selected() -> None:
    assert select_distant(np.ones((5, 2)), 5, 0.1) == [0]
    assert sorted(select_distant(np.ones((5, 2)), 5, 0.0)) == [0, 1, 2, 3, 4]
    assert len(select_distant(np.repeat(POSITIONS, 2, axis=0), 120, 1e-9)) == 60


def test_each_drawing_is_upright_at_its_position_in_a_square_of_one_size() -> None:
    indices, strokes, _ = draw_map(max_drawings=10)
    assert len(indices) == 10
    sides = []
    for index in indices:
        drawing = random_drawing(index)
        on_map, strokes = strokes[: len(drawing)], strokes[len(drawing) :]
        left, bottom, width, height = bounds(on_map)
        np.testing.assert_allclose([left + width / 2, bottom + height / 2], POSITIONS[index], atol=1e-9)
        sides.append(max(width, height))
        scale = sides[-1] / max(bounds(drawing)[2:])
        flipped = [(stroke * [1, -1]) * scale for stroke in drawing]
        for stroke, expected in zip(on_map, flipped, strict=True):
            np.testing.assert_allclose(np.diff(stroke, axis=0), np.diff(expected, axis=0), atol=1e-9)
    np.testing.assert_allclose(sides, sides[0])
    assert pdist(POSITIONS[indices]).min() > 0.8 * sides[0]
    assert not strokes


def test_remaining_drawings_are_dots_and_the_limits_include_all_positions() -> None:
    figure = map_figure(POSITIONS, random_drawing, max_drawings=10)
    (axes,) = figure.axes
    dots = np.asarray(axes.collections[0].get_offsets())
    assert len(dots) == 50
    for limits, values in ((axes.get_xlim(), POSITIONS[:, 0]), (axes.get_ylim(), POSITIONS[:, 1])):
        assert limits[0] < values.min() < values.max() < limits[1]
    assert axes.get_aspect() == 1


def test_drawings_have_the_colors_of_their_classes() -> None:
    indices, _, colors = draw_map(label=LABEL, classes=("a", "b", "c"))
    expected = [PALETTE[LABEL[index]] for index in indices for _ in random_drawing(index)]
    assert colors == expected
    assert set(draw_map()[2]) == {INK}


def test_class_colors_of_a_legend_are_distinct_and_do_not_depend_on_the_number_of_classes() -> None:
    colors = class_colors(MAX_LEGEND_ENTRIES)
    assert len(set(colors)) == MAX_LEGEND_ENTRIES
    assert class_colors(5) == colors[:5]
    assert len(class_colors(1000)) == 1000


def test_legend_has_the_names_of_the_present_classes_as_plain_text() -> None:
    names = ("cat", "_hidden", r"$\frac$", "absent", "a name that is long enough to fill much of the line by itself")
    label = np.array([0, 1, 2, 4] * 15)
    figure = map_figure(POSITIONS, random_drawing, label, names, max_drawings=5)
    figure_bytes(figure, ".png")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [names[i] for i in (0, 1, 2, 4)]


def test_legend_is_left_out_if_there_are_too_many_classes() -> None:
    names = [str(i) for i in range(MAX_LEGEND_ENTRIES + 1)]
    positions = POSITIONS[: MAX_LEGEND_ENTRIES + 1]
    assert not map_figure(positions, random_drawing, np.arange(len(names)), names).legends
    assert map_figure(positions[1:], random_drawing, np.arange(len(names) - 1), names).legends


@pytest.mark.parametrize(
    "positions",
    [
        np.zeros((1, 2)), np.zeros((4, 2)), POSITIONS * [1, 0], POSITIONS * [0, 1], POSITIONS * 1e-9 + 5,
        POSITIONS * 1e9,
    ],
    ids=["one", "equal", "row", "column", "near", "far"],
)  # fmt: skip
@pytest.mark.parametrize("extension", [".svg", ".png", ".pdf"])
def test_degenerate_positions_make_a_picture_with_visible_drawings(positions: np.ndarray, extension: str) -> None:
    data = figure_bytes(map_figure(positions, random_drawing), extension)
    assert data.startswith({".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[extension])
    if extension == ".png":
        assert png_pixels(data, "L").min() < 60


def test_map_of_degenerate_drawings_has_equal_files(degenerate_drawings: list[Drawing]) -> None:
    positions = np.arange(12.0).reshape(6, 2)
    first, second = (figure_bytes(map_figure(positions, degenerate_drawings.__getitem__), ".png") for _ in range(2))
    assert first == second


@pytest.mark.parametrize("positions", [np.zeros((0, 2)), np.zeros((3, 3)), np.zeros(2), np.array([[0, np.nan]])])
def test_invalid_positions_are_errors(positions: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"positions: received an array of shape .*, expected finite numbers \(M, 2\)"):
        map_figure(positions, random_drawing)
