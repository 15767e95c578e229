"""Checks of a corpus: shapes and types when the corpus is constructed, all values when `Corpus.check` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mdnrnn.errors import InputError, quantity
from mdnrnn.pen_events import END, UP

if TYPE_CHECKING:
    from mdnrnn.data.corpus import Corpus


def check_arrays(corpus: Corpus) -> None:
    """Raise `InputError` if the shapes or types of the arrays are inconsistent.

    The values of motions and events are not read.
    """
    problem = _find_array_problem(corpus)
    if problem:
        raise InputError(f"corpus {corpus.metadata.name} has {problem}; import it again")


def _find_array_problem(corpus: Corpus) -> str | None:
    motion, event, offsets, metadata = corpus.motion, corpus.event, corpus.offsets, corpus.metadata
    rows, sequences = motion.shape[0] if motion.ndim else 0, offsets.size - 1
    kinds = motion.dtype.kind + event.dtype.kind + offsets.dtype.kind
    if motion.ndim != 2 or event.shape != (rows,) or offsets.ndim != 1:
        return f"motion {motion.shape} and event {event.shape}; expected (N, D) and (N,)"
    if kinds[0] not in "iuf" or kinds[1] not in "iu" or kinds[2] not in "iu":
        return f"dtypes {motion.dtype}, {event.dtype}, {offsets.dtype}; expected numbers, integer events and offsets"
    if sequences < 0 or offsets[0] != 0 or offsets[-1] != rows:
        return f"offsets that do not run from 0 to {rows}"
    if corpus.label is not None and corpus.label.shape != (sequences,):
        return f"label {corpus.label.shape}; expected ({sequences},)"
    if corpus.inputs is not None and (corpus.inputs.ndim != 2 or len(corpus.inputs) != rows):
        return f"inputs {corpus.inputs.shape}; expected ({rows}, A)"
    if metadata.features and len(metadata.features) != motion.shape[1]:
        return f"{quantity(motion.shape[1], 'features')}; expected {', '.join(metadata.features)}"
    if corpus.text is not None and not _is_valid_text(corpus.text, corpus.text_offsets, sequences):
        return "text that does not match text_offsets"
    if corpus.writer is not None and (corpus.writer.shape != (sequences,) or corpus.writer.dtype.kind not in "iu"):
        return f"writer {corpus.writer.shape}; expected integers ({sequences},)"
    if corpus.logvar is not None and corpus.logvar.shape != motion.shape:
        return f"logvar {corpus.logvar.shape}; expected {motion.shape}"
    if corpus.context is not None and (corpus.context.ndim != 2 or len(corpus.context) != sequences):
        return f"context {corpus.context.shape}; expected ({sequences}, C)"
    if any(not 0 <= first <= last <= sequences for first, last in corpus.splits.values()):
        return f"splits {dict(corpus.splits)} beyond its {sequences} sequences"
    return None


def _is_valid_text(text: np.ndarray, offsets: np.ndarray | None, sequences: int) -> bool:
    if offsets is None or offsets.shape != (sequences + 1,) or offsets.dtype.kind not in "iu":
        return False
    covers_text = offsets[[0, -1]].tolist() == [0, len(text)]
    return text.dtype == np.uint8 and text.ndim == 1 and covers_text and bool((np.diff(offsets) >= 0).all())


def check_values(corpus: Corpus) -> None:
    """Read all rows of a corpus once and check them.

    Raises:
        InputError: if a sequence is empty; a motion value is NaN, infinite or not a multiple of the bin width; a time
            is negative, or is 0 in a row that is not the first of its sequence; an event code is unknown; UP occurs in
            the data of a world model; a row follows END; inputs, log variances or context vectors are NaN or infinite;
            or a label is not a class index.
    """
    name, offsets = corpus.metadata.name, corpus.offsets
    empty = np.flatnonzero(corpus.lengths < 1)
    if len(empty):
        raise InputError(f"{name}: sequence {empty[0]} has no steps; expected at least one")
    for rows in corpus.row_blocks(slice(0, len(corpus.event))):
        motion, event = np.asarray(corpus.motion[rows]), np.asarray(corpus.event[rows])
        bad = ~np.isfinite(motion).all(1) | (event < 0) | (event > END) | _is_off_grid(corpus, motion)
        bad |= _has_invalid_time(corpus, motion, rows) | (corpus.metadata.is_world & (event == UP))
        if bad.any():
            row = rows.start + int(bad.argmax())
            number = _sequence_of_row(corpus, row)
            grid = "" if corpus.metadata.bin_width is None else f" on a grid of {corpus.metadata.bin_width:g}"
            times = ", times above 0 (in a first row 0 or more)" if corpus.metadata.time_features else ""
            raise InputError(
                f"{name}: sequence {number} has motion {corpus.motion[row]} and event {corpus.event[row]} in row "
                f"{row - offsets[number]}; expected finite numbers{grid}{times} and an event of 0 to {END}"
            )
        # No row may follow END. END may be missing, because generated sequences can be cut short.
        after_end = rows.start + np.flatnonzero(event == END) + 1
        early = after_end[offsets[np.searchsorted(offsets, after_end)] != after_end]
        if len(early):
            number = _sequence_of_row(corpus, int(early[0]) - 1)
            raise InputError(
                f"{name}: sequence {number} has END before its last row; expected END in the last row only"
            )
    _check_finite(corpus, "inputs", corpus.inputs)
    _check_finite(corpus, "log variances", corpus.logvar)
    if corpus.context is not None and not np.isfinite(corpus.context).all():
        number = int((~np.isfinite(corpus.context).all(1)).argmax())
        raise InputError(f"{name}: the context of sequence {number} is NaN or infinite; expected finite numbers")
    classes = len(corpus.metadata.classes)
    if corpus.label is not None and not np.isin(corpus.label, np.arange(classes)).all():
        raise InputError(f"{name}: labels outside 0 to {classes - 1}; expected one of its {classes} classes")


def _check_finite(corpus: Corpus, name: str, array: np.ndarray | None) -> None:
    if array is None:
        return
    for rows in corpus.row_blocks(slice(0, len(array))):
        bad = ~np.isfinite(array[rows]).all(1)
        if bad.any():
            row = rows.start + int(bad.argmax())
            number = _sequence_of_row(corpus, row)
            raise InputError(
                f"{corpus.metadata.name}: sequence {number} has {name} {array[row]} in row "
                f"{row - corpus.offsets[number]}; expected finite numbers"
            )


def _sequence_of_row(corpus: Corpus, row: int) -> int:
    return int(np.searchsorted(corpus.offsets, row, side="right")) - 1


def _is_off_grid(corpus: Corpus, motion: np.ndarray) -> np.ndarray:
    """Return a mask (n,) of the rows of motion (n, D) that are not on the grid.

    In rows on the grid, all features except times are multiples of the bin width.
    """
    bin_width = corpus.metadata.bin_width
    if bin_width is None or (motion.dtype.kind in "iu" and bin_width == 1):
        return np.zeros(len(motion), bool)
    has_bins = corpus.metadata.bin_widths(motion.shape[1]) > 0
    multiples = motion[:, has_bins].astype(np.float64) / bin_width
    rounding_error = np.finfo(np.float32).eps * np.abs(multiples)
    return np.asarray((np.abs(multiples - np.rint(multiples)) > 1e-3 + rounding_error).any(1))


def _has_invalid_time(corpus: Corpus, motion: np.ndarray, rows: slice) -> np.ndarray:
    """Return a mask (n,) of the rows of motion (n, D) with an invalid time.

    Valid times are > 0, or >= 0 in the first row of a sequence.
    """
    times = motion[:, list(corpus.metadata.time_features)]
    return np.asarray(np.where(corpus.is_first_row(rows)[:, None], times < 0, times <= 0).any(1))
