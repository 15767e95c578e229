"""Checks of the arguments of `Run.generate`, and their conversion to tensors in normalized units."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batch import to_code_points
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError, quantity
from mdnrnn.pen_events import END, UP
from mdnrnn.runs.config import RunConfig

STEP_LIMIT_FACTOR = 1.25
"""Step limit per character of a text, as a multiple of the maximum number of steps per character in training."""
EXTRA_CHARACTERS = 4
"""Number that is added to the number of characters of a text to compute its step limit.

A short text needs this margin, because one character may need far more steps than the average character.
"""


MAX_NORMALIZED = 1e12
"""Maximum absolute value of a normalized motion, an input or a latent variable.

With larger values, sums of products and squares can exceed the range of float32, and the model's state becomes NaN.
"""


def normalize(config: RunConfig, name: str, motion: np.ndarray, firsts: int | None) -> np.ndarray:
    """Normalize raw motion (T, D), in float64.

    Args:
        config: config of the run.
        name: name of the motion, for the error message.
        motion: motion in raw units.
        firsts: row that starts a sequence; None if there is none.

    Raises:
        InputError: a normalized value is so large that the model's arithmetic would overflow.
    """
    with np.errstate(over="ignore"):  # infinity is rejected
        normalized = config.normalizer.normalize(motion, firsts, np.float64)
    check_magnitude(name, motion, normalized)
    return normalized


def check_magnitude(name: str, values: np.ndarray, normalized: np.ndarray) -> None:
    """Raise `InputError` if a value is NaN, or so large that the model's arithmetic would overflow.

    Args:
        name: name of the values, for the error message.
        values: values as received.
        normalized: the same values as the model reads them, of the same shape.
    """
    fits = np.abs(normalized) <= MAX_NORMALIZED
    if not fits.all():
        raise InputError(
            f"{name}: received {np.asarray(values)[~fits].flat[0]:g}, which is too large for the model; expected "
            "numbers on the scale of the training data"
        )


def to_tensor(array: np.ndarray | None) -> Tensor | None:
    """Return an array as a float32 tensor; None is returned unchanged."""
    return None if array is None else torch.from_numpy(np.asarray(array, dtype=np.float32))


def check_latents(latents: np.ndarray | None, n: int, latent_size: int) -> Tensor | None:
    """Check latents (n, Z) and convert them to a tensor; None is returned unchanged.

    Raises:
        InputError: the model has no latent vector, or the shape or a value is invalid.
    """
    if latents is None:
        return None
    if not latent_size:
        raise InputError("latents: received values for a model without a latent vector; omit latents")
    if np.shape(latents) != (n, latent_size):
        raise InputError(f"latents: received shape {np.shape(latents)}, expected ({n}, {latent_size})")
    _check_finite("latents", latents)
    check_magnitude("latents", latents, np.asarray(latents))
    return to_tensor(latents)


def check_inputs(inputs: np.ndarray | None, n: int, input_size: int) -> Tensor | None:
    """Check inputs (n, T, A) and convert them to a tensor; None is returned unchanged.

    Raises:
        InputError: the model takes no inputs, or the shape or a value is invalid.
    """
    if inputs is None:
        return None
    if not input_size:
        raise InputError("inputs: received values for a model without inputs; omit inputs")
    shape = np.shape(inputs)
    if len(shape) != 3 or (shape[0], shape[2]) != (n, input_size):
        raise InputError(f"inputs: received shape {shape}, expected ({n}, T, {input_size})")
    _check_finite("inputs", inputs)
    check_magnitude("inputs", inputs, np.asarray(inputs))
    return to_tensor(inputs)


def check_context(context: np.ndarray | None, n: int, size: int) -> Tensor | None:
    """Check context vectors (n, C) and convert them to a tensor.

    Raises:
        InputError: the model has a context vector and `context` is None, or the reverse; or the shape or a value is
            invalid.
    """
    if not size and context is None:
        return None
    if context is None or not size or np.shape(context) != (n, size):
        received = "none" if context is None else f"shape {np.shape(context)}"
        raise InputError(f"context: received {received}, expected {f'shape ({n}, {size})' if size else 'none'}")
    _check_finite("context", context)
    check_magnitude("context", context, np.asarray(context))
    return to_tensor(context)


def _check_finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"{name}: received NaN or infinite values, expected real numbers")


def check_texts(texts: Items[str] | None, n: int, alphabet: str) -> Tensor | None:
    """Check n texts and convert them to code points (n, U), padded with zeros; None is returned unchanged.

    Raises:
        InputError: there are not n texts, or one is empty or has a character that is not in the alphabet.
    """
    if texts is None:
        return None
    if len(texts) != n or not all(texts):
        raise InputError(
            f"texts: received {len(texts)} for {quantity(n, 'sequences')}, expected one non-empty text per sequence"
        )
    if unknown := "".join(sorted(set("".join(texts)) - set(alphabet))):
        raise InputError(
            f"texts: received {unknown!r}, which the run's alphabet does not contain; expected characters from "
            f"{alphabet!r}"
        )
    return to_code_points(list(texts))


def step_limits(config: RunConfig, texts: Items[str] | None, prefix: Sequence | None) -> int | np.ndarray:
    """Return the default maximum number of new steps: one number or, with texts, one number per text, shape (n,).

    The limit grows linearly with the number of characters of the text that follow the text of the prefix.
    """
    if texts is None or not config.steps_per_character:
        return config.max_steps
    prefix_characters = 0 if prefix is None or prefix.text is None else len(prefix.text)
    characters = np.array([max(0, len(text) - prefix_characters) for text in texts]) + EXTRA_CHARACTERS
    return np.ceil(STEP_LIMIT_FACTOR * config.steps_per_character * characters).astype(np.int64)


def label_weights(
    config: RunConfig, n: int, labels: Items[str] | np.ndarray | None = None, default: int | None = None
) -> np.ndarray | None:
    """Return the class weights (n, classes) of n sequences, or None if the run has no classes and `labels` is None.

    Args:
        config: config of the run.
        n: number of sequences.
        labels: class names, one for all or one per sequence; or weights (n, classes), returned unchanged.
        default: class index of all sequences if `labels` is None. If both are None, sequence i has class i modulo the
            number of classes.

    Raises:
        InputError: labels are given but the run has no classes, a name is unknown, or the number or shape of the labels
            is wrong.
    """
    metadata, classes = config.metadata, config.shape.classes
    if labels is None and not classes:
        return None
    if not classes:
        raise InputError(f"labels: received {labels} for a run without classes; omit the labels")
    if isinstance(labels, np.ndarray):
        if labels.shape != (n, classes):
            raise InputError(f"labels: received weights of shape {labels.shape}, expected ({n}, {classes})")
        return labels
    if labels is None:
        indices = [i % classes if default is None else default for i in range(n)]
    else:
        if len(labels) not in (1, n):
            raise InputError(
                f"labels: received {len(labels)} for {quantity(n, 'sequences')}, expected one, or one per sequence"
            )
        indices = [metadata.class_index(name) for name in labels] * (n if len(labels) == 1 else 1)
    return np.eye(classes, dtype=np.float32)[indices]


def check_prefix(config: RunConfig, prefix: Sequence) -> None:
    """Raise `InputError` if a prefix is invalid, or if its number of features or inputs differs from that of the run.

    Args:
        config: config of the run.
        prefix: prefix in raw units. A prefix without inputs is valid, also if the run has inputs.
    """
    features = prefix.motion.shape[-1]
    if features != config.shape.features:
        raise InputError(
            f"prefix: received {quantity(features, 'features')} per step, expected {config.shape.features}"
        )
    if len(prefix.event):
        metadata = replace(config.metadata, name="the prefix", bin_width=None, classes=())
        pack(metadata, {"test": [Sequence(prefix.motion, replace_end(prefix.event), inputs=prefix.inputs)]}).check()
    inputs = 0 if prefix.inputs is None else prefix.inputs.shape[-1]
    if inputs not in (0, config.shape.inputs):
        raise InputError(f"prefix: received {quantity(inputs, 'inputs')} per step, expected {config.shape.inputs}")


def prefix_to_step(config: RunConfig, prefix: Sequence) -> Step:
    """Convert a prefix in raw units to a `Step`: normalized motion (P, D), event (P,), and inputs (P, A) or None.

    Raises:
        InputError: a value is too large for float32 arithmetic.
    """
    event = torch.from_numpy(replace_end(prefix.event).astype(np.int64))
    motion = normalize(config, "prefix", prefix.motion, 0)
    if prefix.inputs is not None:
        check_magnitude("inputs of the prefix", prefix.inputs, prefix.inputs)
    return Step(torch.from_numpy(motion.astype(np.float32)), event, to_tensor(prefix.inputs))


def replace_end(event: np.ndarray) -> np.ndarray:
    """Return events (P,) with every END replaced by UP, so that the sequence can be continued."""
    return np.where(np.asarray(event) == END, UP, event)
