"""Where a window stood on a text as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.errors import InputError
from mdnrnn.render.figures.panels import WIDTH, make_panels, name_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attention_figure(windows: Sequence[np.ndarray], texts: Sequence[str]) -> Figure:
    """A panel for each text: its characters upwards, steps to the right, the darker the heavier the window, by its
    square root: where it rests it is lighter than where it moves on.

    Args:
        windows: weights (T, U + 1) of each text's U characters and of the place behind them.
    """
    for window, text in zip(windows, texts, strict=True):
        if window.ndim != 2 or window.shape[1] != len(text) + 1:
            raise InputError(f"a window of shape {window.shape} for {len(text)} characters; expected (T, U + 1)")
    height = max(1.6, min(0.11 * max(map(len, texts)) + 0.6, WIDTH))
    figure, panels = make_panels(len(texts), 1, height, "")
    for panel, window, text in zip(panels, windows, texts, strict=True):
        panel.imshow(
            window.T ** 0.5, aspect="auto", origin="lower", cmap="Blues", vmin=0, interpolation="nearest",
            extent=(0, len(window), -0.5, len(text) + 0.5),
        )  # fmt: skip
        panel.set_yticks(range(len(text)), list(text), fontsize=7, family="monospace")
        name_axes(panel, "", "")
    name_axes(panels[-1], "steps of the pen", "")
    return figure
