"""Metadata of an exported model: what a program without mdnrnn needs to prepare its inputs and to read its outputs.

- version: version of mdnrnn. graph: step, initial or encoder. kind: kind of model.
- name, license, source: of the training data.
- features, units: names and units of the D motion features. offsets: indices of the features whose running sums are
  the position.
- mean, scale, logs: normalized = (raw - mean) / scale. For the features whose indices are in logs, raw is replaced by
  its logarithm.
- bin_width: raw bin width, or null. bin_widths, first_bin_widths: normalized bin widths (D,) of all steps but the
  first, and of the first step; 0 for a continuous feature. Null if all features are continuous.
- bounds: lower and upper bounds of the normalized position, or null.
- start: whether the pen is down or up before the first step. events: number of events E. event_codes: their codes.
- classes: names of the classes. alphabet: characters of the texts. inputs, latent, context: sizes A, Z and C.
- max_steps: number of steps of the longest training sequence. For a text of n characters, the maximum number of steps
  is steps_per_character (n + extra_characters).
- sampling: how to sample a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mdnrnn.models.base import SequenceModel
from mdnrnn.pen_events import DOWN, END, START, UP
from mdnrnn.runs.generation_arguments import EXTRA_CHARACTERS, STEP_LIMIT_FACTOR
from mdnrnn.runs.run import Run
from mdnrnn.version import VERSION

_SAMPLING = (
    "At temperature t, divide logits and event_logits by t and add log(t) / 2 to log_scales. Select a component by the "
    "softmax of logits. motion = mean + exp(log_scale) * standard normal noise. With slopes, the mean of feature i is "
    "mean_i + sum over j < i of slopes_ij (motion_j - mean_j). Round motion to multiples of bin_widths (in the first "
    "step: of first_bin_widths) unless these are 0. Select the event by the softmax of event_logits. Stop after END, "
    "if finished is true, or after max_steps."
)


def describe_model(model: SequenceModel) -> dict[str, Any]:
    """Return the metadata of any model: its sizes, the codes of the events, and how to sample a step."""
    return {
        "version": VERSION,
        "kind": type(model).__name__,
        "events": model.shape.events,
        "event_codes": {"START": START, "DOWN": DOWN, "UP": UP, "END": END},
        "inputs": model.shape.inputs,
        "latent": model.latent,
        "context": model.shape.context,
        "alphabet": model.shape.alphabet,
        "sampling": _SAMPLING,
    }


def describe_run(run: Run) -> dict[str, Any]:
    """Return the metadata of a run: those of its model, and names, units, normalization and license of its data."""
    config, data = run.config, run.config.metadata
    count = config.shape.features
    names = data.features or (("dx", "dy")[:count] if count <= 2 else ())
    bin_widths, first_bin_widths = run.bin_widths()
    return {
        **describe_model(run.model),
        "kind": config.kind,
        "name": data.name,
        "license": data.license,
        "source": data.source,
        "features": list(names),
        "units": ["s" if i in data.time_features else data.units for i in range(count)],
        "offsets": list(data.offset_features(count)),
        "mean": list(config.normalizer.mean),
        "scale": list(config.normalizer.scale),
        "logs": list(config.normalizer.logs),
        "bin_width": data.bin_width,
        "bin_widths": _to_list(bin_widths),
        "first_bin_widths": _to_list(first_bin_widths),
        "bounds": _to_list(run.bounds()),
        "start": data.start,
        "classes": list(data.classes),
        "max_steps": config.max_steps,
        "steps_per_character": STEP_LIMIT_FACTOR * config.steps_per_character,
        "extra_characters": EXTRA_CHARACTERS,
    }


def _to_list(values: Tensor | None) -> Any:
    return None if values is None else np.asarray(values).tolist()
