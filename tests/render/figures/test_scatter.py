"""Drawings in a plane: where they stand, which of them, in which colors."""

import io

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image
from scipy.spatial.distance import pdist, squareform

from mdnrnn.render import Drawing, bounds, figure_bytes, map_figure
from mdnrnn.render.figures.scatter import MOST_NAMES, class_colors, spread
from mdnrnn.render.style import INK, PALETTE
from tests.render.helpers import random_drawing

PLACES = np.random.default_rng(0).normal(size=(60, 2)) * [3, 1]
LABEL = np.arange(60) % 3


def shown(places: np.ndarray = PLACES, **options: object) -> tuple[list[int], list[np.ndarray], list[str]]:
    """Numbers of the drawings in a map, its strokes in data units, and its strokes' colors."""
    asked: list[int] = []

    def draw(index: int) -> Drawing:
        asked.append(index)
        return random_drawing(index)

    figure = map_figure(places, draw, **options)  # type: ignore[arg-type]
    lines = next(c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    colors = ["#" + bytes(round(255 * part) for part in rgba[:3]).hex() for rgba in np.asarray(lines.get_colors())]
    return asked, [np.asarray(path.vertices) for path in lines.get_paths()], colors


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("most", [1, 7, 60])
def test_places_are_spread_as_far_as_they_must_and_none_is_left_out_that_fits(most: int, apart: float) -> None:
    taken = spread(PLACES, most, apart)
    assert 1 <= len(set(taken)) == len(taken) <= most
    distances = squareform(pdist(PLACES))
    if len(taken) > 1:
        assert pdist(PLACES[taken]).min() >= apart
    if len(taken) < most:
        others = np.setdiff1d(np.arange(60), taken)
        assert (distances[others][:, taken].min(1) < apart).all()


def test_one_of_equal_places_is_taken() -> None:
    assert spread(np.ones((5, 2)), 5, 0.1) == [0]
    assert sorted(spread(np.ones((5, 2)), 5, 0.0)) == [0, 1, 2, 3, 4]
    assert len(spread(np.repeat(PLACES, 2, axis=0), 120, 1e-9)) == 60


def test_each_drawing_stands_upright_at_its_place_in_a_square_of_one_size() -> None:
    indices, strokes, _ = shown(most=10)
    assert len(indices) == 10
    sides = []
    for index in indices:
        drawing = random_drawing(index)
        mine, strokes = strokes[: len(drawing)], strokes[len(drawing) :]
        left, bottom, width, height = bounds(mine)
        np.testing.assert_allclose([left + width / 2, bottom + height / 2], PLACES[index], atol=1e-9)
        sides.append(max(width, height))
        scale = sides[-1] / max(bounds(drawing)[2:])
        turned = [(stroke * [1, -1]) * scale for stroke in drawing]
        for found, expected in zip(mine, turned, strict=True):
            np.testing.assert_allclose(np.diff(found, axis=0), np.diff(expected, axis=0), atol=1e-9)
    np.testing.assert_allclose(sides, sides[0])
    assert pdist(PLACES[indices]).min() > 0.8 * sides[0]
    assert not strokes


def test_the_others_are_dots_and_all_is_in_view() -> None:
    figure = map_figure(PLACES, random_drawing, most=10)
    (axes,) = figure.axes
    dots = np.asarray(axes.collections[0].get_offsets())
    assert len(dots) == 50
    for limits, along in ((axes.get_xlim(), PLACES[:, 0]), (axes.get_ylim(), PLACES[:, 1])):
        assert limits[0] < along.min() < along.max() < limits[1]
    assert axes.get_aspect() == 1


def test_drawings_have_the_colors_of_their_classes() -> None:
    indices, _, colors = shown(label=LABEL, names=("a", "b", "c"))
    expected = [PALETTE[LABEL[index]] for index in indices for _ in random_drawing(index)]
    assert colors == expected
    assert set(shown()[2]) == {INK}


def test_colors_of_classes_are_told_apart_in_a_legend_and_stay_when_there_are_more() -> None:
    colors = class_colors(MOST_NAMES)
    assert len(set(colors)) == MOST_NAMES
    assert class_colors(5) == colors[:5]
    assert len(class_colors(1000)) == 1000


def test_the_legend_names_the_classes_that_are_there_as_they_are_written() -> None:
    names = ("cat", "_hidden", r"$\frac$", "not there", "a name that is long enough to fill much of the line by itself")
    label = np.array([0, 1, 2, 4] * 15)
    figure = map_figure(PLACES, random_drawing, label, names, most=5)
    figure_bytes(figure, ".png")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [names[i] for i in (0, 1, 2, 4)]


def test_more_classes_than_a_legend_holds_have_none() -> None:
    names = [str(i) for i in range(MOST_NAMES + 1)]
    places = PLACES[: MOST_NAMES + 1]
    assert not map_figure(places, random_drawing, np.arange(len(names)), names).legends
    assert map_figure(places[1:], random_drawing, np.arange(len(names) - 1), names).legends


@pytest.mark.parametrize(
    "places",
    [np.zeros((1, 2)), np.zeros((4, 2)), PLACES * [1, 0], PLACES * [0, 1], PLACES * 1e-9 + 5, PLACES * 1e9],
    ids=["one", "all in one place", "in a row", "in a column", "close", "far"],
)
@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf"])
def test_odd_places_make_a_picture_with_ink_in_it(places: np.ndarray, ending: str) -> None:
    data = figure_bytes(map_figure(places, random_drawing), ending)
    assert data.startswith({".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[ending])
    if ending == ".png":
        assert np.asarray(Image.open(io.BytesIO(data)).convert("L")).min() < 60


def test_odd_drawings_have_their_places(odd_drawings: list[Drawing]) -> None:
    places = np.arange(12.0).reshape(6, 2)
    figure = map_figure(places, odd_drawings.__getitem__)
    assert figure_bytes(figure, ".png") == figure_bytes(map_figure(places, odd_drawings.__getitem__), ".png")


@pytest.mark.parametrize("places", [np.zeros((0, 2)), np.zeros((3, 3)), np.zeros(2), np.array([[0, np.nan]])])
def test_places_that_are_none_are_told(places: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"places: received an array of shape .*, expected finite numbers \(M, 2\)"):
        map_figure(places, random_drawing)
