"""`mdnrnn evaluate RUN`: exact likelihoods, the null model beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.device import choose_device
from mdnrnn.evaluation import Likelihood
from mdnrnn.runs import load
from mdnrnn.training.config import Device


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The exact likelihood of a run on held-out drawings, in nats: lower is better."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    data: str | None = None
    """Other data than the run was trained on."""
    split: str = "test"
    """train, valid or test."""
    device: Device = "auto"
    """Where to compute; auto: a GPU if there is one."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""


def main(arguments: list[str]) -> int:
    """Evaluate and print."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    run = load(options.run, choose_device(options.device))
    likelihood = run.evaluate(options.split, options.data)
    if options.json:
        print_json({"run": str(options.run), "split": options.split, **dataclasses.asdict(likelihood)})
    else:
        print(table(likelihood, options.split))
    return 0


def table(likelihood: Likelihood, split: str) -> str:
    """The likelihood as a person reads it."""
    measure = {"cell": "cells of one quantum", "density": "density in raw units"}[likelihood.measure]
    rows = (
        ("model", likelihood.nats_per_sequence, likelihood.nats_per_point),
        ("null model", likelihood.null_nats_per_sequence, likelihood.null_nats_per_point),
        (
            "model, normalised density",
            likelihood.density_nats_per_sequence,
            likelihood.density_nats_per_point,
        ),
    )
    return "\n".join(
        [
            f"{split}: {likelihood.sequences} sequences, {likelihood.points} points; nats, {measure}",
            f"{'':28}{'a sequence':>12}{'a point':>10}",
            *(f"{name:28}{sequence:12.2f}{point:10.4f}" for name, sequence, point in rows),
            f"a point of the model: motion {likelihood.motion_nats_per_point:.4f}, "
            f"event {likelihood.event_nats_per_point:.4f}",
            f"sketch-rnn's L_R: {likelihood.paper_L_R:.4f}",
        ]
    )
