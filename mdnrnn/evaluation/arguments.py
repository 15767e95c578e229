"""Checks of the arguments of `evaluate`."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.errors import InputError
from mdnrnn.generation.noise import check_seed
from mdnrnn.models.base import SequenceModel, StepShape

_TORCH_SEEDS = 2**64
"""Number of seeds that `torch.Generator.manual_seed` accepts."""


def check_evaluation_arguments(model: SequenceModel, data: Any, seed: Any, importance: Any) -> None:
    """Raise `InputError` if an argument of `evaluate` is invalid, or if the data do not fit the model."""
    if not isinstance(importance, Integral) or importance < 0:
        raise InputError(f"importance: received {importance}, expected a number of samples >= 0")
    check_seed(seed)
    if not isinstance(data, Batches):
        raise InputError(f"data: received {type(data).__name__}, expected Batches of a split")
    _check_shape(data.corpus, model.shape)
    if model.shape.classes:
        _check_labels(data, model.shape.classes)
    if model.uses_text and data.corpus.text is None:
        raise InputError(f"data: received {data.corpus.metadata.name} without texts, expected a text per sequence")


def _check_shape(corpus: Corpus, expected: StepShape) -> None:
    name, received = corpus.metadata.name, StepShape.from_corpus(corpus)
    if (received.features, received.inputs) != (expected.features, expected.inputs):
        raise InputError(
            f"data: {name} has {received.features} features and {received.inputs} inputs per step; the model expects "
            f"{expected.features} and {expected.inputs}"
        )
    if expected.context and received.context != expected.context:
        raise InputError(
            f"data: {name} has a context vector of size {received.context}; the model expects {expected.context}"
        )
    if received.events > expected.events > 0:
        raise InputError(
            f"data: {name} has {received.events} kinds of events; the model expects {expected.events} (no UP)"
        )


def _check_labels(data: Batches, classes: int) -> None:
    name, label = data.corpus.metadata.name, data.corpus.label
    if label is None:
        raise InputError(f"data: {name} has no classes; the model expects a label from 0 to {classes - 1} per sequence")
    labels = np.asarray(label[data.indices()])
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(
            f"data: {name} has labels {labels.min()} to {labels.max()}; the model expects 0 to {classes - 1}"
        )


def to_torch_seed(seed: int) -> int:
    """Return a seed that `torch.Generator.manual_seed` accepts. Seeds of 2**64 or more are hashed."""
    if seed < _TORCH_SEEDS:
        return int(seed)
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
