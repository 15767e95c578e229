"""Figure of the attention weights of a handwriting model: one weight per time step and character of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.figures.panels import WIDTH, label_axes, make_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attention_figure(windows: Sequence[np.ndarray], texts: Sequence[str]) -> Figure:
    """Return a figure with one panel per text: weights as shades over time steps (x axis) and characters (y axis).

    Darkness is proportional to the square root of the weight, so that small weights are visible.

    Args:
        windows: for each text, attention weights (T, U + 1): one column per character, and a last column for the
            position after the last character.
        texts: the texts.

    Raises:
        InputError: an array of weights has a wrong shape.
    """
    for window, text in zip(windows, texts, strict=True):
        if window.ndim != 2 or window.shape[1] != len(text) + 1:
            raise InputError(
                f"window: received shape {window.shape} for {len(text)} characters, expected (T, {len(text) + 1})"
            )
    height = max(1.6, min(0.11 * max(map(len, texts)) + 0.6, WIDTH))
    figure, panels = make_panels(len(texts), 1, height, "")
    for panel, window, text in zip(panels, windows, texts, strict=True):
        panel.imshow(
            window.T ** 0.5, aspect="auto", origin="lower", cmap="Blues", vmin=0, interpolation="nearest",
            extent=(0, len(window), -0.5, len(text) + 0.5),
        )  # fmt: skip
        panel.set_yticks(range(len(text)), list(text), fontsize=7, family="monospace")
        label_axes(panel, "", "")
    label_axes(panels[-1], "steps of the pen", "")
    return figure
