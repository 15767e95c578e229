"""The figure of a training shows the losses of its records."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mdnrnn.render.figures.losses import loss_figure
from mdnrnn.render.raster import figure_bytes
from tests.render.helpers import png_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = [
    {"step": 1, "seconds": 0.1, "train_loss": 90.0},
    *({"step": step, "seconds": step / 10, "train_loss": 3 + 1 / step} for step in range(10, 400, 10)),
    {"step": 200, "valid_loss": 3.3, "valid_points": 70},
    {"step": 300, "valid_loss": 3.2},
    {"step": 310, "train_loss": float("nan")},
    {"seconds": 9.0},
]


def curves(figure: "Figure") -> list[np.ndarray]:
    """Return the points of each line of the figure's axes."""
    return [np.asarray(line.get_xydata()) for line in figure.axes[0].get_lines()]


def annotations(figure: "Figure") -> dict[str, float]:
    """Return the text of each annotation and its height, as a fraction of the axes."""
    return {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}


def test_curves_are_the_finite_losses_of_the_records() -> None:
    train, valid = curves(loss_figure(RECORDS))
    expected = [(1, 90), *((step, 3 + 1 / step) for step in range(10, 400, 10))]
    np.testing.assert_allclose(train, expected)
    np.testing.assert_allclose(valid, [(200, 3.3), (300, 3.2)])


def test_each_reference_is_a_horizontal_line_with_an_annotation() -> None:
    figure = loss_figure(RECORDS, {"null model": 4.5, "paper": 2.9, "broken": float("nan")})
    levels = [curve[:, 1] for curve in curves(figure)[:2]]
    np.testing.assert_allclose(levels, [[4.5, 4.5], [2.9, 2.9]])
    assert set(annotations(figure)) == {"null model 4.5", "paper 2.9", "train 3.003", "valid 3.2"}
    low, high = figure.axes[0].get_ylim()
    assert low < 2.9
    assert high > 4.5


def test_limits_exclude_the_first_training_losses() -> None:
    low, high = loss_figure(RECORDS).axes[0].get_ylim()
    assert low < 3.0026
    assert 3.3 < high < 5


def test_annotations_do_not_overlap_and_are_ordered_by_loss() -> None:
    levels = {"one": 3.2, "two": 3.2, "three": 3.21, "four": 9.0}
    heights = annotations(loss_figure(RECORDS, levels))
    texts = sorted(heights, key=lambda text: (float(text.split()[-1]), heights[text]))
    assert len(texts) == 6
    assert all(heights[above] - heights[below] > 0.054 for below, above in pairwise(texts))


@pytest.mark.parametrize("records", [[], RECORDS[:1], [{"step": 5, "valid_loss": 1.0}]], ids=["none", "train", "valid"])
@pytest.mark.parametrize("reference", [None, {"null model": 2.0}])
def test_figure_of_few_records(records: list[dict[str, float]], reference: dict[str, float] | None) -> None:
    figure = loss_figure(records, reference)
    assert len(curves(figure)) == len(records) + len(reference or {})
    assert png_pixels(figure_bytes(figure, ".png"), "L").min() < 128


def test_equal_records_have_equal_files() -> None:
    first, second = (figure_bytes(loss_figure(RECORDS, {"null model": 4.0}), ".svg") for _ in range(2))
    assert first == second
