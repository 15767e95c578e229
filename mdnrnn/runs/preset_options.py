"""Comparison of runs with presets: options that differ, and the closest preset. This module does not import torch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.presets import PRESETS, Preset


def closest_preset(config: RunConfig) -> Preset | None:
    """Return the preset from which the fewest options of a run differ; None if no preset has its kind of model."""
    candidates = [preset for preset in PRESETS.values() if preset.kind == config.kind]
    return min(candidates, key=lambda preset: len(changed_options(config, preset)), default=None)


def changed_options(config: RunConfig, preset: Preset) -> dict[str, list[str]]:
    """Return the options of the model and of the training whose values differ from those of a preset.

    Returns:
        For each option, its arguments in the command line, for example {"model.hidden": ["--model.hidden", "256"]}.
    """
    options: dict[str, list[str]] = {}
    for prefix, values, defaults in (("model.", config.model, preset.model), ("", config.training, preset.training)):
        for field in fields(defaults):
            value, default = getattr(values, field.name), getattr(defaults, field.name)
            if value not in (default, None):
                name = field.name.replace("_", "-")
                options[f"{prefix}{name}"] = _to_arguments(prefix, name, value, default)
    return options


def _to_arguments(prefix: str, name: str, value: Any, default: Any) -> list[str]:
    if isinstance(default, bool):
        return [f"--{prefix}{name}" if value else f"--{prefix}no-{name}"]
    value = value if default is None else type(default)(value)  # a factor can be stored as true or false
    return [f"--{prefix}{name}", repr(value).removesuffix(".0") if isinstance(value, float) else str(value)]
