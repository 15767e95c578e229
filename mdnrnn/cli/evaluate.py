"""`mdnrnn evaluate RUN`: likelihoods, exact or bounded, the null model beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.device import choose_device
from mdnrnn.evaluation import ClassLikelihood, Likelihood
from mdnrnn.runs.run import load
from mdnrnn.training import distributed
from mdnrnn.training.config import Device


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The likelihood of a run on held-out drawings, in nats: lower is better.

    It is exact where the model has no latent. Where it has one, it is the variational bound.
    """

    run: tyro.conf.Positional[Path]
    """The run folder."""
    data: str | None = None
    """Other data than the run was trained on."""
    split: str = "test"
    """train, valid or test."""
    importance: int = 0
    """Draws of the latent of each drawing, 64 say, that estimate the likelihood itself, and the bound better; 0: the
    bound alone, from one."""
    device: Device = "auto"
    """Where to compute; auto: a GPU if there is one."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""


def main(arguments: list[str]) -> int:
    """Evaluate and print; of several processes that torchrun has started the first prints."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    with distributed.process_group():
        run = load(options.run, choose_device(options.device))
        likelihood = run.evaluate(options.split, options.data, options.importance)
        if distributed.rank() != 0:
            return 0
    if options.json:
        print_json({"run": str(options.run), "split": options.split, **dataclasses.asdict(likelihood)})
    else:
        print(table(likelihood, options.split))
    return 0


def table(likelihood: Likelihood, split: str) -> str:
    """The likelihood as a person reads it."""
    measure = {
        "discretized": "bins of one bin width",
        "density": "density in raw units",
        "mixed": "bin_widths of one bin_width, times the density of times in raw units",
    }[likelihood.measure]
    bound = likelihood.kl_per_sequence > 0
    density = (likelihood.density_nll_per_sequence, likelihood.density_nll_per_point)
    return "\n".join(
        [
            f"{split}: {likelihood.sequences} sequences, {likelihood.points} points; nats, {measure}",
            f"{'':28}{'a sequence':>12}{'a point':>10}",
            _row("model, bound" if bound else "model", likelihood.nll_per_sequence, likelihood.nll_per_point),
            *(_latent_rows(likelihood) if bound else []),
            _row("null model", likelihood.null_nll_per_sequence, likelihood.null_nll_per_point),
            _row("model, normalized density", *density),
            f"a point of the model: motion {likelihood.motion_nll_per_point:.4f}, "
            f"event {likelihood.event_nll_per_point:.4f}",
            *_conventions(likelihood, bound),
            *(_class_rows(likelihood.by_class) if len(likelihood.by_class) > 1 else []),
        ]
    )


def _row(name: str, sequence: float, point: float) -> str:
    return f"{name:28}{sequence:12.2f}{point:10.4f}"


def _conventions(likelihood: Likelihood, bound: bool) -> list[str]:
    """What the papers on strokes report."""
    loss, graves = likelihood.paper_L_R, likelihood.graves_nll_per_sequence
    if loss is None or graves is None:
        return []
    latent = f", L_KL: {likelihood.paper_L_KL:.4f}" * bound
    return [f"sketch-rnn's L_R: {loss:.4f}{latent}; Graves' nats a sequence: {graves:.1f}"]


def _latent_rows(likelihood: Likelihood) -> list[str]:
    """What the bound consists of, and what it bounds if that was asked for."""
    share = likelihood.sequences / likelihood.points
    parts = {
        "  reconstruction": likelihood.reconstruction_nll_per_sequence,
        "  KL divergence": likelihood.kl_per_sequence,
    }
    rows = [_row(name, nats, nats * share) for name, nats in parts.items()]
    estimate, error = likelihood.importance_nll_per_sequence, likelihood.importance_standard_error
    if estimate is None or error is None:
        return rows
    return [*rows, _row("model, importance-weighted", estimate, estimate * share) + f"  ± {error:.2f} a sequence"]


def _class_rows(classes: dict[str, ClassLikelihood]) -> list[str]:
    width = max(28, *(len(name) + 2 for name in classes))
    return [
        "",
        f"{'class':{width}}{'sequences':>12}{'a sequence':>12}{'a point':>10}",
        *(
            f"{name:{width}}{own.sequences:12}{own.nll_per_sequence:12.2f}{own.nll_per_point:10.4f}"
            for name, own in classes.items()
        ),
    ]
