"""Figure of attention windows: a panel per text with the weights and the characters."""

import numpy as np
import pytest

from mdnrnn.render.figures.attention import attention_figure
from mdnrnn.render.raster import figure_bytes

WINDOW = np.random.default_rng(0).dirichlet(np.ones(4), size=9)


def test_panels_show_the_square_roots_of_the_weights_and_the_characters() -> None:
    figure = attention_figure([WINDOW, WINDOW[:5]], ["abc", "$x^"])
    for panel, window, text in zip(figure.axes, (WINDOW, WINDOW[:5]), ("abc", "$x^"), strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), window.T**0.5)
        assert [label.get_text() for label in panel.get_yticklabels()] == list(text)
    assert figure_bytes(figure, ".png").startswith(b"\x89PNG")


def test_window_of_another_width_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^window: received shape \(9, 4\) for 2 characters, expected \(T, 3\)$"):
        attention_figure([WINDOW], ["ab"])
