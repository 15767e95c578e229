"""Options of a fine-tuning: a training that starts from the weights of another run, the source.

This module does not import torch.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from mdnrnn.errors import InputError
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.preset_options import closest_preset
from mdnrnn.runs.presets import Preset, format_sizes, model_sizes

LEARNING_RATE_FACTOR = 0.5
"""Default learning rate of a fine-tuning, as a fraction of the preset's.

With 1 instead of 0.5, the NLL of the new data is up to 3% lower after fine-tuning on 40 drawings or words, but the
model forgets more of what it has learned before: after fine-tuning `handwriting` on words of one writer, its NLL on
lines of other writers is 3.97 instead of 3.46 nats per point.
"""
_REGULARIZERS = frozenset(
    {"dropout", "recurrent_dropout", "kl_weight", "kl_start", "kl_rate", "kl_floor", "end_weight"}
)
"""Options of a model that a fine-tuning can change, because they only affect the training objective."""


def fine_tuning_preset(source: RunConfig, preset: Preset | None = None) -> Preset:
    """Return the preset of a fine-tuning: the model of the source, and training options with a lower learning rate.

    Annealing of the KL divergence starts at its final weight (`kl_start` 1): without a penalty at the start, a model
    that uses its latent vector would store much more in it.

    Args:
        source: config of the source.
        preset: preset with the training options; by default the one from which the source differs least.

    Raises:
        InputError: the preset has another kind of model or other sizes than the source.
    """
    if preset is None:
        preset = closest_preset(source) or Preset(description="", kind=source.kind, model=source.model)
    elif (preset.kind, preset.sizes) != (source.kind, model_sizes(source.model)):
        raise InputError(
            f"preset: received {preset.kind} ({format_sizes(preset.sizes)}), expected the model of the run, "
            f"{source.kind} ({format_sizes(model_sizes(source.model))}); omit the preset"
        )
    model = replace(source.model, kl_start=1.0) if hasattr(source.model, "kl_start") else source.model
    learning_rate = LEARNING_RATE_FACTOR * preset.training.learning_rate
    return replace(preset, model=model, training=replace(preset.training, learning_rate=learning_rate))


def check_model(model: Any, source: RunConfig) -> None:
    """Raise `InputError` if a model config differs from that of the source in more than the regularization."""
    if type(model) is not type(source.model):
        raise InputError(
            f"model: received {type(model).__name__}, expected {type(source.model).__name__} as in the run"
        )
    for field in fields(model):
        received, expected = getattr(model, field.name), getattr(source.model, field.name)
        if field.name not in _REGULARIZERS and received != expected:
            raise InputError(f"model.{field.name}: received {received}, expected {expected} as in the run; omit it")
    if hasattr(model, "kl_weight") and bool(model.kl_weight) != bool(source.model.kl_weight):
        raise InputError(
            f"model.kl_weight: received {model.kl_weight}, expected {source.model.kl_weight} as in the run: a model "
            "has a latent vector only if kl_weight is not 0; omit it"
        )
