"""Checks and conversions of the arguments of `Batch.from_padded` and `Batch.from_sequences`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from mdnrnn.data.array_arguments import (
    check_context,
    check_count,
    check_events,
    check_lengths,
    check_matrices,
    check_strings,
    unpad,
)
from mdnrnn.data.corpus import Sequence, check_optional_fields
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.errors import InputError
from mdnrnn.pen_events import END


def to_array(value: Any) -> np.ndarray:
    """Return a tensor on any device, or anything that NumPy converts, as an array."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def unpad_sequences(
    motion: Any, event: Any, lengths: Any, label: Any, inputs: Any, text: Iterable[str] | None, context: Any
) -> tuple[list[Sequence], np.ndarray]:
    """Return the sequences of padded arrays, and the mask (B, T) of the real steps; see `Batch.from_padded`."""
    motion, event = to_array(motion), to_array(event)
    if motion.ndim != 3 or not motion.size:
        raise InputError(f"motion: received shape {motion.shape}, expected (B, T, D) of size 1 or more, batch first")
    count, steps = motion.shape[:2]
    if event.shape != (count, steps):
        raise InputError(f"event: received shape {event.shape}, expected {(count, steps)}: one event per step")
    real = check_lengths(to_array(lengths), count)
    none: list[Any] = [None] * count
    fields = (
        unpad("motion", motion, real),
        unpad("event", event, real),
        none if label is None else check_count("label", to_array(label), count),
        none if inputs is None else unpad("inputs", to_array(inputs), real),
        none if text is None else check_count("text", text, count),
    )
    sequences = [Sequence(*each) for each in zip(*fields, strict=True)]
    if context is not None:
        vectors = check_context(to_array(context), count)
        sequences = [sequence._replace(context=row) for sequence, row in zip(sequences, vectors, strict=True)]
    return sequences, np.arange(steps) < np.array(real)[:, None]


def check_sequences(sequences: Iterable[Sequence]) -> list[Sequence]:
    """Convert the fields of sequences to arrays and check them; see `Batch.from_sequences`."""
    sequences = list(sequences)
    if not sequences:
        raise InputError("sequences: received none, expected at least one")
    check_optional_fields("sequences", sequences)
    columns = {
        name: None if getattr(sequences[0], name) is None else [getattr(sequence, name) for sequence in sequences]
        for name in ("label", "inputs", "text", "context")
    }
    label, inputs, text, context = columns.values()
    none: list[Any] = [None] * len(sequences)
    motion = check_matrices("motion", [to_array(sequence.motion) for sequence in sequences])
    fields = (
        motion,
        check_events([to_array(sequence.event) for sequence in sequences], motion, "event"),
        none if label is None else _check_labels(list(map(to_array, label))),
        none if inputs is None else check_matrices("inputs", map(to_array, inputs), motion),
        none if text is None else map(to_nfc, check_strings("text", text, len(sequences))),
    )
    contexts = none if context is None else _check_vectors(list(map(to_array, context)))
    checked = [Sequence(*each)._replace(context=vector) for *each, vector in zip(*fields, contexts, strict=True)]
    for number, sequence in enumerate(checked):
        _check_values(number, sequence)
    return checked


def _check_values(number: int, sequence: Sequence) -> None:
    for name in ("motion", "inputs", "context"):
        values = getattr(sequence, name)
        if values is not None and not np.isfinite(values).all():
            raise InputError(f"{name}[{number}]: received NaN or infinite values, expected finite numbers")
    if (sequence.event[:-1] == END).any():
        raise InputError(f"event[{number}]: received END before the last step, expected END in the last step only")


def check_bin_width(bin_width: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return normalized bin widths as an array of a given shape (..., D), to which they must be broadcastable."""
    widths = to_array(bin_width)
    try:
        widths = np.broadcast_to(widths, shape)
    except ValueError:
        raise InputError(
            f"bin_width: received shape {widths.shape}, expected ({shape[-1]},) or {shape}: one per feature"
        ) from None
    if widths.dtype.kind not in "iuf" or not (np.isfinite(widths) & (widths >= 0)).all():
        raise InputError(f"bin_width: received {_describe(widths)}, expected numbers >= 0, 0 for a continuous feature")
    return widths.astype(np.float32)


def check_indices(indices: Any, count: int) -> np.ndarray:
    """Return the indices of `count` sequences as an array (B,); by default 0 to B - 1."""
    if indices is None:
        return np.arange(count)
    values = to_array(indices)
    if values.shape != (count,) or values.dtype.kind not in "iu":
        raise InputError(f"indices: received {_describe(values)}, expected {count} integers, one per sequence")
    return values


def _check_vectors(vectors: list[np.ndarray]) -> list[np.ndarray]:
    for i, vector in enumerate(vectors):
        if vector.ndim != 1 or not vector.size or vector.shape != vectors[0].shape or vector.dtype.kind not in "iuf":
            raise InputError(
                f"context[{i}]: received {vector.dtype} of shape {vector.shape}, expected numbers ({vectors[0].size},)"
            )
    return vectors


def _check_labels(labels: list[np.ndarray]) -> list[int]:
    for i, label in enumerate(labels):
        if label.shape or label.dtype.kind not in "iu" or label < 0:
            raise InputError(f"label[{i}]: received {label.tolist()!r}, expected a class index: an integer >= 0")
    return [int(label) for label in labels]


def _describe(values: np.ndarray) -> str:
    """Return a short description of an array for an error message."""
    return f"{values.dtype} of shape {values.shape}" if values.size > 8 else str(values.tolist())
