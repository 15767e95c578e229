"""Figure of the losses of a training run over its steps, with reference losses as horizontal lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mdnrnn.render.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, float]]
LossCurve = tuple[np.ndarray, np.ndarray]
"""Steps (N,) and losses (N,)."""
CURVES = {"train": ("train_loss", PALETTE[0]), "valid": ("valid_loss", PALETTE[1])}
"""Key in the records and color of each curve."""
REFERENCE_COLOR = "#5b6472"


class Annotation(NamedTuple):
    """A label at the right margin of the plot, at the height of `loss`."""

    text: str
    loss: float
    color: str


def loss_figure(records: Records, reference: Mapping[str, float] | None = None) -> Figure:
    """Return a figure of the training and validation losses.

    Args:
        records: the records of a metrics.jsonl file.
        reference: reference losses by name, shown as horizontal lines; NaN and infinite values are omitted.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=144, facecolor="white")
    axes = figure.add_axes((0.1, 0.13, 0.8, 0.82), xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7ec", linewidth=0.8)
    axes.set_axisbelow(True)
    curves = {name: _curve(records, key) for name, (key, _) in CURVES.items()}
    levels = {name: level for name, level in (reference or {}).items() if np.isfinite(level)}
    axes.set_ylim(*_limits(curves, levels))
    annotations = []
    for name, level in levels.items():
        axes.axhline(level, color=REFERENCE_COLOR, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
        annotations.append(Annotation(f"{name} {level:.4g}", level, REFERENCE_COLOR))
    for name, (steps, losses) in curves.items():
        if len(steps):
            color = CURVES[name][1]
            marker = "o" if name == "valid" or len(steps) == 1 else None
            axes.plot(steps, losses, color=color, linewidth=1.4, marker=marker, markersize=3)
            annotations.append(Annotation(f"{name} {losses[-1]:.4g}", losses[-1], color))
    _annotate(axes, annotations)
    return figure


def _curve(records: Records, key: str) -> LossCurve:
    """Return steps and losses of the records in which the loss `key` is present and finite."""
    found = [(record["step"], record[key]) for record in records if key in record and "step" in record]
    steps, losses = np.array(found, dtype=np.float64).reshape(-1, 2).T
    finite = np.isfinite(losses) & np.isfinite(steps)
    return steps[finite], losses[finite]


def _limits(curves: Mapping[str, LossCurve], levels: Mapping[str, float]) -> tuple[float, float]:
    """Return the limits of the loss axis.

    The limits include all validation losses, all reference losses, and the training losses from the 1% to the 95%
    quantile.
    """
    train, valid = curves["train"][1], curves["valid"][1]
    included = [*valid, *levels.values(), *(np.quantile(train, [0.01, 0.95]) if len(train) else [])]
    low, high = (min(included), max(included)) if included else (0.0, 1.0)
    space = 0.06 * (high - low) or 0.5
    return low - space, high + space


def _annotate(axes: Axes, annotations: Sequence[Annotation], gap: float = 0.055) -> None:
    """Write each annotation at the height of its loss.

    Annotations that would overlap are moved up, so that their distance is at least `gap`, a fraction of the height of
    the axes.
    """
    longest = max((len(annotation.text) for annotation in annotations), default=0)
    axes.set_position((0.1, 0.13, max(0.86 - 0.0105 * longest, 0.4), 0.82))
    low, high = axes.get_ylim()
    height = -np.inf
    for annotation in sorted(annotations, key=lambda annotation: annotation.loss):
        height = max(min(max((annotation.loss - low) / (high - low), 0.0), 1.0), height + gap)
        axes.text(
            1.015, height, annotation.text, color=annotation.color, fontsize=9, va="center", transform=axes.transAxes,
            parse_math=False,
        )  # fmt: skip
