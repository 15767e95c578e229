"""Colors are readable on white and distinct; options have bounds."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from mdnrnn.render.style import INK, PALETTE, PLASMA, DrawingOptions, stroke_colors


def channels(color: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(color[1:]))) / 255


def contrast_on_white(color: str) -> float:
    """Return the contrast ratio of the W3C's accessibility guidelines (WCAG 2.2); their minimum for lines is 3."""
    value = channels(color)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


@pytest.mark.parametrize("color", [INK, *PALETTE, *PLASMA, *stroke_colors("order", 17)])
def test_every_color_is_readable_on_white(color: str) -> None:
    assert contrast_on_white(color) >= 3


def test_palette_colors_are_distinct() -> None:
    for one, other in combinations(stroke_colors("stroke", len(PALETTE)), 2):
        assert np.abs(channels(one) - channels(other)).max() > 0.1


def test_order_colors_span_the_color_map() -> None:
    colors = stroke_colors("order", 2 * len(PLASMA) - 1)
    assert tuple(colors[::2]) == PLASMA
    middle = (channels(colors[0]) + channels(colors[2])) / 2
    np.testing.assert_allclose(channels(colors[1]), middle, atol=1 / 255)


def test_ink_is_one_color_and_a_single_stroke_has_the_first_color_of_the_map() -> None:
    assert set(stroke_colors("ink", 5)) == {INK}
    assert stroke_colors("order", 1) == [PLASMA[0]]


def test_strokes_of_a_group_have_one_color() -> None:
    assert stroke_colors("stroke", 4, (0, 0, 1, 10)) == [PALETTE[0], PALETTE[0], PALETTE[1], PALETTE[0]]


@pytest.mark.parametrize(
    "invalid",
    [
        {"color": "red"}, {"line_width": 0}, {"line_width": 0.3}, {"line_width": np.nan}, {"margin": -0.1},
        {"margin": 0.5}, {"columns": 0}, {"cell_size": 0}, {"cell_size": math.nan}, {"cell_size": math.inf},
        *({"seconds": seconds} for seconds in (0, -1, math.inf, math.nan)),
    ],
    ids=str,
)  # fmt: skip
def test_options_out_of_bounds_are_errors_that_name_the_option(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(invalid))}: received .*, expected .*$"):
        DrawingOptions(**invalid)
