"""The command that trains a run, derived from its config. This module does not import torch."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace

from mdnrnn.errors import InputError
from mdnrnn.runs.bundled import find_run
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.data import is_in_memory
from mdnrnn.runs.fine_tuning_options import fine_tuning_preset
from mdnrnn.runs.preset_options import changed_options, closest_preset
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
    preset = closest_preset(config) if config.init is None else _preset_of_source(config)
    if preset is None or is_in_memory(config):
        return None
    if config.init is None:
        start = [next(name for name, each in PRESETS.items() if each is preset)]
    else:
        start = ["--from", config.init.run]
    options = [argument for arguments in changed_options(config, preset).values() for argument in arguments]
    return shlex.join(["mdnrnn", "train", *start, "--data", config.data, "--out", out, *options])


def _preset_of_source(config: RunConfig) -> Preset:
    """Return the default options of a fine-tuning. If the source is missing, they are derived from the run itself."""
    assert config.init is not None
    source = replace(config, init=None)
    with suppress(InputError):
        source = RunConfig.read(find_run(config.init.run))
    return fine_tuning_preset(source)
