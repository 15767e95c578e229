"""The command that trains a run, derived from its config. This module does not import torch at module level."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.data import is_in_memory
from mdnrnn.runs.presets import PRESETS, Preset


def training_command(config: RunConfig, out: str) -> str | None:
    """Return the command that trains a run with this config.

    The preset is the one from which the fewest options differ. Options are omitted if they have the values of the
    preset. The command therefore may differ from the one that was typed, but trains the same model.

    Args:
        config: config of the run.
        out: run folder in the command.

    Returns:
        The command; None if there is none, because the data were passed in memory or no preset has this kind of model.
    """
    candidates = {name: preset for name, preset in PRESETS.items() if preset.kind == config.kind}
    if not candidates or is_in_memory(config):
        return None
    options = {name: _changed_options(config, preset) for name, preset in candidates.items()}
    preset = min(options, key=lambda name: len(options[name]))
    return shlex.join(["mdnrnn", "train", preset, "--data", config.data, "--out", out, *options[preset]])


def _changed_options(config: RunConfig, preset: Preset) -> list[str]:
    """Return the options of the model and of the training whose values differ from those of a preset."""
    parts = (("model.", config.model, preset.model), ("", config.training, preset.training))
    options: list[str] = []
    for prefix, values, defaults in parts:
        for field in fields(defaults):
            value, default = getattr(values, field.name), getattr(defaults, field.name)
            if value not in (default, None):
                options += _to_arguments(prefix, field.name.replace("_", "-"), value, default)
    return options


def _to_arguments(prefix: str, name: str, value: Any, default: Any) -> list[str]:
    if isinstance(default, bool):
        return [f"--{prefix}{name}" if value else f"--{prefix}no-{name}"]
    value = value if default is None else type(default)(value)  # a factor can be stored as true or false
    return [f"--{prefix}{name}", repr(value).removesuffix(".0") if isinstance(value, float) else str(value)]
