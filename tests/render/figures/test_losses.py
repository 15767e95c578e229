"""The picture of a training shows what its records say."""

import io
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mdnrnn.render import figure_bytes, loss_figure

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
    """The points of each line of the figure's axes."""
    return [np.asarray(line.get_xydata()) for line in figure.axes[0].get_lines()]


def notes(figure: "Figure") -> dict[str, float]:
    """The words at the margin and their heights, as fractions of the axes."""
    return {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}


def test_curves_are_the_finite_losses_of_the_records() -> None:
    train, valid = curves(loss_figure(RECORDS))
    expected = [(1, 90), *((step, 3 + 1 / step) for step in range(10, 400, 10))]
    np.testing.assert_allclose(train, expected)
    np.testing.assert_allclose(valid, [(200, 3.3), (300, 3.2)])


def test_each_reference_is_a_level_line_with_its_name() -> None:
    figure = loss_figure(RECORDS, {"null model": 4.5, "paper": 2.9, "broken": float("nan")})
    levels = [curve[:, 1] for curve in curves(figure)[:2]]
    np.testing.assert_allclose(levels, [[4.5, 4.5], [2.9, 2.9]])
    assert set(notes(figure)) == {"null model 4.5", "paper 2.9", "train 3.003", "valid 3.2"}
    low, high = figure.axes[0].get_ylim()
    assert low < 2.9
    assert high > 4.5


def test_the_first_fall_does_not_flatten_the_rest() -> None:
    low, high = loss_figure(RECORDS).axes[0].get_ylim()
    assert low < 3.0026
    assert 3.3 < high < 5


def test_notes_are_apart_in_the_order_of_what_they_name() -> None:
    levels = {"one": 3.2, "two": 3.2, "three": 3.21, "four": 9.0}
    heights = notes(loss_figure(RECORDS, levels))
    named = sorted(heights, key=lambda text: (float(text.split()[-1]), heights[text]))
    assert len(named) == 6
    assert all(heights[above] - heights[below] > 0.054 for below, above in pairwise(named))


@pytest.mark.parametrize("records", [[], RECORDS[:1], [{"step": 5, "valid_loss": 1.0}]], ids=["0", "train", "valid"])
@pytest.mark.parametrize("reference", [None, {"null model": 2.0}])
def test_few_records_make_a_picture_too(records: list[dict[str, float]], reference: dict[str, float] | None) -> None:
    figure = loss_figure(records, reference)
    assert len(curves(figure)) == len(records) + len(reference or {})
    image = Image.open(io.BytesIO(figure_bytes(figure, ".png"))).convert("L")
    assert np.asarray(image).min() < 128


def test_the_same_records_make_the_same_svg() -> None:
    first, second = (figure_bytes(loss_figure(RECORDS, {"null model": 4.0}), ".svg") for _ in range(2))
    assert first == second
