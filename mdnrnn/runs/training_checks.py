"""Checks at the start and at the end of training: which functions can use the run, and why training failed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence as Items

import numpy as np

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputWarning
from mdnrnn.runs.presets import Preset


def warn_about_use(preset: Preset, metadata: Metadata) -> None:
    """Issue an `InputWarning` if the function that the preset is made for will reject a run on these data."""
    use, is_suitable, expected = {
        "touch": ("mdnrnn respond", metadata.is_touch, "features dx, dy, dt, with the pen up at the start"),
        "stream": ("live generation of streams", metadata.is_stream, "features dt, x1, x2, ..."),
        "world": ("mdnrnn.dream", metadata.is_world, "latents z1, z2, ... and, optionally, a reward"),
        "drawing": ("every command", _has_known_features(metadata), "dx, dy; dx, dy, dt; dt, x1, ...; or z1, z2, ..."),
    }[preset.data]
    if not is_suitable:
        names = ", ".join(metadata.features) or "without names"
        warnings.warn(
            f"{metadata.name} has features {names}; {use} needs {expected}; to use it, set features in the "
            "metadata; likelihoods and mdnrnn.generate work without them",
            InputWarning,
            stacklevel=3,
        )


def _has_known_features(metadata: Metadata) -> bool:
    return metadata.is_drawing or metadata.is_stream or metadata.is_world


def is_worse(nll: float, null_nll: float) -> bool:
    """Return whether a model is worse than the null model: its negative log-likelihood is NaN or not lower.

    Return False if the negative log-likelihood of the null model is unknown (NaN).
    """
    return not nll < null_nll and not math.isnan(null_nll)


def describe_null_model(nll: float, null_nll: float) -> str:
    """Return a warning about a model that is worse than the null model, given the nats per point of both."""
    return (
        f"the model is worse than the null model: {nll:.4f} nats per point, null model {null_nll:.4f} (lower is "
        "better); train longer (--minutes), lower --learning-rate, or check the data with mdnrnn data draw"
    )


def describe_largest_motion(corpus: Corpus, normalizer: Normalizer, indices: Items[int]) -> str:
    """Return a description of the largest normalized motion in sequences, for an error message.

    Args:
        corpus: training corpus.
        normalizer: units of the motion.
        indices: indices of the sequences.
    """
    largest = [float(np.abs(normalizer.normalize(corpus[i].motion, 0, np.float64)).max()) for i in indices]
    index = int(np.argmax(largest))
    return f"the largest motion is in sequence {indices[index]}: {largest[index]:.3g} standard deviations"
