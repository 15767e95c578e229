"""Scale of a user's drawings relative to the training drawings of a run: report it, and fit the drawings to it.

A file of strokes contains the coordinates of points, but often not their unit. A model, however, has learned the sizes
of its training drawings: the steps of a drawing that is 20 times as large are almost impossible under the model.
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
"""Factor by which a drawing must be larger or smaller than the training drawings for a warning. If the sizes of the
training drawings vary much, the limit is higher: two standard deviations of their logarithms."""


def has_units(data: str) -> bool:
    """Return whether data have units: true for a corpus, false for files of all other formats."""
    return is_catalog_name(data) or native.recognizes(Path(data))


def fit_scale(
    config: RunConfig, corpus: Corpus, data: str, rescale: bool | None = None, *, unfinished: bool = False
) -> Corpus:
    """Scale drawings to the size of the training drawings, and warn if their size differs by more than a factor of 2.

    Each drawing is scaled separately. If the training data are on a grid, positions are rounded to this grid.

    Args:
        config: config of the run.
        corpus: drawings that were read from `data`.
        data: a catalog name or a path.
        rescale: whether to scale the drawings; if false, only the warning is issued. None: scale the drawings if `data`
            is not a corpus and the run does not generate touch performances.
        unfinished: whether the drawings are unfinished; if so, they are compared with the first strokes of training
            drawings. Ignored if `data` is a corpus.

    Raises:
        InputError: `rescale` is true, but the config does not contain the sizes of the training drawings.
    """
    if not config.sizes or not corpus.metadata.is_drawing:
        if rescale:
            raise InputError(
                f"rescale: the run, trained on {config.metadata.name}, does not contain the sizes of its training "
                "drawings; omit rescale"
            )
        return corpus
    units = has_units(data)
    unfinished = unfinished and not units
    scales, deviations = config.sizes.scales(corpus, unfinished=unfinished)
    if rescale is None:
        rescale = not config.metadata.is_touch and not units
    # Sizes of first strokes vary so much that two standard deviations would be too high a limit: warn at a factor of 2.
    _warn_about_scales(scales, 0 * deviations if unfinished else deviations, data, rescale)
    return _divide(corpus, scales, config.metadata.bin_width) if rescale else corpus


def _warn_about_scales(scales: np.ndarray, deviations: np.ndarray, data: str, rescale: bool) -> None:
    differs = np.abs(np.log(scales)) > np.maximum(np.log(_FACTOR), 2 * deviations)
    if not differs.any():
        return
    low, high = scales[differs].min(), scales[differs].max()
    factor = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
    count = "the drawing is" if len(scales) == 1 else f"{int(differs.sum())} of {len(scales)} drawings are"
    done = "scaled to fit; pass --no-rescale to keep the size" if rescale else "pass --rescale to scale it to fit"
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
