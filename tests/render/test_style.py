"""Colours that can be read on white and told apart; bounds of a style."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from mdnrnn.render import Style
from mdnrnn.render.style import INK, PALETTE, PLASMA, stroke_colors


def channels(color: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(color[1:]))) / 255


def contrast_on_white(color: str) -> float:
    """The contrast ratio of the W3C's accessibility guidelines (WCAG 2.2); their minimum for lines is 3."""
    value = channels(color)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


@pytest.mark.parametrize("color", [INK, *PALETTE, *PLASMA, *stroke_colors("order", 17)])
def test_every_color_is_readable_on_white(color: str) -> None:
    assert contrast_on_white(color) >= 3


def test_strokes_of_a_drawing_differ_in_color() -> None:
    for one, other in combinations(stroke_colors("stroke", len(PALETTE)), 2):
        assert np.abs(channels(one) - channels(other)).max() > 0.1


def test_order_runs_through_the_map_from_end_to_end() -> None:
    colors = stroke_colors("order", 2 * len(PLASMA) - 1)
    assert tuple(colors[::2]) == PLASMA
    between = (channels(colors[0]) + channels(colors[2])) / 2
    np.testing.assert_allclose(channels(colors[1]), between, atol=1 / 255)


def test_ink_is_one_color_and_a_single_stroke_starts_each_map() -> None:
    assert set(stroke_colors("ink", 5)) == {INK}
    assert stroke_colors("order", 1) == [PLASMA[0]]


@pytest.mark.parametrize(
    "wrong",
    [{"color": "red"}, {"width": 0}, {"width": 0.3}, {"width": np.nan}, {"margin": -0.1}, {"margin": 0.5}],
    ids=str,
)
def test_a_style_out_of_bounds_says_what_was_expected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}: received .*, expected .*$"):
        Style(**wrong)
