"""`mdnrnn train PRESET --data DATA --out RUN`: train a model; with `--from SOURCE`, fine-tune a trained model.

`mdnrnn train --resume RUN`: resume a training run.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mdnrnn.cli.dispatch import choose
from mdnrnn.cli.options import DataOption, parse
from mdnrnn.errors import InputError, InputWarning, quantity
from mdnrnn.runs.bundled import find_run
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.fine_tuning_options import fine_tuning_preset
from mdnrnn.runs.presets import PRESETS, Preset
from mdnrnn.runs.training_checks import describe_null_model, is_worse
from mdnrnn.training.config import SequenceTrainConfig

if TYPE_CHECKING:
    from mdnrnn.training.callbacks import Callback
    from mdnrnn.training.trainer import TrainingResult

TENSORBOARD_FOLDER = "tensorboard"
_USAGE = """\
usage: mdnrnn train PRESET --data DATA --out RUN ...
       mdnrnn train [PRESET] --from RUN --data DATA --out RUN ...
       mdnrnn train --resume RUN [--steps N | --minutes M]"""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a model from a preset, or fine-tune a trained model (--from).

    The run folder contains weights, checkpoints, metrics, a loss curve and samples.
    """

    data: DataOption
    out: Path
    """Run folder to create."""
    init: Annotated[str | None, tyro.conf.arg(name="from", metavar="RUN")] = None
    """Run folder or bundled model to fine-tune: training starts from its weights, with half of the preset's learning
    rate by default. The model has the sizes of this run; the preset can be omitted."""
    tensorboard: bool = False
    """Write event files of TensorBoard to the folder tensorboard in the run folder."""
    model: Any
    training: Annotated[SequenceTrainConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """Resume a training run from its last checkpoint and train until its limit of steps or minutes.

    To extend a run, pass a new limit. The learning rate then follows the schedule for the new limit.
    """

    resume: Path
    """Run folder of the training run to resume."""
    steps: int | None = None
    """New total number of training steps, including the completed ones."""
    minutes: float | None = None
    """New total training time in minutes, including the time so far."""
    tensorboard: bool = False
    """Write event files of TensorBoard to the folder tensorboard in the run folder."""


def main(arguments: list[str]) -> int:
    """Train a model and return the exit status: 130 if SIGINT stopped the training, 143 if SIGTERM stopped it."""
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        resumption = parse(ResumeOptions, "train", arguments)
        from mdnrnn.runs.train import resume
        from mdnrnn.training.memory import keep_freed_memory

        keep_freed_memory()
        callbacks = _callbacks(resumption.resume, resumption.tensorboard)
        result = resume(resumption.resume, steps=resumption.steps, minutes=resumption.minutes, callbacks=callbacks)
        return report(result, resumption.resume)
    source, preset, command = _find_source(arguments), None, "train"
    if source is None or not arguments[0].startswith("-"):
        descriptions = {name: preset.description for name, preset in PRESETS.items()}
        name = choose(arguments, descriptions, command="mdnrnn train", kind="preset", usage=_USAGE)
        preset, command, arguments = PRESETS[name], f"train {name}", arguments[1:]
    base = preset if source is None else fine_tuning_preset(RunConfig.read(find_run(source)), preset)
    assert base is not None
    options = parse(TrainOptions, command, arguments, preset_defaults(base))
    from mdnrnn.runs.train import train
    from mdnrnn.training.memory import keep_freed_memory

    keep_freed_memory()
    callbacks = _callbacks(options.out, options.tensorboard)
    result = train(
        preset,
        options.data,
        options.out,
        model=options.model,
        training=options.training,
        init=options.init,
        callbacks=callbacks,
    )
    return report(result, options.out)


def _find_source(arguments: list[str]) -> str | None:
    """Return the value of the option --from, which determines the default values of other options."""
    for argument, following in pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name == "--from":
            source = value if equals else following
            if not source:
                raise InputError("--from: received no value, expected a run folder or a bundled model")
            return source
    return None


def _callbacks(folder: Path, tensorboard: bool) -> list[Callback]:
    from mdnrnn.training.loggers import TensorBoardLogger

    return [TensorBoardLogger(folder / TENSORBOARD_FOLDER)] if tensorboard else []


def preset_defaults(preset: Preset) -> TrainOptions:
    """Return the options of a preset; --data and --out are required."""
    required: dict[str, Any] = {"data": tyro.MISSING, "out": tyro.MISSING}
    return TrainOptions(**required, model=preset.model, training=preset.training)


def report(result: TrainingResult, folder: Path) -> int:
    """Print how a training ended and return the exit status. With several processes, only rank 0 prints."""
    progress = result.progress
    status = 128 + result.interrupted if result.interrupted else 0
    from mdnrnn.training import distributed

    if distributed.rank() or os.environ.get("RANK", "0") != "0":
        return status
    if result.interrupted:
        print(
            f"stopped by {result.interrupted.name} at step {progress.step}; the checkpoint is saved; "
            f"resume with: mdnrnn train --resume {folder}",
            file=sys.stderr,
        )
    else:
        print(
            f"{folder}: {quantity(progress.step, 'steps')}, {progress.points:,} points in {progress.seconds:.0f} s, "
            f"best validation loss {progress.best:.4f} nats per point"
        )
        if is_worse(progress.best, result.null_nll_per_point):
            warnings.warn(describe_null_model(progress.best, result.null_nll_per_point), InputWarning, stacklevel=2)
    return status
