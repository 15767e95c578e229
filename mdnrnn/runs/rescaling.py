"""Scale of a user's drawings relative to the training drawings of a run: report it, and fit the drawings to it.

A file of strokes says in which order its points were drawn, but not in which unit. A model, however, has learned the
sizes of its training drawings: it reads a drawing that is 20 times as large as a sequence of impossible steps.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from mdnrnn.data.catalog import is_catalog_name
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.errors import InputError, InputWarning
from mdnrnn.runs.config import RunConfig

_FACTOR = 2.0
"""Scale from which a warning is issued. It is higher for drawings whose training sizes vary more."""


def has_units(data: str) -> bool:
    """Return whether data have units: a corpus does; files of other formats are treated as if they had none."""
    return is_catalog_name(data) or native.recognizes(Path(data))


def fit_scale(
    config: RunConfig, corpus: Corpus, data: str, rescale: bool | None = None, *, unfinished: bool = False
) -> Corpus:
    """Return drawings at the scale of the training drawings, and warn if their scale was different by a factor of 2.

    Each drawing is scaled separately. If the training data are on a grid, positions are rounded to it.

    Args:
        config: config of the run.
        corpus: drawings that were read from `data`.
        data: a catalog name or a path.
        rescale: whether to scale the drawings; None: only if `data` are not a corpus and not touch performances.
        unfinished: whether drawings that are not in a corpus are beginnings. They are compared with the first strokes
            of training drawings.

    Raises:
        InputError: `rescale` is true, but the config does not contain the sizes of the training drawings.
    """
    if not config.sizes or not corpus.metadata.is_drawing:
        if rescale:
            raise InputError(f"rescale: the run on {config.metadata.name} does not record the sizes of its drawings")
        return corpus
    units = has_units(data)
    unfinished = unfinished and not units
    scales, deviations = config.sizes.scales(corpus, unfinished=unfinished)
    if rescale is None:
        rescale = not config.metadata.is_touch and not units
    # A beginning is compared with one size, whose variation is large: every factor of 2 is reported.
    _warn_about_scales(scales, 0 * deviations if unfinished else deviations, data, rescale)
    return _divide(corpus, scales, config.metadata.bin_width) if rescale else corpus


def _warn_about_scales(scales: np.ndarray, deviations: np.ndarray, data: str, rescale: bool) -> None:
    differs = np.abs(np.log(scales)) > np.maximum(np.log(_FACTOR), 2 * deviations)
    if not differs.any():
        return
    low, high = scales[differs].min(), scales[differs].max()
    factor = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
    count = "the drawing is" if len(scales) == 1 else f"{int(differs.sum())} of {len(scales)} drawings are"
    done = "scaled to fit; --no-rescale keeps the size" if rescale else "pass --rescale to scale it to fit"
    message = f"{data}: {count} {factor} times as large as the training drawings; {done}"
    warnings.warn(message, InputWarning, stacklevel=4)


def _divide(corpus: Corpus, scales: np.ndarray, bin_width: float | None) -> Corpus:
    """Return the drawings divided by their scales, with positions rounded to multiples of `bin_width`."""
    motion = np.array(corpus.motion, dtype=np.float64)
    for index, scale in enumerate(scales):
        rows = slice(int(corpus.offsets[index]), int(corpus.offsets[index + 1]))
        positions = np.cumsum(motion[rows, :2], axis=0) / scale
        if bin_width:
            positions = np.rint(positions / bin_width) * bin_width
        motion[rows, :2] = np.diff(positions, axis=0, prepend=0.0)
    return replace(corpus, motion=motion, metadata=replace(corpus.metadata, bin_width=bin_width))
