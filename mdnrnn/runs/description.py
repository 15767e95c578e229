"""Description of a run for `mdnrnn info` and notebooks: model, data, training, and the command that trained it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mdnrnn.errors import quantity
from mdnrnn.runs.bundled import find_run
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.presets import KINDS, format_sizes, model_sizes
from mdnrnn.runs.training_command import training_command
from mdnrnn.training.metrics import read_metrics

_CARD = "README.md"
_EVENTS = {0: "no events", 2: "events DOWN, END", 3: "events DOWN, UP, END"}


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """Description of a run."""

    name: str
    """Name of the run folder."""
    folder: str
    kind: str
    """Kind of model, a key of `KINDS`."""
    model_class: str
    sizes: dict[str, int | str]
    """Sizes and structural options of the model."""
    options: dict[str, Any]
    """All options of the model."""
    parameters: int
    """Number of weights."""
    features: list[str]
    """Names of the motion features."""
    events: int
    """Number of events, E."""
    inputs: int
    """Number of additional inputs per step, A."""
    context: int
    """Size of the context vector, C; 0 for models without a context vector."""
    classes: list[str]
    alphabet: str
    """Characters that a text-conditional model can write; empty for other models."""
    max_steps: int
    """Number of steps of the longest training sequence."""
    bin_width: float | None
    """Bin width in raw units; None for continuous data."""
    units: str
    """Unit of the features."""
    data: str
    """Source of the training data: a dataset name, a path, or the name of a corpus in memory."""
    license: str
    """License of the training data."""
    source: str
    """Author or address of the training data."""
    init: dict[str, str] | None
    """Run whose weights the training started from, the SHA-256 of these weights, and the license of its data; None if
    the weights were initialized at random."""
    command: str | None
    """Command that trains the run; see `training_command`. None if the data were passed in memory."""
    steps: int | None
    """Number of training steps at the last record of the log; None if there is no record."""
    minutes: float | None
    """Training time in minutes at the last record of the log."""
    points: int | None
    """Number of points that the model was trained on; repeated points count again."""
    valid_nll_per_point: float | None
    """Lowest validation loss in nats per point; the loss of the weights in the run folder. None if there is no
    validation."""
    valid_terms: dict[str, float]
    """Terms of this loss by name."""
    card: str | None
    """Path of the README of the run, if there is one."""
    version: str
    """Version of mdnrnn that started the training."""


def describe_run(run: Path | str) -> RunDescription:
    """Return the description of a run. The weights are not read.

    Args:
        run: run folder, or the name of a bundled model.

    Raises:
        InputError: there is no such run, or its config or its log is damaged.
    """
    folder = find_run(run)
    return describe_config(RunConfig.read(folder), folder)


def describe_config(config: RunConfig, folder: Path) -> RunDescription:
    """Return the description of a run with this config in a folder."""
    shape, metadata, weights = config.shape, config.metadata, config.weights_without_values()
    records = read_metrics(folder)
    last = records[-1] if records else {}
    validations = [record for record in records if math.isfinite(record.get("valid_loss", math.nan))]
    best = min(validations, key=lambda record: record["valid_loss"], default={})
    terms = {name.removeprefix("valid_"): value for name, value in best.items() if name.startswith("valid_")}
    loss = terms.pop("loss", None)
    default_names = ("dx", "dy") if shape.features == 2 else tuple(f"x{i + 1}" for i in range(shape.features))
    card = folder / _CARD
    return RunDescription(
        name=folder.resolve().name,
        folder=str(folder),
        kind=config.kind,
        model_class=KINDS[config.kind].class_name,
        sizes=model_sizes(config.model),
        options=asdict(config.model),
        parameters=sum(tensor.numel() for tensor in weights.values()),
        features=list(metadata.features or default_names),
        events=shape.events,
        inputs=shape.inputs,
        context=shape.context,
        classes=list(metadata.classes),
        alphabet=shape.alphabet,
        max_steps=config.max_steps,
        bin_width=metadata.bin_width,
        units=metadata.units,
        data=config.data,
        license=metadata.license,
        source=metadata.source,
        init=None if config.init is None else asdict(config.init),
        command=training_command(config, folder.resolve().name),
        steps=last.get("step"),
        minutes=last["seconds"] / 60 if "seconds" in last else None,
        points=last.get("points"),
        valid_nll_per_point=loss,
        valid_terms=terms,
        card=str(card) if card.is_file() else None,
        version=config.version,
    )


def format_description(run: RunDescription) -> dict[str, str]:
    """Return the description as texts of one line each, by title; titles without content are omitted."""
    grid = "" if run.bin_width is None else f"; bin width {run.bin_width:g} {run.units}"
    inputs = f"; {quantity(run.inputs, 'inputs')}" if run.inputs else ""
    inputs += f"; context vector of {quantity(run.context, 'numbers')}" if run.context else ""
    terms = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in run.valid_terms.items())
    lines = {
        "run": run.folder,
        "model": f"{run.kind} ({run.model_class}), {run.parameters:,} parameters",
        "sizes": format_sizes(run.sizes),
        "data": f"{run.data}; {run.source}" if run.source else run.data,
        "license": run.license,
        "from": "" if run.init is None else f"{run.init['run']} (license of its data: {run.init['license']})",
        "steps": f"{', '.join(run.features)}; {_EVENTS[run.events]}{inputs}; at most {run.max_steps} steps{grid}",
        "classes": f"{len(run.classes)}: {', '.join(run.classes)}" if run.classes else "",
        "alphabet": f"{quantity(len(run.alphabet), 'characters')}: {run.alphabet}" if run.alphabet else "",
        "training": _format_training(run),
        "validation": ""
        if run.valid_nll_per_point is None
        else f"{run.valid_nll_per_point:.3f} nats per point ({terms})",
        "card": run.card or "",
        "command": run.command or f"none: the corpus {run.data!r} was passed in memory",
    }
    return {title: line for title, line in lines.items() if line}


def _format_training(run: RunDescription) -> str:
    if run.steps is None or run.minutes is None or run.points is None:
        return "no records"
    return f"{run.steps:,} steps, {run.points:,} points, {run.minutes:.1f} minutes"
