"""`mdnrnn train PRESET --data DATA --out RUN` and `mdnrnn train --resume RUN`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mdnrnn.cli.arguments import parse
from mdnrnn.errors import InputError
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.train import resume, train
from mdnrnn.training.config import SequenceTrainConfig
from mdnrnn.training.trainer import Result


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a preset on drawings. The run folder holds the weights, the checkpoints, the metrics and samples."""

    data: str
    """A catalog name (mdnrnn data list), a file or a folder of any known format."""
    out: Path
    """The run folder to make."""
    model: Any
    training: Annotated[SequenceTrainConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """Go on with a run from its last checkpoint, to the end that it would have had."""

    resume: Path
    """The run folder."""


def main(arguments: list[str]) -> int:
    """Train; 130 or 143 where a signal ended it."""
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        folder = parse(ResumeOptions, "train", arguments).resume
        return report(resume(folder), folder)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] not in PRESETS:
        raise InputError(f"unknown preset {arguments[0]!r}; expected one of {', '.join(PRESETS)}, or --resume RUN")
    preset = PRESETS[arguments[0]]
    defaults: dict[str, Any] = {"data": tyro.MISSING, "out": tyro.MISSING}
    options = parse(
        TrainOptions,
        f"train {arguments[0]}",
        arguments[1:],
        TrainOptions(**defaults, model=preset.model, training=preset.training),
    )
    result = train(preset, options.data, options.out, model=options.model, training=options.training)
    return report(result, options.out)


def report(result: Result, folder: Path) -> int:
    """Say how the training ended, once; the result is the exit status."""
    progress = result.progress
    if os.environ.get("RANK", "0") != "0":
        return 128 + result.interrupted if result.interrupted else 0
    if result.interrupted:
        print(
            f"stopped by {result.interrupted.name} at step {progress.step}, saved; "
            f"go on with: mdnrnn train --resume {folder}",
            file=sys.stderr,
        )
        return 128 + result.interrupted
    print(
        f"{folder}: {progress.step} steps, {progress.points:,} points in {progress.seconds:.0f} s, "
        f"best validation {progress.best:.4f} nats a point"
    )
    return 0


def _help() -> str:
    width = max(map(len, PRESETS)) + 2
    lines = [f"  {name:<{width}}{preset.description}" for name, preset in PRESETS.items()]
    return "\n".join(
        [
            "usage: mdnrnn train PRESET --data DATA --out RUN ...",
            "       mdnrnn train --resume RUN",
            "",
            "presets:",
            *lines,
            "",
            "mdnrnn train PRESET --help tells a preset's options and their defaults.",
        ]
    )
