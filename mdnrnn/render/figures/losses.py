"""The course of a training: its losses over the steps, beside the losses that mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mdnrnn.render.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, float]]
Curve = tuple[np.ndarray, np.ndarray]
CURVES = {"train": ("train_loss", PALETTE[0]), "valid": ("valid_loss", PALETTE[1])}
QUIET = "#5b6472"


class Note(NamedTuple):
    """A word at the right margin, at the height of what it names."""

    text: str
    height: float
    color: str


def loss_figure(records: Records, reference: Mapping[str, float] | None = None) -> Figure:
    """Train and valid loss of the records of a metrics.jsonl; each reference is a named horizontal line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=144, facecolor="white")
    axes = figure.add_axes((0.1, 0.13, 0.8, 0.82), xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7ec", linewidth=0.8)
    axes.set_axisbelow(True)
    curves = {name: _curve(records, key) for name, (key, _) in CURVES.items()}
    levels = {name: level for name, level in (reference or {}).items() if np.isfinite(level)}
    axes.set_ylim(*_limits(curves, levels))
    notes = []
    for name, level in levels.items():
        axes.axhline(level, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
        notes.append(Note(f"{name} {level:.4g}", level, QUIET))
    for name, (steps, losses) in curves.items():
        if len(steps):
            color = CURVES[name][1]
            marker = "o" if name == "valid" or len(steps) == 1 else None
            axes.plot(steps, losses, color=color, linewidth=1.4, marker=marker, markersize=3)
            notes.append(Note(f"{name} {losses[-1]:.4g}", losses[-1], color))
    _write_notes(axes, notes)
    return figure


def _curve(records: Records, key: str) -> Curve:
    """Steps and losses of the records that hold a finite loss of this name."""
    found = [(record["step"], record[key]) for record in records if key in record and "step" in record]
    steps, losses = np.array(found, dtype=np.float64).reshape(-1, 2).T
    finite = np.isfinite(losses)
    return steps[finite], losses[finite]


def _limits(curves: Mapping[str, Curve], levels: Mapping[str, float]) -> tuple[float, float]:
    """Room for all valid and reference losses, and for train without its first fall and its outliers."""
    train, valid = curves["train"][1], curves["valid"][1]
    shown = [*valid, *levels.values(), *(np.quantile(train, [0.01, 0.95]) if len(train) else [])]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    space = 0.06 * (high - low) or 0.5
    return low - space, high + space


def _write_notes(axes: Axes, notes: Sequence[Note], gap: float = 0.055) -> None:
    """The notes from low to high, moved apart where they would touch; heights as fractions of the axes."""
    longest = max((len(note.text) for note in notes), default=0)
    axes.set_position((0.1, 0.13, max(0.86 - 0.0105 * longest, 0.4), 0.82))
    low, high = axes.get_ylim()
    below = -np.inf
    for note in sorted(notes, key=lambda note: note.height):
        place = min(max((note.height - low) / (high - low), 0.0), 1.0)
        below = max(place, below + gap)
        axes.text(
            1.015, below, note.text, color=note.color, fontsize=9, va="center", transform=axes.transAxes,
            parse_math=False,
        )  # fmt: skip
